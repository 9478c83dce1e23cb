/* queue -- see queue.h. */
#include "queue.h"

#include "arena.h"
#include "crypto.h"
#include "db.h"
#include "fault.h"
#include "log.h"

#include <libpq-fe.h>

SQL(hello, "SELECT pg_try_advisory_lock(whatsapp_lock_class(), $1::int) AS held");
SQL(number, "SELECT nextval('whatsapp_workers') AS worker");
SQL(take, "SELECT * FROM take_messages($1, $2, make_interval(secs => $3), $4, $5, make_interval(secs => $6))");
SQL(mark, "SELECT * FROM mark_messages($1, $2, make_interval(secs => $3), $4)");
SQL(move, "UPDATE whatsapp_queue w SET log_at = x.log_at FROM unnest($1::bigint[], $2::bigint[]) AS x(id, log_at)"
          " WHERE w.id = x.id AND w.status = 'sending'");
SQL(sent, "SELECT * FROM finish_sent($1, $2, $3)");
SQL(finish, "SELECT * FROM finish_message($1, $2, $3, $4, $5, $6)");
SQL(recover, "SELECT recover_message($1) AS judged");
SQL(sweep, "SELECT sweep_messages()");

/* Taken, not yet marked: as long as a program may reasonably pause between the two. */
enum { TAKE_LEASE_S = 60 };

/* The API counts from when it hears of a message, which may take longer for the first than for the second. */
static const double PERSON_MARGIN_S = 0.25;

/* Longer than any POST may take, so that nobody judges one that is still under way. */
enum { POST_LEASE_MARGIN_S = 10 };

static struct {
    struct db *db;
    struct arena *arena;
    struct queue_limits limits;
    int pid;             /* of the backend that holds our lock and listens; 0: none does */
    int64_t worker;
    bool woken;
    struct outcome back[2 * QUEUE_BATCH];   /* taken, but never to be posted: to be given back */
    int n_back;
} queue;

void
message_clear(struct message *m)
{
    free(m->body);
    m->body = NULL;
}

void
queue_open(const struct queue_limits *limits)
{
    queue.db = db_open();
    queue.arena = arena_new();
    queue.limits = *limits;
    if (queue.arena == NULL)
        abort();
}

void
queue_close(void)
{
    db_close(queue.db);
    arena_free(queue.arena);
    queue.db = NULL;
    queue.arena = NULL;
}

/* A call of ours.  Its rows live until the next call. */
static const struct rows *
query(struct sql *sql, const char *const *param, int n)
{
    arena_reset(queue.arena);
    return db_query(queue.db, queue.arena, sql, param, n);
}
#define run(sql, ...) query(&(sql), DB_PARAMS_(__VA_ARGS__))

/* Be connected, known by a number and listening.  A connection that was replaced (db_query does that) has
 * a new backend and gets a new number: what was taken under the old one, perhaps without our hearing of
 * it, then belongs to a sender that is gone, and comes back at once. */
static bool
ready(void)
{
    PGconn *conn = db_pgconn(queue.db);
    const struct rows *rows;
    char worker[24];

    if (conn != NULL && PQstatus(conn) == CONNECTION_OK && queue.pid != 0 && PQbackendPID(conn) == queue.pid)
        return true;
    queue.pid = 0;
    if ((rows = run(number)) == NULL)
        return false;
    queue.worker = rows_int(rows, 0, "worker");
    snprintf(worker, sizeof worker, "%lld", (long long)queue.worker);
    if ((rows = run(hello, worker)) == NULL || !rows_bool(rows, 0, "held") || !db_command(queue.db, "LISTEN selliko_whatsapp"))
        return false;
    queue.pid = PQbackendPID(db_pgconn(queue.db));
    queue.woken = true;   /* nobody knows what was missed */
    return true;
}

int
queue_fd(void)
{
    PGconn *conn = db_pgconn(queue.db);

    return conn == NULL || queue.pid == 0 ? -1 : PQsocket(conn);
}

bool
queue_woken(void)
{
    PGconn *conn = db_pgconn(queue.db);
    bool woken = queue.woken;
    PGnotify *note;

    queue.woken = false;
    if (conn == NULL || PQconsumeInput(conn) == 0) {
        queue.pid = 0;
        return woken;
    }
    while ((note = PQnotifies(conn)) != NULL) {
        woken = true;
        PQfreemem(note);
    }
    return woken;
}

/* ---- values for SQL ---- */

/* Parameters must not lie in the arena: query() resets it before it uses them. */
static const char *
p_worker(void)
{
    static char text[24];

    snprintf(text, sizeof text, "%lld", (long long)queue.worker);
    return text;
}

/* Array literals, {1,2,3} and {"a","b",NULL}. */
struct list {
    char *s;
    size_t len, room;
};

