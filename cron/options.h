/* options -- what every utility of cron/ is told on its command line. */
#ifndef SELLIKO_OPTIONS_H
#define SELLIKO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
    bool verbose;     /* --verbose: a line at the end about what was done */
    int64_t end_ms;   /* --watch SECONDS: when it ends, by options_now_ms(); 0 without it */
};

/* Read ARGV of the utility NAME.  -1: go on; else the code to exit with, after --help (0) or a complaint on stderr
 * (EX_USAGE). */
int options_read(const char *name, int argc, char **argv, struct options *o);

/* Milliseconds of a clock that only runs forward. */
int64_t options_now_ms(void);

#endif
