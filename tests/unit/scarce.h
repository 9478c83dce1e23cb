/* malloc() as the file that is tested sees it: there is none while no_memory.  Included before that file; #undef
 * malloc behind it, so that the test's own still comes. */
#ifndef SELLIKO_TESTS_SCARCE_H
#define SELLIKO_TESTS_SCARCE_H

#include <stdbool.h>
#include <stdlib.h>

static bool no_memory;

static void *
scarce_malloc(size_t n)
{
    return no_memory ? NULL : malloc(n);
}

#define malloc(n) scarce_malloc(n)

#endif