static void
list_put(struct list *l, const char *text, bool quoted)
{
    size_t need = l->len + 2 * strlen(text) + 8;

    if (need > l->room) {
        l->room = need * 2;
        if ((l->s = realloc(l->s, l->room)) == NULL)
            abort();
    }
    l->s[l->len] = l->len == 0 ? '{' : ',';
    l->len++;
    if (quoted)
        l->s[l->len++] = '"';
    for (; *text != '\0'; text++) {
        if (quoted && (*text == '"' || *text == '\\'))
            l->s[l->len++] = '\\';
        l->s[l->len++] = *text;
    }
    if (quoted)
        l->s[l->len++] = '"';
    l->s[l->len] = '}';       /* closed at any time: the next member overwrites it */
    l->s[l->len + 1] = '\0';
}

static void
list_int(struct list *l, int64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)n);
    list_put(l, text, false);
}

static void
list_free(struct list *l)
{
    free(l->s);
}
#define LIST __attribute__((cleanup(list_free))) struct list

/* ---- taking ---- */

/* Nobody knows whether M is marked, but it will not be posted: it is given back under either attempt, of
 * which one is the row's. */
static void
give_back(const struct message *m)
{
    for (int i = 0; i < 2; i++)
        queue.back[queue.n_back++] = (struct outcome){ .id = m->id, .attempt = m->attempt + i, .answer.outcome = WHATSAPP_RETRY };
}

static bool
given_back(void)
{
    for (; queue.n_back > 0; queue.n_back--)
        if (!queue_finish(&queue.back[queue.n_back - 1]))
            return false;
    return true;
}

/* A sealed value in the arena; NULL with *WHY when it does not open. */
static const char *
unseal(const char *field, const char *value, const char **why)
{
    size_t len = strlen(value);
    char *plain = arena_alloc(queue.arena, len + 1);
    enum crypto_result result = crypto_unseal_text(plain, &len, field, value, len);

    if (result == CRYPTO_NO_KEY && db_load_keys(queue.db)) {   /* sealed under a key that came after our start */
        len = strlen(value);
        result = crypto_unseal_text(plain, &len, field, value, len);
    }
    if (result == CRYPTO_OK)
        return plain;
    *why = result == CRYPTO_NO_KEY ? "the key of a sealed value is not in the keyring" : "a sealed value is damaged";
    log_error("a sealed value does not open", log_s("field", field));
    return NULL;
}

/* The body of row I; NULL with *WHY when there is none. */
static const char *
build(const struct rows *rows, int i, size_t *len, const char **why)
{
    const char *param[WHATSAPP_PARAMS_MAX], *phone, *body;
    const char *name = rows_text(rows, i, "template"), *agent = rows_text(rows, i, "agent_phone");
    int n = whatsapp_params(queue.arena, rows_text(rows, i, "params"), param);

    *why = "its parameters are not texts";
    if (n < 0)
        return NULL;
    if (!rows_null(rows, i, "recipient"))
        phone = unseal("whatsapp_queue.recipient", rows_text(rows, i, "recipient"), why);
    else if (!rows_null(rows, i, "user_phone"))
        phone = unseal("users.phone", rows_text(rows, i, "user_phone"), why);
    else
        phone = NULL;
    if (phone == NULL)
        return NULL;
    if (strcmp(name, "otp_verification") == 0) {
        if (rows_null(rows, i, "secret") || (param[0] = unseal("whatsapp_queue.secret", rows_text(rows, i, "secret"), why)) == NULL)
            return NULL;
        n = 1;
    } else if (strcmp(name, "order_status") == 0 && n == 2) {
        if (agent == NULL)
            param[n++] = "not assigned yet";
        else if ((param[n++] = unseal("users.phone", agent, why)) == NULL)
            return NULL;
    }
    body = whatsapp_body(queue.arena, phone, name, param, (size_t)n, queue.limits.otp_button, len);
    *why = "the recipient is no phone number";
    return body;
}

int
queue_take(struct message *out, int n, int *wait_ms)
{
    struct outcome bad[QUEUE_BATCH];
    const struct rows *rows;
    int taken = 0, n_bad = 0;
    char limit[16], lease[16], rate[16], person[16];

    *wait_ms = -1;
    if (!ready() || !given_back())
        return -1;
    if (n > QUEUE_BATCH)
        n = QUEUE_BATCH;
    snprintf(limit, sizeof limit, "%d", n);
    snprintf(lease, sizeof lease, "%d", TAKE_LEASE_S);
    snprintf(rate, sizeof rate, "%d", queue.limits.rate_per_s);
    snprintf(person, sizeof person, "%.2f", queue.limits.person_s > 0 ? queue.limits.person_s + PERSON_MARGIN_S : 0);
    rows = run(take, p_worker(), limit, lease, queue.limits.live ? "t" : "f", rate, person);
    if (rows == NULL)
        return -1;
    FAULT("taken");
    for (int i = 0; i < rows->n; i++) {
        struct message *m = &out[taken];
        const char *body, *why = "";
        size_t len = 0;

        if (rows_null(rows, i, "id")) {
            *wait_ms = (int)rows_int(rows, i, "wait_ms");
            continue;
        }
        *m = (struct message){ .id = rows_int(rows, i, "id"), .attempt = (int)rows_int(rows, i, "attempts"), .ms_left = -1,
                               .log_at = rows_null(rows, i, "log_at") ? -1 : rows_int(rows, i, "log_at") };
        snprintf(m->template_name, sizeof m->template_name, "%s", rows_text(rows, i, "template"));
        if (!rows_bool(rows, i, "wanted")) {
            why = "the person wants no messages";
            body = NULL;
        } else {
            body = build(rows, i, &len, &why);
        }
        if (body != NULL) {
            if ((m->body = malloc(len + 2)) == NULL)
                abort();
            memcpy(m->body, body, len + 1);
            m->len = len;
            taken++;
        } else {
            struct outcome *o = &bad[n_bad++];

            *o = (struct outcome){ .id = m->id, .attempt = m->attempt, .answer.outcome = WHATSAPP_FAILED };
            snprintf(o->answer.error, sizeof o->answer.error, "%s", why);
        }
    }
    for (int i = 0; i < n_bad; i++)   /* what cannot be recorded now comes back with the lease's end */
        (void)queue_finish(&bad[i]);
    return taken;
}

