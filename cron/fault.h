/* fault -- places at which a test lets this program die.
 *
 * Only in the program that tests/faults builds with SELLIKO_FAULTS: there the process kills itself
 * (SIGKILL: nothing is tidied up) when it reaches the step that the environment names.  Otherwise a
 * FAULT is nothing at all. */
#ifndef SELLIKO_FAULT_H
#define SELLIKO_FAULT_H

#ifdef SELLIKO_FAULTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void
fault(const char *step)
{
    const char *wanted = getenv("SELLIKO_FAULT");

    if (wanted != NULL && strcmp(wanted, step) == 0)
        kill(getpid(), SIGKILL);
}
#define FAULT(step) fault(step)
#else
#define FAULT(step) ((void)0)
#endif

#endif
