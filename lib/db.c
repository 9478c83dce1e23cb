/* db -- see db.h.  The lower layer: one connection and its prepared statements.
 *
 * Every call goes through libpq's pipeline mode, also a single statement, so that there is one code
 * path: send a few, one Sync, read as many answers.  Between two Syncs PostgreSQL runs everything as
 * one transaction (unless BEGIN was said), so the session check that is sent before a statement aborts
 * it when it fails. */
#include "db_inside.h"

#include "arena.h"
#include "clock.h"
#include "config.h"
#include "crypto.h"
#include "encoding.h"
#include "log.h"
#include "metrics.h"
#include "replica.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

/* Added to the server's own limit for a statement: who answers late has 57014 to say, who is silent is gone. */
enum { GRACE_MS = 3000 };

static struct {
    const char *url, *application;
    int timeout_s;
} where = { "", "selliko", 0 };

static atomic_int next_id = 1;
static _Atomic uint64_t epoch;

void
db_init(const char *url, const char *application, int pool_size, int timeout_s)
{
    where.url = url;
    where.application = application;
    where.timeout_s = timeout_s;
    db_pool_init(pool_size);
}

struct db *
db_open(void)
{
    struct db *db = calloc(1, sizeof *db);
    if (db == NULL)
        abort();
    memcpy(db->sqlstate, "00000", 6);
    return db;
}

static void
disconnect(struct db *db)
{
    PQfinish(db->conn);
    db->conn = NULL;
    db->in_transaction = db->gave_up = false;
    memset(db->is_prepared, 0, sizeof db->is_prepared);
}

void
db_close(struct db *db)
{
    if (db == NULL)
        return;
    disconnect(db);
    free(db);
}

uint64_t
db_epoch(void)
{
    return atomic_load(&epoch);
}

const char *
db_sqlstate(const struct db *db)
{
    return db->sqlstate;
}

/* The session is not as we believe: a statement that is not prepared, or is already, or was for columns of another
 * type (a migration ran); a transaction that nobody remembers.  Rolled back, and good again over a new connection. */
static bool
is_stale(const char *s)
{
    return strcmp(s, "26000") == 0 || strcmp(s, "42P05") == 0 || strcmp(s, "0A000") == 0 || strcmp(s, "25P02") == 0;
}

bool
db_is_transient(const char *s)
{
    /* no connection, too many, shutting down or starting, out of resources, its disk fails, out of time,
     * serialisation, deadlock, lock not available, a standby that cannot write yet */
    return strncmp(s, "08", 2) == 0 || strncmp(s, "53", 2) == 0 || strncmp(s, "57P", 3) == 0 || strncmp(s, "58", 2) == 0
        || strcmp(s, "57014") == 0 || strncmp(s, "40", 2) == 0 || strcmp(s, "55P03") == 0 || strcmp(s, "25006") == 0
        || is_stale(s);
}

void *
db_pgconn(struct db *db)
{
    return db->conn;
}

static void
set_error(struct db *db, const char *sqlstate)
{
    snprintf(db->sqlstate, sizeof db->sqlstate, "%s", sqlstate != NULL && strlen(sqlstate) == 5 ? sqlstate : "08006");
}

/* Take note of why RES failed.  What callers must hear ('SK…') is not our trouble and is not logged.
 * Only the primary message is: the detail of an error quotes values. */
static void
note_failure(struct db *db, const PGresult *res)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    set_error(db, state);
    if (strncmp(db->sqlstate, "SK", 2) == 0)
        return;
    metrics_add(METRICS_DB_FAILURES, 1);
    const char *message = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *constraint = res != NULL ? PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME) : NULL;
    log_error("database statement failed", log_s("sqlstate", db->sqlstate), log_s("detail", message),
              log_s("constraint", constraint));
}

/* The connection is of no use any more. */
static void
lose(struct db *db)
{
    metrics_add(METRICS_DB_FAILURES, 1);
    log_error(db->gave_up ? "the database does not answer" : "database connection lost",
              log_s("detail", PQerrorMessage(db->conn)));
    set_error(db, "08006");
    disconnect(db);
}

