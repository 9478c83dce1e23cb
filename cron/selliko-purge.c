/* selliko-purge -- throw away what nobody needs any more.
 *
 *   selliko-purge [--watch SECONDS] [--verbose]
 *
 *   rows     codes, sessions and tokens a day after their end, Idempotency-Keys after 24 hours, counters of
 *            rates, events after a day, finished WhatsApp messages after a week (purge() in
 *            sql/015_admin_functions.sql, a thousand of a kind at a time, so that no lock is held long)
 *   stages   uploads whose program died before it published them
 *   folders  photos that were published for a listing or an order that was then not written: the program
 *            died between the two.  They are looked at after a day, when no request can be under way.
 *
 * Where that does not help, and less than a twentieth of the storage is left, the administrators are told.
 *
 * Files are worth more than space: when many folders seem to belong to nothing, the database is rather the
 * wrong one (a restored backup, another DATABASE_URL), and nothing is removed. */
#include "cron.h"

#include "clock.h"
#include "log.h"
#include "options.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

enum {
    ROWS = 1000,
    PAUSE_MS = 60 * 1000,
    FILES_EVERY_MS = 3600 * 1000,
    STAGE_AGE_S = 2 * 3600,         /* longer than any upload takes */
    FOLDER_AGE_S = 24 * 3600,
    BATCH = 500,                    /* folders asked about in one statement */
    ORPHANS_BELIEVED = 10,          /* more than this, and more than a tenth of all: something else is wrong */
    LOW_PERCENT = 5,
};

SQL(rows_due, "SELECT * FROM purge($1)");
/* ids[] in, those that nothing belongs to out; a name that is no UUID is not ours to judge */
SQL(lost_listings, "SELECT x.id FROM unnest($1::uuid[]) x(id) WHERE NOT EXISTS (SELECT FROM listings l WHERE l.id = x.id)");
SQL(lost_orders, "SELECT x.id FROM unnest($1::uuid[]) x(id) WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = x.id)");

SQL(alert, "SELECT whatsapp_alert('storage', $1, $2) AS told");   /* at most once an hour */

static struct store *store;
static int64_t files_at_ms;

/* ---- rows ---- */

static bool
purge_rows(struct db *db, struct arena *a, bool *more)
{
    static const char *const kinds[] = { "codes", "sessions", "tokens", "keys", "rates", "events", "messages" };
    char limit[16];
    const struct rows *rows;

    snprintf(limit, sizeof limit, "%d", ROWS);
    if ((rows = db_run(db, a, rows_due, limit)) == NULL)
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        int64_t n = rows_int(rows, 0, kinds[i]);
        cron_count(kinds[i], n);
        *more |= n == ROWS;
    }
    return true;
}

/* ---- files ---- */

enum { UUID_LEN = 36 };

struct folders {
    char (*id)[UUID_LEN + 1];
    size_t n, room;
};

static bool
is_uuid(const char *s)
{
    size_t i;

    for (i = 0; s[i] != '\0' && i < UUID_LEN; i++)
        if ((i == 8 || i == 13 || i == 18 || i == 23) ? s[i] != '-' : strchr("0123456789abcdef", s[i]) == NULL)
            return false;
    return i == UUID_LEN && s[i] == '\0';
}

static bool
collect(void *ctx, const char *id)
{
    struct folders *f = ctx;

    if (!is_uuid(id))
        return true;
    if (f->n == f->room) {
        size_t room = f->room > 0 ? 2 * f->room : 1024;
        void *bigger = realloc(f->id, room * sizeof f->id[0]);
        if (bigger == NULL)
            return false;   /* the rest another time */
        f->id = bigger;
        f->room = room;
    }
    memcpy(f->id[f->n++], id, UUID_LEN + 1);
    return true;
}