bool
queue_mark(struct message *m, int *n)
{
    LIST ids = { 0 };
    LIST places = { 0 };
    char lease[16];
    const struct rows *rows;
    int kept = 0;

    for (int i = 0; i < *n; i++) {
        list_int(&ids, m[i].id);
        if (m[i].log_at < 0)
            list_put(&places, "NULL", false);
        else
            list_int(&places, m[i].log_at);
    }
    snprintf(lease, sizeof lease, "%d", queue.limits.post_s + POST_LEASE_MARGIN_S);
    rows = run(mark, p_worker(), ids.s, lease, places.s);
    if (rows == NULL) {
        for (int i = 0; i < *n; i++)
            give_back(&m[i]);
        return false;
    }
    for (int i = 0; i < *n; i++) {
        int at = 0;

        while (at < rows->n && rows_int(rows, at, "id") != m[i].id)
            at++;
        if (at == rows->n) {   /* expired, or no longer ours */
            message_clear(&m[i]);
            continue;
        }
        m[i].attempt = (int)rows_int(rows, at, "attempt");
        m[i].ms_left = rows_null(rows, at, "ms_left") ? -1 : (int)rows_int(rows, at, "ms_left");
        m[kept++] = m[i];
    }
    *n = kept;
    FAULT("marked");
    return true;
}

bool
queue_move(const struct message *m, int n)
{
    LIST ids = { 0 };
    LIST places = { 0 };

    for (int i = 0; i < n; i++) {
        list_int(&ids, m[i].id);
        list_int(&places, m[i].log_at);
    }
    return n == 0 || run(move, ids.s, places.s) != NULL;
}

/* ---- recording ---- */

bool
queue_sent(const struct outcome *o, int n)
{
    LIST ids = { 0 };
    LIST attempts = { 0 };
    LIST names = { 0 };
    const struct rows *rows;

    if (n == 0)
        return true;
    if (!ready())
        return false;
    for (int i = 0; i < n; i++) {
        list_int(&ids, o[i].id);
        list_int(&attempts, o[i].attempt);
        if (o[i].answer.message_id[0] == '\0')
            list_put(&names, "NULL", false);
        else
            list_put(&names, o[i].answer.message_id, true);
    }
    if ((rows = run(sent, ids.s, attempts.s, names.s)) == NULL)
        return false;
    if (rows_bool(rows, 0, "resumed")) {
        log_info("the queue goes on");
        queue.woken = true;
        db_wake(queue.db, "selliko_events");
    }
    FAULT("recorded");
    return true;
}

bool
queue_finish(const struct outcome *o)
{
    const struct rows *rows;
    char id[24], attempt[16], code[16], delay[32];

    if (!ready())
        return false;
    snprintf(id, sizeof id, "%lld", (long long)o->id);
    snprintf(attempt, sizeof attempt, "%d", o->attempt);
    snprintf(code, sizeof code, "%d", o->answer.code);
    snprintf(delay, sizeof delay, "%.3f", o->delay_s);
    /* Code 0 is the Graph API's only where it stops the queue; elsewhere it means that there was none. */
    rows = run(finish, id, attempt, whatsapp_outcome_name(o->answer.outcome),
               o->answer.code == 0 && o->answer.outcome != WHATSAPP_STOP ? NULL : code,
               o->answer.error[0] == '\0' ? NULL : o->answer.error, delay);
    if (rows == NULL)
        return false;
    if (rows->n > 0 && rows_bool(rows, 0, "alerted")) {
        log_error("WhatsApp needs an administrator", log_i("code", o->answer.code), log_s("reason", o->answer.error));
        db_wake(queue.db, "selliko_events");
    }
    FAULT("recorded");
    return true;
}

void
queue_recover(void)
{
    const struct rows *rows;

    while (ready() && (rows = run(recover, p_worker())) != NULL && !rows_null(rows, 0, "judged")) {
        log_warn("a message was left behind by a sender that ended", log_s("judged", rows_text(rows, 0, "judged")));
        queue.woken = true;
    }
}

void
queue_sweep(void)
{
    if (ready())
        (void)run(sweep);
}
