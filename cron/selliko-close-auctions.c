/* selliko-close-auctions -- end the auctions whose time is over.
 *
 *   selliko-close-auctions [--watch SECONDS] [--verbose]
 *
 * The highest bid wins, or the listing expires; close_auctions() in sql/010_auction_functions.sql decides
 * and writes it all in one transaction, so an auction is closed as a whole or not at all, and once: who
 * comes later finds it ended.  A listing that somebody else holds (another closer, or the last bid, which
 * may even put the end off) is not waited for but looked at again.
 *
 * Without --watch it ends with 0 when nothing is left that was due.  With it, an auction is closed within
 * a second of its end: it sleeps until the next end, but never long, for the next approval may bring an
 * end that is nearer. */
#include "cron.h"

enum { BATCH = 200 /* whose late bidders wait for one transaction */, PAUSE_MS = 500, BUSY_MS = 50, PATIENCE_MS = 10000 };

SQL(close_due, "SELECT close_auctions($1, $2) AS closed");
SQL(next_end, "SELECT ceil(extract(epoch FROM auction_end - clock_timestamp()) * 1000)::bigint AS ms FROM listings"
              " WHERE status = 'live' ORDER BY auction_end, id LIMIT 1");

SQL(fold, "SELECT fold_live_changes()");

static enum cron_result
close_auctions(struct db *db, struct arena *a, int64_t *next_ms)
{
    char batch[16];
    const struct rows *rows;
    int64_t closed, ms;

    snprintf(batch, sizeof batch, "%d", BATCH);
    if ((rows = db_run(db, a, close_due, batch, cron_rules())) == NULL)
        return CRON_FAILED;
    closed = rows_int(rows, 0, "closed");
    cron_count("auctions closed", closed);
    if (closed < BATCH)   /* not while others wait */
        (void)db_run(db, a, fold);
    if ((rows = db_run(db, a, next_end)) == NULL)
        return CRON_FAILED;
    if (rows->n == 0)
        return CRON_DONE;
    ms = rows_int(rows, 0, "ms");
    if (ms > 0) {
        *next_ms = ms < PAUSE_MS ? ms : PAUSE_MS;
        return CRON_DONE;
    }
    *next_ms = closed > 0 ? 0 : BUSY_MS;   /* held by somebody, who is about to let go */
    return CRON_AGAIN;
}

int
main(int argc, char **argv)
{
    static const struct cron job = {
        .name = "selliko-close-auctions", .pause_ms = PAUSE_MS, .wakes = true, .patience_ms = PATIENCE_MS,
        .unfinished = "some auctions that are over could not be closed: they are held by others, or see PostgreSQL's log",
        .work = close_auctions,
    };

    return cron_main(&job, argc, argv);
}