/* Keep of FOLDERS those to which no row belongs.  False: the database is away. */
static bool
keep_lost(struct db *db, struct arena *a, struct sql *lost, struct folders *f)
{
    size_t kept = 0;

    for (size_t done = 0; done < f->n; done += BATCH) {
        size_t n = f->n - done < BATCH ? f->n - done : BATCH;
        char *ids = arena_alloc(a, n * (UUID_LEN + 1) + 2);
        const struct rows *rows;

        for (size_t i = 0; i < n; i++) {
            ids[i * (UUID_LEN + 1)] = i == 0 ? '{' : ',';
            memcpy(ids + i * (UUID_LEN + 1) + 1, f->id[done + i], UUID_LEN);
        }
        memcpy(ids + n * (UUID_LEN + 1), "}", 2);
        if ((rows = db_query(db, a, lost, (const char *const[]){ ids }, 1)) == NULL)
            return false;
        for (int i = 0; i < rows->n; i++)
            memcpy(f->id[kept++], rows_text(rows, i, "id"), UUID_LEN + 1);
    }
    f->n = kept;
    return true;
}

static bool
purge_group(struct db *db, struct arena *a, const char *group, struct sql *lost)
{
    struct folders f = { 0 };
    size_t all, gone = 0;
    bool good = store_each(store, group, FOLDER_AGE_S, collect, &f) == STORE_OK;

    if (!good)
        log_error("the folders cannot be listed", log_s("group", group), log_s("reason", strerror(errno)));
    all = f.n;
    good = good && keep_lost(db, a, lost, &f);
    if (good && f.n > ORPHANS_BELIEVED && f.n > all / 10) {
        log_error("many folders belong to nothing in this database: none is removed", log_s("group", group),
                  log_i("folders", (int64_t)all), log_i("lost", (int64_t)f.n));
        good = false;
    }
    for (size_t i = 0; good && i < f.n; i++) {
        const char *key = arena_printf(a, "%s/%s", group, f.id[i]);
        if (!store_is_old(store, key, FOLDER_AGE_S))
            continue;   /* its row may be about to be committed */
        if (store_delete(store, key) == STORE_OK)
            gone++;
        else
            log_error("a folder cannot be removed", log_s("key", key), log_s("reason", strerror(errno)));
    }
    cron_count("folders", (int64_t)gone);
    free(f.id);
    return good;
}

static bool
purge_files(struct db *db, struct arena *a)
{
    size_t stages = 0;
    bool listings;

    if (store_purge(store, STAGE_AGE_S, &stages) != STORE_OK)
        log_error("stages cannot be removed", log_s("reason", strerror(errno)));
    cron_count("stages", (int64_t)stages);
    listings = purge_group(db, a, "listings", &lost_listings);
    return purge_group(db, a, "verification", &lost_orders) && listings;
}

static bool
watch_space(struct db *db, struct arena *a)
{
    int left = store_free_percent(store);
    const struct rows *rows;

    if (left < 0 || left >= LOW_PERCENT)
        return true;
    log_error("storage runs out", log_i("percentLeft", left));
    rows = db_run(db, a, alert, arena_printf(a, "%d", left),
                  arena_printf(a, "The storage of photos runs out: %d %% are left.", left));
    if (rows != NULL && rows_bool(rows, 0, "told"))
        db_wake(db, "selliko_events");
    return rows != NULL;
}

static enum cron_result
purge(struct db *db, struct arena *a, int64_t *next_ms)
{
    bool more = false;

    (void)next_ms;
    if (!purge_rows(db, a, &more))
        return CRON_FAILED;
    if (files_at_ms == 0 || clock_ms() >= files_at_ms) {
        if (!purge_files(db, a))
            return CRON_FAILED;
        files_at_ms = clock_ms() + FILES_EVERY_MS;
    }
    if (!watch_space(db, a))
        return CRON_FAILED;
    return more ? CRON_AGAIN : CRON_DONE;
}

static int
begin(void)
{
    return store_open_configured(&store) == STORE_OK ? EX_OK : EX_CANTCREAT;
}

static void
end(void)
{
    store_close(store);
}

int
main(int argc, char **argv)
{
    static const struct cron job = {
        .name = "selliko-purge", .pause_ms = PAUSE_MS, .begin = begin, .work = purge, .end = end,
    };

    return cron_main(&job, argc, argv);
}
