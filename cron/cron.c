/* cron -- see cron.h. */
#include "cron.h"

#include "config.h"
#include "log.h"
#include "metrics.h"
#include "sentry.h"
#include "valid.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

enum { COUNTS = 8, RETRY_MS = 1000 };

static struct {
    const char *name;
    bool verbose, did;
    int64_t end_ms;      /* of the watch; 0: none */
    sigset_t stop;       /* signals that end it */
    struct { const char *what; int64_t n; } count[COUNTS];
} cron;

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool
usage(const char *why)
{
    fprintf(stderr, "%s: %s\nusage: %s [--watch SECONDS] [--verbose]\n", cron.name, why, cron.name);
    return false;
}

static bool
read_options(int argc, char **argv)
{
    static const struct option options[] = {
        { "watch", required_argument, NULL, 'w' }, { "verbose", no_argument, NULL, 'v' }, { 0 }
    };
    int64_t seconds;
    int c;

    opterr = 0;   /* one way to complain */
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'v')
            cron.verbose = true;
        else if (c != 'w')
            return usage("unknown option");
        else if (!valid_int(optarg, strlen(optarg), 1, 86400 * 366, &seconds))
            return usage("--watch takes a number of seconds");
        else
            cron.end_ms = now_ms() + seconds * 1000;
    }
    return optind == argc || usage("no arguments are expected");
}

void
cron_count(const char *what, int64_t n)
{
    if (n == 0)
        return;
    cron.did = true;
    for (int i = 0; i < COUNTS; i++) {
        if (cron.count[i].what == NULL || strcmp(cron.count[i].what, what) == 0) {
            cron.count[i].what = what;
            cron.count[i].n += n;
            return;
        }
    }
}

const char *
cron_rules(void)
{
    static char text[128];
    const struct config *c = config();

    snprintf(text, sizeof text, "(%lld,%d minutes,%s,%s)", (long long)c->bid_min_increment_paise,
             c->auction_extend_min, c->platform_fee_percent, c->agent_commission_percent);
    return text;
}

/* Pause; true when a signal asks to stop. */
static bool
stopped_within(int64_t ms)
{
    struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    return sigtimedwait(&cron.stop, NULL, &t) > 0;
}

static int
run(const struct cron *job, struct db *db, struct arena *a)
{
    int64_t moved_ms = now_ms();   /* when it last did something */

    for (;;) {
        int64_t next_ms = -1, now;
        enum cron_result result;

        arena_reset(a);
        cron.did = false;
        result = job->work(db, a, &next_ms);
        if (cron.did && job->wakes) {
            db_wake(db, "selliko_events");
            db_wake(db, "selliko_whatsapp");
        }
        now = now_ms();
        if (cron.did)
            moved_ms = now;
        if (cron.end_ms == 0) {
            if (result == CRON_DONE)
                return EX_OK;
            if (result == CRON_FAILED) {
                fprintf(stderr, "%s: failed, see the line above\n", job->name);
                return EX_TEMPFAIL;
            }
            if (job->patience_ms > 0 && now - moved_ms > job->patience_ms) {
                fprintf(stderr, "%s: %s\n", job->name, job->unfinished);
                return EX_TEMPFAIL;
            }
        } else if (now >= cron.end_ms) {
            if (result != CRON_FAILED)
                return EX_OK;
            fprintf(stderr, "%s: failed, see the line above\n", job->name);
            return EX_TEMPFAIL;
        }
        if (result == CRON_FAILED)
            next_ms = RETRY_MS;   /* it may be back any moment */
        else if (next_ms < 0)
            next_ms = result == CRON_AGAIN ? 0 : job->pause_ms;
        if (cron.end_ms != 0 && next_ms > cron.end_ms - now)
            next_ms = cron.end_ms - now;
        if (stopped_within(next_ms))
            return EX_OK;
    }
}

int
cron_main(const struct cron *job, int argc, char **argv)
{
    struct arena *a;
    struct db *db;
    int code;

    cron.name = job->name;
    if (!read_options(argc, argv))
        return EX_USAGE;
    if (!config_load(stderr))
        return EX_CONFIG;
    log_open(job->name, config()->log_level);
    sentry_open(job->unreported ? NULL : config()->sentry_dsn, config()->state_dir, job->name);
    (void)metrics_open(config()->state_dir);
    metrics_process(job->name);
    sigemptyset(&cron.stop);
    sigaddset(&cron.stop, SIGTERM);
    sigaddset(&cron.stop, SIGINT);
    if (sigprocmask(SIG_BLOCK, &cron.stop, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return EX_OSERR;
    if (job->begin != NULL && (code = job->begin()) != EX_OK)
        return code;
    db_init(config()->database_url, job->name, 1, config()->db_timeout_s);
    if ((a = arena_new()) == NULL)
        return EX_OSERR;
    db = db_open();
    code = run(job, db, a);
    if (cron.verbose)
        for (int i = 0; i < COUNTS && cron.count[i].what != NULL; i++)
            log_info("done", log_s("what", cron.count[i].what), log_i("n", cron.count[i].n));
    db_close(db);
    arena_free(a);
    if (job->end != NULL)
        job->end();
    return code;
}
