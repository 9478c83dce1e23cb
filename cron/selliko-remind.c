/* selliko-remind -- tell bidders and watchers that an auction ends soon.
 *
 *   selliko-remind [--watch SECONDS] [--verbose]
 *
 * Once for each auction, AUCTION_ENDING_MINUTES before its end: one that is shorter than that is told of
 * as soon as it is live, one that is put off is not told of again.  remind_endings() in
 * sql/010_auction_functions.sql marks the listing in the transaction that writes the notifications. */
#include "cron.h"

#include "config.h"

enum { BATCH = 50, PAUSE_MS = 1000 };

SQL(remind, "SELECT remind_endings($1, make_interval(mins => $2)) AS told");

static enum cron_result
remind_endings(struct db *db, struct arena *a, int64_t *next_ms)
{
    char batch[16], minutes[16];
    const struct rows *rows;
    int64_t told;

    (void)next_ms;
    snprintf(batch, sizeof batch, "%d", BATCH);
    snprintf(minutes, sizeof minutes, "%d", config()->auction_ending_min);
    if ((rows = db_run(db, a, remind, batch, minutes)) == NULL)
        return CRON_FAILED;
    told = rows_int(rows, 0, "told");
    cron_count("auctions told of", told);
    return told == BATCH ? CRON_AGAIN : CRON_DONE;
}

int
main(int argc, char **argv)
{
    static const struct cron job = { .name = "selliko-remind", .pause_ms = PAUSE_MS, .wakes = true, .work = remind_endings };

    return cron_main(&job, argc, argv);
}
