/* options -- what every utility of cron/ is told on its command line. */
#ifndef SELLIKO_OPTIONS_H
#define SELLIKO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
    bool verbose;     /* --verbose: a line at the end about what was done */
    int64_t end_ms;   /* --watch SECONDS: when it ends, by clock_ms(); 0 without it */
};

/* Read ARGV of the utility NAME.  -1: go on; else the code to exit with, after --help (0) or a complaint on stderr
 * (EX_USAGE). */
int options_read(const char *name, int argc, char **argv, struct options *o);

#endif
