/* batch -- see batch.h.
 *
 *   waiting ──► [ a b c d ] ──taken by its leader──► place_bids() ──► rows to a, b, c, d
 *                 ▲                                      │
 *                 └── e f arrive meanwhile ──────────────┴──► the leader makes e the next leader
 *
 * A lost connection leaves it open whether a batch was committed, so its bids are given up, not tried
 * again: a second try could tell a vendor that his own bid topped him.  An error that the server reports
 * has rolled everything back, and then each bid is tried singly, so that one bad apple costs the
 * others nothing; not when it took too long, for each would.
 *
 * No memory gives a batch up before it is sent, or, when it shows afterwards (in the answer), as a lost
 * connection does. */
#include "batch.h"

#include "config.h"
#include "log.h"
#include "req_inside.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <time.h>

#define MESSAGES_LATER_MS 25

/* A batch's answer, shared by its bids; the last one to end its request frees it. */
struct outcome {
    struct arena *arena;
    const struct rows *rows;
    int users;               /* under the lock below */
};

struct waiting {
    struct waiting *next;
    struct req *r;
    struct batch_bid *b;
    pthread_cond_t turn;
    bool done, leads;
    struct outcome *outcome;
    char sqlstate[6];        /* when there is no outcome */
};

static struct {
    pthread_mutex_t lock;
    struct waiting *first, **last;
    int under_way, max;
    const char *rules, *rate_max, *rate_window;
    /* the wake-ups of committed batches, sent by a thread of their own: many batches, one NOTIFY */
    pthread_cond_t news;
    bool has_news;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER };

SQL(place,
    "SELECT bid_id AS id, listing_id AS \"listingId\", vendor_id AS \"vendorId\", amount AS \"amount:rupees\","
    "       is_instant_win AS \"isInstantWin\", is_winning AS \"isWinning\", placed_at AS \"timestamp\","
    "       code AS _code, order_id AS _order_id, minimum_bid AS _minimum_bid, hits AS _hits, reset_s AS _reset_s,"
    "       request_id AS _request_id, stored_status AS _stored_status, vendor_id || stored::text AS _stored"
    "  FROM place_bids($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::bytea[], $7::text[],"
    "                  $8::auction_rules, $9, $10)");

static bool
is_past(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec != t->tv_sec ? now.tv_sec > t->tv_sec : now.tv_nsec >= t->tv_nsec;
}