/* Once a minute for the process that asks: a program that only seals and never opens would not meet
 * the newer key otherwise, and would use the old one for ever.  `sellikoctl rotate-key` counts on it. */
static bool
keys_are_stale(void)
{
    static _Atomic time_t due;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    time_t then = atomic_load_explicit(&due, memory_order_relaxed);
    return now.tv_sec >= then && atomic_compare_exchange_strong(&due, &then, now.tv_sec + 60);
}

static PGresult *command(struct db *db, const char *text);

/* The session's settings.  Not as options of the connection, which PgBouncer refuses.  No parallel workers: from
 * some 100,000 listings on a page of 20 would start two for what takes less time than starting them. */
static bool
set_up(struct db *db)
{
    char text[640];
    char limit[24];
    snprintf(limit, sizeof limit, "%d", db->replica_url != NULL ? REPLICA_LIMIT_MS : where.timeout_s * 1000);
    snprintf(text, sizeof text, "SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false), "
             "set_config('extra_float_digits', '1', false), set_config('IntervalStyle', 'postgres', false), "
             "set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false), "
             "set_config('max_parallel_workers_per_gather', '0', false), set_config('jit', 'off', false), "
             "set_config('statement_timeout', '%s', false)%s", limit,
             db->replica_url != NULL ? ", set_config('default_transaction_read_only', 'on', false)" : "");
    PGresult *res = command(db, text);
    bool good = PQresultStatus(res) == PGRES_TUPLES_OK;
    if (!good) {
        note_failure(db, res);
        disconnect(db);
    }
    PQclear(res);
    return good;
}

