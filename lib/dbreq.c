/* dbreq -- the upper layer of db.h: statements within a request, and the pool they borrow from. */
#include "req_inside.h"

#include "clock.h"
#include "crypto.h"
#include "log.h"
#include "metrics.h"
#include "replica.h"

#include <pthread.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct db **idle;
    int n_idle, n_open, size;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER };

void
db_pool_init(int size)
{
    free(pool.idle);   /* tests begin anew */
    pool.size = size;
    pool.idle = calloc((size_t)size, sizeof(struct db *));
    if (pool.idle == NULL)
        abort();   /* LCOV_EXCL_LINE: no memory at the very start */
}

struct db *
db_pool_get(void)
{
    struct db *db = NULL;
    uint64_t began = clock_ns();
    pthread_mutex_lock(&pool.lock);
    while (pool.n_idle == 0 && pool.n_open == pool.size)
        pthread_cond_wait(&pool.freed, &pool.lock);
    metrics_observe(METRICS_DB_WAIT, clock_ns() - began);
    metrics_own_add(METRICS_DB_IN_USE, 1);
    if (pool.n_idle > 0)
        db = pool.idle[--pool.n_idle];
    else
        pool.n_open++;
    pthread_mutex_unlock(&pool.lock);
    return db != NULL ? db : db_open();
}

void
db_pool_put(struct db *db)
{
    pthread_mutex_lock(&pool.lock);
    pool.idle[pool.n_idle++] = db;
    metrics_own_add(METRICS_DB_IN_USE, -1);
    pthread_cond_signal(&pool.freed);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- a request's statements ---- */

SQL(session, "SELECT session_check($1, $2, $3::text[]) AS role");
SQL(begin, "BEGIN");
SQL(commit, "COMMIT");

static enum role
role_of(const char *name)
{
    return strcmp(name, "CLIENT") == 0 ? ROLE_CLIENT
         : strcmp(name, "VENDOR") == 0 ? ROLE_VENDOR
         : strcmp(name, "AGENT") == 0  ? ROLE_AGENT
                                       : ROLE_ADMIN;
}

/* The route's roles as text[]; null when all are welcome. */
static const char *
roles_param(struct req *r)
{
    unsigned who = r->inside->route->who;
    if ((who & ANYONE) != 0 || (who & SIGNED_IN) == SIGNED_IN)
        return NULL;
    char list[40] = "";
    size_t len = 0;
    static const char *const names[] = { "CLIENT", "VENDOR", "AGENT", "ADMIN" };
    for (unsigned i = 0; i < 4; i++)
        if ((who & (1u << i)) != 0)
            len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len > 0 ? "," : "", names[i]);
    return arena_printf(r->arena, "{%s}", list);
}

bool
req_session_refused(struct req *r, const char *sqlstate, reply *refusal)
{
    if (strcmp(sqlstate, "SK401") == 0)
        *refusal = failf(r, ERR_UNAUTHENTICATED, "The session has ended. Please sign in.");
    else if (strcmp(sqlstate, "SK403") == 0)
        *refusal = fail(r, ERR_ACCOUNT_DISABLED);
    else if (strcmp(sqlstate, "SK40F") == 0)
        *refusal = fail(r, ERR_FORBIDDEN);
    else
        return false;
    return true;
}

/* What everybody may see, asked for by nobody in particular: it may be a little old. */
static bool
is_public(const struct req *r)
{
    return (r->inside->route->flags & CACHEABLE) != 0 && !r->inside->has_token;
}

/* Send what is queued, with the session check before it where that is still to be done. */
static void
flush(struct req *r)
{
    struct req_inside *in = r->inside;
    struct db_call calls[REQ_MAX_QUEUED + 1];
    int n = 0;
    bool checks = in->has_token && !in->checked;
    const char *who[] = { in->claims.session_id, in->claims.user_id, checks ? roles_param(r) : NULL };
    if (checks)
        calls[n++] = (struct db_call){ .sql = &session, .param = who, .n = 3 };
    for (int i = 0; i < in->n_queued; i++)
        calls[n++] = in->queued[i];
    if (replica_wanted() && is_public(r)) {
        if (in->public_since == 0)
            in->public_since = time(NULL);
        if (in->db == NULL)
            in->db = replica_get();
    }
    if (in->db == NULL)
        in->db = db_pool_get();
    bool good = db_pipeline(in->db, r->arena, calls, n);
    if (!good && in->db->replica_url != NULL) {   /* the primary is asked the same: nothing but reading was done */
        replica_failed(in->db);
        in->db = db_pool_get();
        good = db_pipeline(in->db, r->arena, calls, n);
    }
    if (!good) {
        reply refusal;
        if (req_session_refused(r, db_sqlstate(in->db), &refusal)) {
            in->checked = true;
            req_leave(r, refusal);
        }
        if (db_is_transient(db_sqlstate(in->db)))
            give_up(r, ERR_UNAVAILABLE);
        log_error("a statement failed for good", log_s("statement", calls[n - 1].sql->name), log_s("sqlstate", db_sqlstate(in->db)));
        give_up(r, ERR_INTERNAL);
    }
    if (checks) {
        in->checked = true;
        r->user.role = role_of(rows_text(calls[0].rows, 0, "role"));
    }
    for (int i = 0; i < in->n_queued; i++)
        in->queued[i].rows = calls[n - in->n_queued + i].rows;
}