static struct timespec
messages_due(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += MESSAGES_LATER_MS * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* The room of a listing hears of a bid in a few milliseconds, a message may take a second: the sender is
 * woken when the gateway is done, not to compete with it. */
static void *
announce(void *unused)
{
    (void)unused;
    struct db *db = db_open();
    struct timespec due;
    for (bool messages = false;;) {
        pthread_mutex_lock(&queue.lock);
        for (int waited = 0; !queue.has_news && waited != ETIMEDOUT;)
            waited = messages ? pthread_cond_clockwait(&queue.news, &queue.lock, CLOCK_MONOTONIC, &due)
                              : pthread_cond_wait(&queue.news, &queue.lock);
        bool news = queue.has_news;
        queue.has_news = false;
        pthread_mutex_unlock(&queue.lock);
        if (news)
            db_wake(db, "selliko_events");
        if (messages && is_past(&due)) {
            db_wake(db, "selliko_whatsapp");
            messages = false;
        } else if (news && !messages) {
            due = messages_due();
            messages = true;
        }
    }
    return NULL;
}

void
batch_init(int batches)
{
    const struct config *c = config();
    const struct config_limit *limit = config_limit("bids");
    static char rules[128], rate_max[16], rate_window[16];
    snprintf(rules, sizeof rules, "(%lld,%d minutes,%s,%s)", (long long)c->bid_min_increment_paise,
             c->auction_extend_min, c->platform_fee_percent, c->agent_commission_percent);
    snprintf(rate_max, sizeof rate_max, "%d", limit != NULL ? limit->max : 0);
    snprintf(rate_window, sizeof rate_window, "%d", limit != NULL ? limit->window_s : 0);
    queue.last = &queue.first;
    queue.max = batches;
    queue.rules = rules;
    queue.rate_max = rate_max;
    queue.rate_window = rate_window;
    pthread_t thread;
    if (pthread_create(&thread, NULL, announce, NULL) != 0 || pthread_detach(thread) != 0)
        abort();
}

/* ---- the arrays ---- */

enum member { M_SESSION, M_VENDOR, M_LISTING, M_AMOUNT, M_KEY, M_HASH, M_REQUEST, N_MEMBERS };

static const char *
member(struct arena *a, const struct waiting *w, enum member m)
{
    switch (m) {
    case M_SESSION: return w->r->user.session_id;
    case M_VENDOR: return w->r->user.id;
    case M_LISTING: return w->b->listing;
    case M_AMOUNT: return arena_printf(a, "%lld", (long long)w->b->paise);
    case M_KEY: return w->r->idempotency_key;
    case M_HASH: return w->b->body_hash;
    case M_REQUEST: return w->r->idempotency_key != NULL ? w->r->id : NULL;
    case N_MEMBERS: break;
    }
    abort();
}

/* One member of all N bids as the text of an array: {"a","b",NULL}. */
static const char *
array_of(struct arena *a, struct waiting *const *w, int n, enum member m)
{
    const char *value[BATCH_MAX];
    size_t cap = 3;
    for (int i = 0; i < n; i++) {
        value[i] = member(a, w[i], m);
        cap += value[i] != NULL ? 2 * strlen(value[i]) + 3 : 5;
    }
    char *text = arena_alloc(a, cap), *p = text;
    *p++ = '{';
    for (int i = 0; i < n; i++) {
        if (i > 0)
            *p++ = ',';
        if (value[i] == NULL) {
            memcpy(p, "NULL", 4);
            p += 4;
            continue;
        }
        *p++ = '"';
        for (const char *s = value[i]; *s != '\0'; s++) {
            if (*s == '"' || *s == '\\')
                *p++ = '\\';
            *p++ = *s;
        }
        *p++ = '"';
    }
    *p++ = '}';
    *p = '\0';
    return text;
}

/* ---- one batch ---- */

static void
outcome_drop(void *what)
{
    struct outcome *o = what;
    pthread_mutex_lock(&queue.lock);
    bool last = --o->users == 0;
    pthread_mutex_unlock(&queue.lock);
    if (last) {
        arena_free(o->arena);
        free(o);
    }
}

static void
no_memory(void *out)
{
    longjmp(*(jmp_buf *)out, 1);
}

/* The rows of the N bids at W, in A.  NULL: none was placed, or nobody knows; SQLSTATE tells which. */
static const struct rows *
place_rows(struct db *db, struct arena *a, struct waiting *const *w, int n, char sqlstate[6])
{
    jmp_buf out;
    const char *param[N_MEMBERS + 3];

    memcpy(sqlstate, "53200", 6);   /* what it is when we come back: db sends nothing before it has all its memory */
    if (setjmp(out) != 0)
        return NULL;
    arena_on_oom(a, no_memory, &out);
    for (int m = 0; m < N_MEMBERS; m++)
        param[m] = array_of(a, w, n, (enum member)m);
    param[N_MEMBERS] = queue.rules;
    param[N_MEMBERS + 1] = queue.rate_max;
    param[N_MEMBERS + 2] = queue.rate_window;
    const struct rows *rows = db_query(db, a, &place, param, N_MEMBERS + 3);
    memcpy(sqlstate, db_sqlstate(db), 6);
    arena_on_oom(a, NULL, NULL);
    return rows;
}

static void
place_all(struct db *db, struct waiting *const *w, int n)
{
    char sqlstate[6] = "53200";
    struct outcome *o = calloc(1, sizeof *o);
    struct arena *a = o != NULL ? arena_new() : NULL;
    const struct rows *rows = a != NULL ? place_rows(db, a, w, n, sqlstate) : NULL;
    if (rows != NULL && rows->n == n) {
        *o = (struct outcome){ .arena = a, .users = n, .rows = rows };
        for (int i = 0; i < n; i++) {
            w[i]->outcome = o;
            w[i]->b->rows = rows;
            w[i]->b->row = i;
        }
        return;
    }
    arena_free(a);
    free(o);
    bool rolled_back = strncmp(sqlstate, "08", 2) != 0 && strcmp(sqlstate, "57014") != 0;
    if (n > 1 && rolled_back) {
        log_warn("a batch of bids failed, they are tried singly", log_i("bids", n), log_s("sqlstate", sqlstate));
        for (int i = 0; i < n; i++)
            place_all(db, &w[i], 1);
        return;
    }
    for (int i = 0; i < n; i++)
        memcpy(w[i]->sqlstate, sqlstate, sizeof w[i]->sqlstate);
}

/* Lead batches until ME is done, then pass the lead on.  Called and left with the lock held. */
static void
lead(struct waiting *me)
{
    while (!me->done) {
        struct waiting *w[BATCH_MAX];
        int n = 0;
        while (n < BATCH_MAX && queue.first != NULL) {
            w[n++] = queue.first;
            queue.first = queue.first->next;
        }
        if (queue.first == NULL)
            queue.last = &queue.first;
        pthread_mutex_unlock(&queue.lock);

        struct db *db = db_pool_get();
        place_all(db, w, n);
        db_pool_put(db);

        pthread_mutex_lock(&queue.lock);
        for (int i = 0; i < n; i++) {
            w[i]->done = true;
            if (w[i] != me)
                pthread_cond_signal(&w[i]->turn);
        }
        queue.has_news = true;
        pthread_cond_signal(&queue.news);
    }
    if (queue.first != NULL) {
        queue.first->leads = true;
        pthread_cond_signal(&queue.first->turn);
    } else {
        queue.under_way--;
    }
}

static void
wait_for_row(struct waiting *me)
{
    pthread_mutex_lock(&queue.lock);
    *queue.last = me;
    queue.last = &me->next;
    if (queue.under_way < queue.max) {
        queue.under_way++;
        me->leads = true;
    }
    while (!me->done && !me->leads)
        pthread_cond_wait(&me->turn, &queue.lock);
    if (me->leads)
        lead(me);
    pthread_mutex_unlock(&queue.lock);
}

void
batch_place(struct req *r, struct batch_bid *b)
{
    for (;;) {
        struct waiting me = { .r = r, .b = b, .turn = PTHREAD_COND_INITIALIZER };
        wait_for_row(&me);
        pthread_cond_destroy(&me.turn);
        if (me.outcome == NULL)
            give_up(r, db_is_transient(me.sqlstate) ? ERR_UNAVAILABLE : ERR_INTERNAL);
        arena_own(r->arena, me.outcome, outcome_drop);
        r->inside->checked = true;   /* place_bids judged session and role */
        /* A bid of the same batch has the same idempotency key: its answer is there next time. */
        if (strcmp(rows_text(b->rows, b->row, "_code"), "again") != 0)
            return;
    }
}