bool
db_connect(struct db *db)
{
    if (db->conn != NULL) {
        /* A server that went away has closed its end: seen here, before a statement is risked on it. */
        char byte;
        ssize_t n = db->in_transaction ? -1 : recv(PQsocket(db->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        bool dead = PQstatus(db->conn) != CONNECTION_OK || PQpipelineStatus(db->conn) != PQ_PIPELINE_OFF || n == 0
            || (n < 0 && !db->in_transaction && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
        if (n > 0) {   /* a notice or notification, or the server's farewell */
            dead |= PQconsumeInput(db->conn) == 0 || PQstatus(db->conn) != CONNECTION_OK;
            n = recv(PQsocket(db->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
            dead |= n == 0;
        }
        if (!dead) {
            if (db->replica_url == NULL && keys_are_stale() && PQtransactionStatus(db->conn) == PQTRANS_IDLE)
                (void)db_load_keys(db);
            if (db->conn != NULL)
                return true;
        }
        disconnect(db);
    }
    const char *keys[] = { "dbname", "application_name", "fallback_application_name", "connect_timeout",
                           "client_encoding", NULL };
    const char *values[] = { db->replica_url != NULL ? db->replica_url : where.url, NULL, where.application, "3", "UTF8", NULL };
    PGconn *conn = PQconnectdbParams(keys, values, 1);
    if (conn == NULL || PQstatus(conn) != CONNECTION_OK || PQsetnonblocking(conn, 1) != 0) {
        set_error(db, "08001");
        metrics_add(METRICS_DB_FAILURES, 1);
        log_error("no database connection", log_s("detail", conn != NULL ? PQerrorMessage(conn) : "no memory"));
        PQfinish(conn);
        return false;
    }
    PQsetNoticeReceiver(conn, db_ignore_notice, NULL);
    db->conn = conn;
    atomic_fetch_add(&epoch, 1);
    if (set_up(db) && db->replica_url == NULL)   /* which may lack the newest */
        (void)db_load_keys(db);
    return db->conn != NULL;   /* or lost again at once */
}

void
db_ignore_notice(void *ctx, const PGresult *res)
{
    (void)ctx;
    (void)res;
}

/* ---- waiting ---- */

/* Until when an answer that is asked for now is waited for. */
static uint64_t
deadline_ns(const struct db *db)
{
    if (db->replica_url != NULL)
        return clock_ns() + REPLICA_LIMIT_MS * UINT64_C(1000000);
    return where.timeout_s == 0 ? UINT64_MAX
        : clock_ns() + (uint64_t)where.timeout_s * 1000000000u + GRACE_MS * UINT64_C(1000000);
}

/* Send what is not sent yet and read until there is a result (or the end of one).  False: there will be none.
 * PQgetResult would wait for ever: for a server that is silent, and when libpq has no memory to say that a
 * pipeline has ended.  It has a sentence for that, though, which is the only thing that tells. */
static bool
has_answer(struct db *db, uint64_t deadline)
{
    size_t complaint = strlen(PQerrorMessage(db->conn));
    for (;;) {
        int unsent = PQflush(db->conn);
        if (unsent < 0)
            return false;
        if (PQisBusy(db->conn) == 0)
            return true;
        if (strlen(PQerrorMessage(db->conn)) != complaint)
            return false;
        uint64_t now = clock_ns(), left = deadline > now ? (deadline - now) / 1000000 : 0;
        struct pollfd fd = { .fd = PQsocket(db->conn), .events = (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN) };
        int ready = poll(&fd, 1, left > INT32_MAX ? -1 : (int)left);
        if (ready == 0 || (ready < 0 && errno != EINTR))
            return false;
        if (ready > 0 && (fd.revents & ~POLLOUT) != 0 && PQconsumeInput(db->conn) == 0)
            return false;
    }
}

/* PQgetResult, with an end: NULL and GAVE_UP when there is no answer, and then the connection is of no use. */
static PGresult *
next_result(struct db *db, uint64_t deadline)
{
    if (db->gave_up || !has_answer(db, deadline)) {
        db->gave_up = true;
        return NULL;
    }
    return PQgetResult(db->conn);
}

/* The last result of plain SQL, as PQexec. */
static PGresult *
command(struct db *db, const char *text)
{
    PGresult *last = NULL, *res;
    uint64_t deadline = deadline_ns(db);
    if (PQsendQuery(db->conn, text) == 0)
        return NULL;
    while ((res = next_result(db, deadline)) != NULL) {
        PQclear(last);
        last = res;
    }
    return last;
}

/* ---- statements ---- */

static int
statement_id(struct sql *sql)
{
    int id = __atomic_load_n(&sql->id, __ATOMIC_ACQUIRE);
    if (id == 0) {
        int fresh = atomic_fetch_add(&next_id, 1);
        if (fresh >= DB_MAX_STATEMENTS)
            abort();
        if (__atomic_compare_exchange_n(&sql->id, &id, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            id = fresh;
    }
    return id;
}

/* TEXT without the optional conditions whose parameters are not GIVEN.  Those parameters must still be
 * mentioned, or PostgreSQL would not know their type. */
static char *
variant_text(const char *text, unsigned given)
{
    size_t cap = 2 * strlen(text) + 1, len = 0;
    char *out = malloc(cap);
    if (out == NULL)
        abort();
    while (*text != '\0') {
        if (strncmp(text, "{?", 2) != 0) {
            out[len++] = *text++;
            continue;
        }
        char *body;
        unsigned long n = strtoul(text + 2, &body, 10);
        const char *end = strstr(body, "?}");
        if ((given & 1u << n) != 0) {
            memcpy(out + len, body, (size_t)(end - body));
            len += (size_t)(end - body);
        } else {
            len += (size_t)snprintf(out + len, cap - len, " AND $%lu::text IS NULL", n);
        }
        text = end + 2;
    }
    out[len] = '\0';
    return out;
}

/* The statement to send for these parameters: SQL itself, or its variant. */
static struct sql *
variant_of(struct sql *sql, const char *const *param, int n)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (strstr(sql->text, "{?") == NULL)
        return sql;
    unsigned given = 0;
    for (int i = 0; i < n; i++)
        if (param[i] != NULL)
            given |= 2u << i;
    for (struct sql *v = __atomic_load_n(&sql->variants, __ATOMIC_ACQUIRE); v != NULL; v = v->next)
        if (v->given == given)
            return v;
    pthread_mutex_lock(&lock);
    struct sql *v = sql->variants;
    while (v != NULL && v->given != given)
        v = v->next;
    if (v == NULL) {
        v = calloc(1, sizeof *v);
        if (v == NULL)
            abort();
        *v = (struct sql){ .name = sql->name, .text = variant_text(sql->text, given), .given = given, .next = sql->variants };
        __atomic_store_n(&sql->variants, v, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return v;
}

/* Send one statement, preparing it on the way when this connection has not seen it. */
static bool
send_statement(struct db *db, struct db_call *call)
{
    call->sql = variant_of(call->sql, call->param, call->n);
    int id = statement_id(call->sql);
    char name[80];
    snprintf(name, sizeof name, "%s_%d", call->sql->name, id);
    call->id = id;
    call->prepares = !db->is_prepared[id];
    if (call->prepares) {
        if (PQsendPrepare(db->conn, name, call->sql->text, 0, NULL) == 0)
            return false;
        db->is_prepared[id] = true;   /* taken back when the answer says otherwise */
    }
    return PQsendQueryPrepared(db->conn, name, call->n, call->param, NULL, NULL, 0) == 1;
}

static void
clear(void *what)
{
    struct rows *rows = what;
    PQclear(rows->res);
}

/* Whether RES is libpq's own word, that it had no memory for what the server said: that may have been anything
 * (that a statement is prepared, say), so the connection is not as we believe. */
static bool
is_lost(const PGresult *res)
{
    return PQresultStatus(res) == PGRES_FATAL_ERROR && PQresultErrorField(res, PG_DIAG_SQLSTATE) == NULL;
}

/* The answer to one statement of the pipeline.  False: it failed, or was aborted by one before it. */
static bool
read_answer(struct db *db, struct db_call *call, uint64_t deadline, bool *noted)
{
    bool good = true;
    for (int i = call->prepares ? 0 : 1; i < 2; i++) {
        PGresult *res = next_result(db, deadline);
        if (db->gave_up)
            return false;
        ExecStatusType status = PQresultStatus(res);
        bool this_good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
        if (!this_good) {
            good = false;
            db->gave_up |= is_lost(res);
            if (i == 0)
                db->is_prepared[call->id] = false;
            if (!*noted && status != PGRES_PIPELINE_ABORTED)
                note_failure(db, res);
            *noted |= status != PGRES_PIPELINE_ABORTED;
        }
        const struct rows_columns *cols = i == 1 && this_good ? rows_columns(call->id, res) : NULL;
        if (cols != NULL) {
            *call->answer = (struct rows){ .n = PQntuples(res), .res = res, .cols = cols };
            call->rows = call->answer;
        } else {
            if (i == 1 && this_good) {
                note_failure(db, NULL);   /* it has happened, but nobody can read what */
                *noted = true;
                good = false;
            }
            PQclear(res);
        }
        if (res != NULL)
            PQclear(next_result(db, deadline));   /* NULL: the end of this command's results */
    }
    return good;
}

bool
db_pipeline(struct db *db, struct arena *a, struct db_call *calls, int n)
{
    /* No memory is noticed here, before anything is sent: with an answer half read, leaving by the arena's
     * handler would give the next one who uses this connection the rest of it. */
    for (int i = 0; i < n; i++) {
        calls[i].answer = arena_zalloc(a, 1, sizeof *calls[i].answer);
        arena_own(a, calls[i].answer, clear);
    }
    if (!db_connect(db))
        return false;
    uint64_t began = clock_ns(), deadline = deadline_ns(db);
    bool good = PQenterPipelineMode(db->conn) == 1;
    db->gave_up = !good;   /* it is busy with something that nobody asked for */
    int sent = 0;
    while (good && sent < n)
        good = send_statement(db, &calls[sent++]);
    good = good && PQpipelineSync(db->conn) == 1;
    bool noted = false;
    if (good) {
        for (int i = 0; i < n; i++)
            good &= read_answer(db, &calls[i], deadline, &noted);
        PGresult *sync = next_result(db, deadline);
        good &= PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
        PQclear(sync);
        if (PQstatus(db->conn) == CONNECTION_OK && PQexitPipelineMode(db->conn) == 0)
            good = false;
    }
    bool usable = !db->gave_up && PQstatus(db->conn) == CONNECTION_OK && PQpipelineStatus(db->conn) == PQ_PIPELINE_OFF;
    if (!noted && (!good || !usable)) {
        lose(db);
        return false;
    }
    if (noted && (!usable || is_stale(db->sqlstate))) {
        if (!db_is_transient(db->sqlstate))
            set_error(db, "08006");
        disconnect(db);
        return false;
    }
    metrics_observe(METRICS_DB_ROUND_TRIP, clock_ns() - began);
    db->in_transaction = PQtransactionStatus(db->conn) != PQTRANS_IDLE;
    return good;
}

const struct rows *
db_query(struct db *db, struct arena *a, struct sql *sql, const char *const *param, int n)
{
    struct db_call call = { .sql = sql, .param = param, .n = n };
    return db_pipeline(db, a, &call, 1) ? call.rows : NULL;
}

bool
db_command(struct db *db, const char *text)
{
    if (!db_connect(db))
        return false;
    PGresult *res = command(db, text);
    ExecStatusType status = PQresultStatus(res);
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!good)
        note_failure(db, res);
    db->gave_up |= is_lost(res);
    PQclear(res);
    db->in_transaction = PQtransactionStatus(db->conn) == PQTRANS_INTRANS
        || PQtransactionStatus(db->conn) == PQTRANS_INERROR;
    if (db->gave_up || PQstatus(db->conn) != CONNECTION_OK)
        disconnect(db);
    return good;
}

PGresult *
db_ask(struct db *db, const char *text)
{
    if (!db_connect(db))
        return NULL;
    PGresult *res = command(db, text);
    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        return res;
    note_failure(db, res);
    PQclear(res);
    disconnect(db);
    return NULL;
}

void
db_wake(struct db *db, const char *channel)
{
    char text[80];
    snprintf(text, sizeof text, "NOTIFY %s", channel);
    (void)db_command(db, text);
}

bool
db_load_keys(struct db *db)
{
    PGresult *res = command(db, "SELECT purpose, version, encode(wrapped, 'hex') FROM encryption_keys");
    bool good = PQresultStatus(res) == PGRES_TUPLES_OK;
    for (int i = 0; good && i < PQntuples(res); i++) {
        uint8_t wrapped[CRYPTO_WRAPPED_LEN], key[CRYPTO_KEY_LEN];
        const char *hex = PQgetvalue(res, i, 2);
        enum crypto_purpose purpose = strcmp(PQgetvalue(res, i, 0), "hash") == 0 ? CRYPTO_HASH : CRYPTO_SEAL;
        uint32_t version = (uint32_t)strtoul(PQgetvalue(res, i, 1), NULL, 10);
        ssize_t len = encoding_unhex(wrapped, sizeof wrapped, hex, strlen(hex));
        if (len < 0 || !crypto_unwrap(config()->encryption_key, purpose, version, wrapped, (size_t)len, key)) {
            log_error("a data key does not open: was ENCRYPTION_KEY changed?", log_i("version", version));
            good = false;
            break;
        }
        good = crypto_keyring_add(purpose, version, key);
    }
    PQclear(res);
    if (db->gave_up || PQstatus(db->conn) != CONNECTION_OK)
        lose(db);
    return good;
}

bool
db_unseal(const char *field, const char *value, size_t len, char *out, size_t *out_len)
{
    enum crypto_result result = crypto_unseal_text(out, out_len, field, value, len);
    if (result == CRYPTO_NO_KEY) {   /* sealed under a key that came after our start */
        struct db *db = db_open();
        if (db_connect(db) && db_load_keys(db))
            result = crypto_unseal_text(out, out_len, field, value, len);
        db_close(db);
    }
    if (result != CRYPTO_OK)
        log_error("a sealed value does not open", log_s("field", field));
    return result == CRYPTO_OK;
}
