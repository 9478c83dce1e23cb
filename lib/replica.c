/* replica -- see replica.h. */
#include "replica.h"

#include "clock.h"
#include "db_inside.h"
#include "log.h"

#include <pthread.h>
#include <stdlib.h>

/* A mark is renewed after ASK_MS; the one before it is old enough to have arrived and young enough to count. */
enum { ASK_MS = 80, KEPT = 8, BEHIND_MS = 300, BROKEN_MS = 5000 };

struct mark {
    int64_t lsn, system, timeline;
    int64_t asked_ms;   /* before the primary was: what was committed then is before LSN */
};

static struct {
    pthread_mutex_t lock;
    const char *url;
    struct db *idle[KEPT];
    int n_idle, n_open;
    bool connecting, in_doubt;   /* in doubt: it failed, so one alone tries it */
    int64_t again_ms;            /* not before */
    struct db *primary;          /* of its own: to know a mark nobody waits for the pool */
    bool asking;
    struct mark last, before;
} replica = { .lock = PTHREAD_MUTEX_INITIALIZER, .url = "" };

void
replica_init(const char *url)
{
    replica.url = url != NULL ? url : "";
    if (replica_wanted())
        replica.primary = db_open();
}

bool
replica_wanted(void)
{
    return replica.url[0] != '\0';
}

/* The first row's N columns as integers, booleans as 0 and 1. */
static bool
ask(struct db *db, const char *text, int64_t *value, int n)
{
    PGresult *res = db_ask(db, text);
    bool good = PQntuples(res) == 1 && PQnfields(res) == n;
    for (int i = 0; good && i < n; i++) {
        const char *is = PQgetvalue(res, 0, i);
        value[i] = is[0] == 't' ? 1 : strtoll(is, NULL, 10);
    }
    PQclear(res);
    return good;
}

/* Not before MS from now; IN_DOUBT: then one alone. With the lock. */
static void
leave_alone(int64_t ms, bool in_doubt)
{
    if (in_doubt && !replica.in_doubt)
        log_warn("the replica is not used", log_s("why", "it failed, or is none of this primary's"));
    replica.again_ms = clock_ms() + ms;
    replica.in_doubt |= in_doubt;
}

/* ---- marks ---- */

/* Flushed, because a bid is seen by nobody before it is; looks at a listing are not waited for and may be the
 * server's wal_writer_delay older. */
static bool
ask_primary(struct mark *m)
{
    int64_t value[3];
    m->asked_ms = clock_ms();
    if (!ask(replica.primary, "SELECT pg_current_wal_flush_lsn() - '0/0', system_identifier,"
                              " ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int"
                              " FROM pg_control_system()", value, 3))
        return false;
    m->lsn = value[0];
    m->system = value[1];
    m->timeline = value[2];
    return true;
}

/* The oldest mark that is young enough, which the replica has most likely reached. */
static bool
find_mark(struct mark *m)
{
    pthread_mutex_lock(&replica.lock);
    int64_t now = clock_ms();
    if (now - replica.last.asked_ms >= ASK_MS && !replica.asking) {
        replica.asking = true;
        pthread_mutex_unlock(&replica.lock);
        struct mark fresh;
        bool good = ask_primary(&fresh);
        pthread_mutex_lock(&replica.lock);
        replica.asking = false;
        if (good) {
            replica.before = replica.last;
            replica.last = fresh;
        } else {
            leave_alone(BROKEN_MS, false);
        }
        now = clock_ms();
    }
    *m = now - replica.before.asked_ms < REPLICA_OLDEST_MS && replica.before.timeline == replica.last.timeline
        ? replica.before : replica.last;
    pthread_mutex_unlock(&replica.lock);
    return m->lsn > 0 && now - m->asked_ms < REPLICA_OLDEST_MS;
}

/* ---- connections ---- */

/* A thread: connecting may take seconds, for which no request waits. */
static void *
connect_one(void *arg)
{
    struct db *db = db_open();
    db->replica_url = replica.url;
    bool good = db_connect(db);
    pthread_mutex_lock(&replica.lock);
    replica.connecting = false;
    if (good) {
        replica.idle[replica.n_idle++] = db;
    } else {
        replica.n_open--;
        leave_alone(BROKEN_MS, true);
    }
    pthread_mutex_unlock(&replica.lock);
    if (!good)
        db_close(db);
    return arg;
}

static struct db *
take(void)
{
    struct db *db = NULL;
    pthread_mutex_lock(&replica.lock);
    if (clock_ms() >= replica.again_ms) {
        if (replica.n_idle > 0) {
            db = replica.idle[--replica.n_idle];
            if (replica.in_doubt)
                replica.again_ms = clock_ms() + BROKEN_MS;
        } else if (replica.n_open < KEPT && !replica.connecting) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, connect_one, NULL) == 0) {
                (void)pthread_detach(thread);
                replica.connecting = true;
                replica.n_open++;
            }
        }
    }
    pthread_mutex_unlock(&replica.lock);
    return db;
}

void
replica_put(struct db *db)
{
    pthread_mutex_lock(&replica.lock);
    replica.idle[replica.n_idle++] = db;
    pthread_mutex_unlock(&replica.lock);
}

/* The idle ones are made anew as well: they lead to the same place. */
void
replica_failed(struct db *db)
{
    pthread_mutex_lock(&replica.lock);
    leave_alone(BROKEN_MS, true);
    replica.n_open -= replica.n_idle + 1;
    while (replica.n_idle > 0)
        db_close(replica.idle[--replica.n_idle]);
    pthread_mutex_unlock(&replica.lock);
    db_close(db);
}

/* The timeline is the one of the standby's last restart point: after a failover it may take a checkpoint_timeout until
 * that is the primary's, but one that went another way than the primary is never believed. */
struct db *
replica_get(void)
{
    struct mark mark;
    struct db *db = replica_wanted() ? take() : NULL;
    if (db == NULL)
        return NULL;
    if (!find_mark(&mark)) {
        replica_put(db);
        return NULL;
    }
    int64_t is[4];
    if (!ask(db, "SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn() - '0/0', 0), system_identifier, timeline_id"
                 " FROM pg_control_system(), pg_control_checkpoint()", is, 4)
        || is[0] == 0 || is[2] != mark.system || is[3] != mark.timeline) {
        replica_failed(db);
        return NULL;
    }
    bool current = is[1] >= mark.lsn;
    pthread_mutex_lock(&replica.lock);
    if (replica.in_doubt)
        log_info("the replica is used again");
    replica.in_doubt = false;
    replica.again_ms = 0;
    if (!current)
        leave_alone(BEHIND_MS, false);
    pthread_mutex_unlock(&replica.lock);
    if (!current)
        replica_put(db);
    return current ? db : NULL;
}
