/* cron -- see cron.h. */
#include "cron.h"

#include "clock.h"
#include "config.h"
#include "log.h"
#include "metrics.h"
#include "options.h"
#include "sentry.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { COUNTS = 8, RETRY_MS = 1000 };

static struct {
    struct options options;
    bool did;
    sigset_t stop;       /* signals that end it */
    struct { const char *what; int64_t n; } count[COUNTS];
} cron;

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
    int64_t moved_ms = clock_ms();   /* when it last did something */

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
        now = clock_ms();
        if (cron.did)
            moved_ms = now;
        if (cron.options.end_ms == 0) {
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
        } else if (now >= cron.options.end_ms) {
            if (result != CRON_FAILED)
                return EX_OK;
            fprintf(stderr, "%s: failed, see the line above\n", job->name);
            return EX_TEMPFAIL;
        }
        if (result == CRON_FAILED)
            next_ms = RETRY_MS;   /* it may be back any moment */
        else if (next_ms < 0)
            next_ms = result == CRON_AGAIN ? 0 : job->pause_ms;
        if (cron.options.end_ms != 0 && next_ms > cron.options.end_ms - now)
            next_ms = cron.options.end_ms - now;
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

    if ((code = options_read(job->name, argc, argv, &cron.options)) >= 0)
        return code;
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
    if (cron.options.verbose)
        for (int i = 0; i < COUNTS && cron.count[i].what != NULL; i++)
            log_info("done", log_s("what", cron.count[i].what), log_i("n", cron.count[i].n));
    db_close(db);
    arena_free(a);
    if (job->end != NULL)
        job->end();
    return code;
}
