/* options -- see options.h. */
#include "options.h"

#include "clock.h"
#include "valid.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static int
complain(const char *name, const char *why)
{
    fprintf(stderr, "%s: %s\nusage: %s [--watch SECONDS] [--verbose]\n", name, why, name);
    return EX_USAGE;
}

int
options_read(const char *name, int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        { "watch", required_argument, NULL, 'w' }, { "verbose", no_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    int64_t seconds;
    int c;

    opterr = 0;   /* one way to complain */
    while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (c) {
        case 'v':
            o->verbose = true;
            break;
        case 'w':
            if (!valid_int(optarg, strlen(optarg), 1, 86400 * 366, &seconds))
                return complain(name, "--watch takes a number of seconds");
            o->end_ms = clock_ms() + seconds * 1000;
            break;
        case 'h':
            printf("usage: %s [--watch SECONDS] [--verbose]\n"
                   "Does what is due and ends; with --watch stays that long and does at once what falls due.  See %s(8).\n", name, name);
            return EX_OK;
        case ':':
            return complain(name, "--watch takes a number of seconds");
        default:
            return complain(name, "unknown option");
        }
    }
    return optind == argc ? -1 : complain(name, "no arguments are expected");
}