void
db_need_keys(struct req *r)
{
    if (crypto_keyring_newest(CRYPTO_HASH) != 0)
        return;
    struct db *db = db_open();   /* a fresh one: a kept connection may be older than the keys */
    bool connected = db_connect(db);
    db_close(db);
    if (!connected || crypto_keyring_newest(CRYPTO_HASH) == 0)
        give_up(r, ERR_UNAVAILABLE);
}

static int
enqueue(struct req *r, struct sql *sql, const char *const *param, int n)
{
    struct req_inside *in = r->inside;
    if (in->n_queued > 0 && in->queued[0].rows != NULL)   /* those were sent: begin anew */
        in->n_queued = 0;
    if (in->n_queued == REQ_MAX_QUEUED)
        abort();   /* LCOV_EXCL_LINE: a handler with more statements at once than there is room for, a bug */
    /* The caller's array is gone when the pipeline is sent. */
    const char **copy = arena_alloc(r->arena, sizeof(char *) * (size_t)(n + 1));
    memcpy(copy, param, sizeof(char *) * (size_t)n);
    in->queued[in->n_queued] = (struct db_call){ .sql = sql, .param = copy, .n = n };
    return in->n_queued++;
}

int
db_queue_(struct req *r, struct sql *sql, const char *const *param, int n)
{
    return enqueue(r, sql, param, n);
}

const struct rows *
db_queued(struct req *r, int ticket)
{
    return r->inside->queued[ticket].rows;
}

const struct rows *
db_rows_(struct req *r, struct sql *sql, const char *const *param, int n)
{
    int ticket = enqueue(r, sql, param, n);
    flush(r);
    return r->inside->queued[ticket].rows;
}

const struct rows *
db_row_(struct req *r, struct sql *sql, const char *const *param, int n, bool must)
{
    const struct rows *rows = db_rows_(r, sql, param, n);
    if (rows->n > 1 || (must && rows->n == 0)) {
        log_error("a statement gave another number of rows than it may", log_s("statement", sql->name),
                  log_i("rows", rows->n));
        give_up(r, ERR_INTERNAL);
    }
    return rows->n == 1 ? rows : NULL;
}

void
db_begin(struct req *r)
{
    (void)db_queue(r, begin);
    r->inside->in_transaction = true;
}

void
db_commit(struct req *r)
{
    (void)db_queue(r, commit);
    flush(r);
    r->inside->in_transaction = false;
}

void
db_wake_later(struct req *r, const char *channel)
{
    struct req_inside *in = r->inside;
    if (in->n_wake < (int)(sizeof in->wake / sizeof in->wake[0]))
        in->wake[in->n_wake++] = channel;
}

const struct user *
req_user(struct req *r)
{
    if (r->inside->has_token && !r->inside->checked)
        flush(r);   /* with what is queued: nothing was sent yet, or the session would be checked */
    return &r->user;
}

static void
give_back(struct db *db)
{
    if (db->replica_url != NULL)
        replica_put(db);
    else
        db_pool_put(db);
}

void
db_let_go(struct req *r)
{
    struct req_inside *in = r->inside;
    if (in->db == NULL || in->in_transaction || in->n_wake > 0)   /* who is woken is told over it */
        return;
    give_back(in->db);
    in->db = NULL;
}

void
req_db_end(struct req *r, bool committed)
{
    struct db *db = r->inside->db;
    if (db == NULL)
        return;
    r->inside->db = NULL;
    if (db->conn != NULL && PQtransactionStatus(db->conn) != PQTRANS_IDLE)
        (void)db_command(db, "ROLLBACK");
    for (int i = 0; committed && db->conn != NULL && i < r->inside->n_wake; i++)
        db_wake(db, r->inside->wake[i]);
    give_back(db);
}
