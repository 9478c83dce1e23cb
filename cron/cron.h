/* cron -- what the utilities that look after the database have in common: options, set-up, the watch.
 *
 *     static enum cron_result work(struct db *db, struct arena *a, int64_t *next_ms) { … }
 *
 *     int main(int argc, char **argv)
 *     {
 *         return cron_main(&(struct cron){ .name = "selliko-remind", .pause_ms = 1000, .work = work }, argc, argv);
 *     }
 *
 * Run without options a utility does what is due and exits: 0, or a code of sysexits.h with a reason on
 * stderr.  With --watch SECONDS it stays that long and does at once what falls due meanwhile; a crontab
 * line each minute with --watch 60 therefore never leaves a gap.  Any number may run at the same time:
 * it is the statements that see to it (SKIP LOCKED, or a lock of their own).
 *
 * SIGTERM and SIGINT end the watch after the statement in hand.  One thread. */
#ifndef SELLIKO_CRON_H
#define SELLIKO_CRON_H

#include "arena.h"
#include "db.h"

#include <stdbool.h>
#include <stdint.h>

enum cron_result {
    CRON_DONE,     /* nothing more is due now */
    CRON_AGAIN,    /* there is more: call again at once (or after *next_ms) */
    CRON_FAILED,   /* the database is away, or something else went wrong; it is logged */
};

struct cron {
    const char *name;        /* the program's */
    int pause_ms;            /* the longest pause between two rounds of a watch */
    int patience_ms;         /* without --watch: how long CRON_AGAIN is obeyed while nothing moves; 0: for ever */
    bool wakes;              /* the gateway and the sender are woken after a round that did something */
    bool unreported;         /* its own errors are not put by for SENTRY_DSN */
    const char *unfinished;  /* what is said when that was not enough */

    /* Before the first round, after configuration; an exit code, 0 to go on.  May be NULL. */
    int (*begin)(void);

    /* One round, in the arena's lifetime.  *NEXT_MS is pause_ms (0 when AGAIN) and may be lowered
     * (raised) to when there will be something to do. */
    enum cron_result (*work)(struct db *db, struct arena *a, int64_t *next_ms);

    void (*end)(void);       /* may be NULL */
};

/* What main returns, a code of sysexits.h: EX_OK, EX_USAGE, EX_CONFIG, EX_OSERR, BEGIN's, or EX_TEMPFAIL when the
 * database was away or something is left to be done. */
int cron_main(const struct cron *cron, int argc, char **argv);

/* Count for the line that --verbose gives at the end: the round did something. */
void cron_count(const char *what, int64_t n);

/* The auction_rules of the configuration, as SQL reads them; valid until the next call. */
const char *cron_rules(void);

#endif
