/* batch -- see batch.h.
 *
 *   waiting ──► [ a b c d ] ──taken by its leader──► place_bids() ──► rows to a, b, c, d
 *                 ▲                                      │
 *                 └── e f arrive meanwhile ──────────────┴──► the leader makes e the next leader
 *
 * How many go together: a bid that finds no batch under way goes at once, alone if need be.  Beside one that
 * is under way another begins when as many wait as travel in it, so that all connections have as much
 * to do; smaller ones would cost more each, and one big one would leave the others idle.  The first that
 * waits does not wait for company longer than PATIENCE_US: the batch under way may be waiting for a lock.
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
#include "crypto.h"
#include "log.h"
#include "req_inside.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_LATER_MS 25

/* A batch's answer, shared by its bids; the last one to end its request frees it. */
struct outcome {
    struct arena *arena;
    const struct rows *rows;
    atomic_int users;
};

enum { PATIENCE_US = 2000, NEWS_SPACING_US = 5000, IDS = 3 /* a bid: see place_bids() */ };

enum { WAITS, LEADS, DONE };

struct waiting {
    struct waiting *next;
    struct req *r;
    struct batch_bid *b;
    char id[IDS][CRYPTO_UUID_SIZE];
    sem_t turn;              /* a semaphore, because who is woken needs no lock then */
    int posts;               /* to it; all are to be received before it may be destroyed */
    atomic_int state;
    struct outcome *outcome;
    char sqlstate[6];        /* when there is no outcome */
};

static struct {
    pthread_mutex_t lock;
    struct waiting *first, **last;
    int n_waiting;
    int under_way, max;      /* batches */
    int travelling;          /* bids in them */
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
    "                  $8::auction_rules, $9, $10, $11::uuid[])");

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
        if (news)
            usleep(NEWS_SPACING_US);   /* the first is told at once, what follows closely together */
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
        abort();   /* LCOV_EXCL_LINE: no thread at the very start */
}

/* ---- the arrays ---- */

enum member { M_SESSION, M_VENDOR, M_LISTING, M_AMOUNT, M_KEY, M_HASH, M_REQUEST, N_MEMBERS };
enum { N_PARAMS = N_MEMBERS + 4 };

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
    case N_MEMBERS: break;   /* LCOV_EXCL_LINE: no member, for the compiler */
    }
    abort();   /* LCOV_EXCL_LINE: not reached */
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

/* The ids of what comes of N bids, if they are accepted. */
static const char *
ids_of(struct arena *a, struct waiting *const *w, int n)
{
    size_t len = 0;
    char *text = arena_alloc(a, (size_t)n * IDS * CRYPTO_UUID_SIZE + 3);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < IDS; k++) {
            text[len] = len == 0 ? '{' : ',';
            len++;
            memcpy(text + len, w[i]->id[k], CRYPTO_UUID_SIZE - 1);
            len += CRYPTO_UUID_SIZE - 1;
        }
    }
    memcpy(text + len, "}", 2);
    return text;
}

/* ---- one batch ---- */

