/* totals -- see totals.h.  A small table, overwritten by hash: a forgotten total is counted again.
 *
 *   nothing kept ──► one counts, who comes meanwhile waits ──► kept ── 1 s ──► one counts, the others take
 *                                                               ▲              the old one ── 2 s ──► wait
 *                                                               └─────────────────┘
 *
 * A count is a flight: it has a number in its slot until it lands.  One that is given up (the database is
 * away, the session has ended) is called off when its request's memory is, so it keeps nobody waiting; and
 * nobody waits longer than WAIT_MS, whatever became of it. */
#include "totals.h"

#include "arena.h"
#include "clock.h"
#include "replica.h"

#include <pthread.h>
#include <time.h>

/* What a replica counts is a little older than the count. PUBLIC_MS: pages for nobody in particular are kept by nginx for up to two seconds themselves. */
enum { SLOTS = 256, KEY_MAX = 200, FRESH_MS = 1000, LIFE_MS = 2000 - REPLICA_OLDEST_MS, PUBLIC_MS = 200, WAIT_MS = 1000 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    uint64_t last_flight;
    struct slot {
        char key[KEY_MAX];
        int64_t total, counted_ms;   /* when the count began: that is how old it is */
        bool has_total;
        uint64_t flight;             /* 0: nobody is counting */
    } slot[SLOTS];
} table = { .lock = PTHREAD_MUTEX_INITIALIZER, .landed = PTHREAD_COND_INITIALIZER };

struct flight {
    struct slot *slot;
    uint64_t number;
    int64_t began_ms;
};

static struct slot *
slot_of(const char *key)
{
    uint32_t h = 2166136261u;   /* FNV-1a */
    for (const char *s = key; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return &table.slot[h % SLOTS];
}

/* Wait for a landing, at most until END_MS, whatever becomes of the time of day meanwhile. */
static void
wait_until(int64_t end_ms)
{
    struct timespec t = { .tv_sec = end_ms / 1000, .tv_nsec = end_ms % 1000 * 1000000 };
    pthread_cond_clockwait(&table.landed, &table.lock, CLOCK_MONOTONIC, &t);   /* clock_ms()'s */
}

/* True: *TOTAL is what was counted.  False: the caller is to count, as flight F. */
static bool
remembered(struct req *r, const char *key, int64_t *total, struct flight *f)
{
    struct slot *s = slot_of(key);
    int64_t fresh_ms = r->user.id != NULL ? FRESH_MS : PUBLIC_MS, life_ms = r->user.id != NULL ? LIFE_MS : PUBLIC_MS;
    pthread_mutex_lock(&table.lock);
    int64_t began = clock_ms(), now = began;
    for (;; now = clock_ms()) {
        bool same = strcmp(s->key, key) == 0;
        int64_t age = same && s->has_total ? now - s->counted_ms : INT64_MAX;
        bool counting = same && s->flight != 0;
        if (age < fresh_ms || (age < life_ms && counting)) {
            *total = s->total;
            pthread_mutex_unlock(&table.lock);
            return true;
        }
        if (!counting || now - began >= WAIT_MS)
            break;
        db_let_go(r);   /* the one who counts may be waiting for the connection that this request holds */
        wait_until(began + WAIT_MS);
    }
    if (strcmp(s->key, key) != 0) {
        snprintf(s->key, sizeof s->key, "%s", key);
        s->has_total = false;
    }
    s->flight = ++table.last_flight;
    *f = (struct flight){ .slot = s, .number = s->flight, .began_ms = now };
    pthread_mutex_unlock(&table.lock);
    return false;
}

static void
land(const struct flight *f, int64_t total)
{
    pthread_mutex_lock(&table.lock);
    if (f->slot->flight == f->number) {   /* else another list has taken the place, or another flight */
        f->slot->total = total;
        f->slot->counted_ms = f->began_ms;
        f->slot->has_total = true;
        f->slot->flight = 0;
        pthread_cond_broadcast(&table.landed);
    }
    pthread_mutex_unlock(&table.lock);
}

/* At the end of a request: its flight, if it has not landed. */
static void
call_off(void *flight)
{
    struct flight *f = flight;
    pthread_mutex_lock(&table.lock);
    if (f->slot->flight == f->number) {
        f->slot->flight = 0;
        pthread_cond_broadcast(&table.landed);
    }
    pthread_mutex_unlock(&table.lock);
}

static int64_t
count_now(struct req *r, struct sql *count, const char *const *param, int n_param)
{
    return rows_int(db_row_(r, count, param, n_param, true), 0, "count");
}

int64_t
totals_count(struct req *r, const char *key, struct sql *count, const char *const *param, int n_param)
{
    int64_t total;
    if (key == NULL || strlen(key) >= KEY_MAX)
        return count_now(r, count, param, n_param);
    struct flight *f = arena_zalloc(r->arena, 1, sizeof *f);
    if (remembered(r, key, &total, f))
        return total;
    arena_own(r->arena, f, call_off);
    total = count_now(r, count, param, n_param);
    land(f, total);
    return total;
}

const char *
totals_part(struct req *r, const char *value)
{
    return value != NULL ? arena_printf(r->arena, "%zu:%s", strlen(value), value) : "-";
}

int64_t
totals_last(const char *key)
{
    struct slot *s = slot_of(key);
    pthread_mutex_lock(&table.lock);
    int64_t total = s->has_total && strcmp(s->key, key) == 0 ? s->total : -1;
    pthread_mutex_unlock(&table.lock);
    return total;
}

int64_t
totals_of(struct req *r, const struct page *page, int n, const char *key,
          struct sql *count, const char *const *param, int n_param)
{
    int64_t before = (page->page - 1) * page->limit;
    if (n < page->limit && (n > 0 || before == 0))
        return before + n;
    int64_t total = totals_count(r, key, count, param, n_param);
    return n > 0 && total < before + n ? before + n : total;   /* it may be older than the page, which it is not to deny */
}