static void
outcome_drop(void *what)
{
    struct outcome *o = what;
    if (--o->users == 0) {
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
    const char *param[N_PARAMS];

    memcpy(sqlstate, "53200", 6);   /* what it is when we come back: db sends nothing before it has all its memory */
    if (setjmp(out) != 0)
        return NULL;
    arena_on_oom(a, no_memory, &out);
    for (int m = 0; m < N_MEMBERS; m++)
        param[m] = array_of(a, w, n, (enum member)m);
    param[N_MEMBERS] = queue.rules;
    param[N_MEMBERS + 1] = queue.rate_max;
    param[N_MEMBERS + 2] = queue.rate_window;
    param[N_MEMBERS + 3] = ids_of(a, w, n);
    const struct rows *rows = db_query(db, a, &place, param, N_PARAMS);
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
    if (rows != NULL)
        log_error("a batch of bids has another number of answers", log_i("bids", n), log_i("rows", rows->n));
    arena_free(a);
    free(o);
    bool rolled_back = rows == NULL && strncmp(sqlstate, "08", 2) != 0 && strcmp(sqlstate, "57014") != 0;
    if (n > 1 && rolled_back) {
        log_warn("a batch of bids failed, they are tried singly", log_i("bids", n), log_s("sqlstate", sqlstate));
        for (int i = 0; i < n; i++)
            place_all(db, &w[i], 1);
        return;
    }
    for (int i = 0; i < n; i++)
        memcpy(w[i]->sqlstate, sqlstate, sizeof w[i]->sqlstate);
}

/* Take from the queue what shall go together: a fair share of all bids in hand. */
static int
take(struct waiting **w)
{
    int share = (queue.n_waiting + queue.travelling + queue.max - 1) / queue.max, n = 0;
    while (n < BATCH_MAX && n < share && queue.first != NULL) {
        w[n++] = queue.first;
        queue.first = queue.first->next;
    }
    if (queue.first == NULL)
        queue.last = &queue.first;
    queue.n_waiting -= n;
    queue.travelling += n;
    return n;
}

/* W has waited enough, or (WAITS) is to look how long it still will.  Nothing of W is touched after the post. */
static void
wake(struct waiting *w, int state)
{
    w->posts++;
    w->state = state;
    sem_post(&w->turn);
}

/* Make the first that waits a leader. */
static void
appoint(void)
{
    queue.under_way++;
    wake(queue.first, LEADS);
}

/* Something changed: see whether another batch may begin.  If not yet, the first that waits may have
 * become so just now, and is to count its patience from here. */
static void
consider(void)
{
    if (queue.first == NULL || queue.first->state == LEADS || queue.under_way == queue.max)
        return;
    if (queue.n_waiting * queue.under_way >= queue.travelling)
        appoint();
    else
        wake(queue.first, WAITS);
}

/* Lead a batch, in which the caller's bid is the first. */
static void
lead(void)
{
    struct waiting *w[BATCH_MAX];
    pthread_mutex_lock(&queue.lock);
    int n = take(w);
    consider();
    pthread_mutex_unlock(&queue.lock);

    struct db *db = db_pool_get();
    place_all(db, w, n);
    db_pool_put(db);

    pthread_mutex_lock(&queue.lock);
    queue.under_way--;
    queue.travelling -= n;
    consider();
    queue.has_news = true;
    pthread_cond_signal(&queue.news);
    pthread_mutex_unlock(&queue.lock);
    for (int i = 1; i < n; i++)   /* the first is the caller */
        wake(w[i], DONE);
}

/* Until ME leads or is done. */
static void
wait_for_turn(struct waiting *me)
{
    struct timespec until;
    bool counts = false;   /* its patience */
    for (int received = 0;;) {
        bool woken = (counts ? sem_clockwait(&me->turn, CLOCK_MONOTONIC, &until) : sem_wait(&me->turn)) == 0;
        received += woken;
        if (me->state != WAITS) {
            counts = false;
            if (received == me->posts)
                return;
        } else if (woken) {
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_nsec += PATIENCE_US * 1000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            counts = true;
        } else if (counts && errno == ETIMEDOUT) {
            counts = false;
            pthread_mutex_lock(&queue.lock);
            if (me == queue.first && me->state == WAITS && queue.under_way < queue.max)
                appoint();
            pthread_mutex_unlock(&queue.lock);
        }
    }
}

static void
wait_for_row(struct waiting *me)
{
    pthread_mutex_lock(&queue.lock);
    *queue.last = me;
    queue.last = &me->next;
    queue.n_waiting++;
    if (queue.first == me || queue.n_waiting * queue.under_way >= queue.travelling)
        consider();
    pthread_mutex_unlock(&queue.lock);
    wait_for_turn(me);
    if (me->state == LEADS)
        lead();
}

void
batch_place(struct req *r, struct batch_bid *b)
{
    for (;;) {
        struct waiting me = { .r = r, .b = b };
        if (sem_init(&me.turn, 0, 0) != 0)
            abort();   /* LCOV_EXCL_LINE: only a wrong argument does that */
        for (int k = 0; k < IDS; k++)
            crypto_uuid7(me.id[k]);
        wait_for_row(&me);
        sem_destroy(&me.turn);
        if (me.outcome == NULL && db_is_transient(me.sqlstate))
            give_up(r, ERR_UNAVAILABLE);
        if (me.outcome == NULL) {   /* what failed was logged for the batch, under the request that led it */
            log_error("a bid failed for good", log_s("sqlstate", me.sqlstate));
            give_up(r, ERR_INTERNAL);
        }
        arena_own(r->arena, me.outcome, outcome_drop);
        r->inside->checked = true;   /* place_bids judged session and role */
        /* A bid of the same batch has the same idempotency key: its answer is there next time. */
        if (strcmp(rows_text(b->rows, b->row, "_code"), "again") != 0)
            return;
    }
}
