#include "feed.h"

#include "arena.h"
#include "clock.h"
#include "db.h"
#include "frame.h"
#include "log.h"
#include "metrics.h"
#include "must.h"
#include "table.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SWEEP_MS   1000 /* for what no program announced */
#define SPACING_MS 10   /* between two readings: under load one reading serves many commits, … */
#define QUIET_MS   100  /* … and more of them when nobody listens to anything */
#define RETRY_MS   1000 /* while the database is away */
#define PAGE_ROWS  5000

struct interest {
    struct table_node by_key;
    int               n;
    char              key[40]; /* kind and key */
};

struct batch {
    struct batch   *next;
    struct payload *list;
    int             n;
};

struct feed {
    struct ev_loop *loop;
    ev_async        news;
    void (*deliver)(void *, const struct payload *, int);
    void *arg;

    pthread_t       thread;
    pthread_mutex_t lock; /* of the next three */
    struct table    interests;
    struct batch   *first, **last;
    bool            stopping;
    int             stop_fd;

    /* The thread's own. */
    struct db    *db;
    struct arena *arena;
    char         *seen;      /* the snapshot up to which all is delivered; NULL at the very beginning */
    int64_t       newest;    /* the highest id in it */
    bool          began;
    int           listening; /* process id of the database's end of the connection that LISTENs */
    bool          anew;      /* nothing has been read over this connection yet */
};

/* -- interests ---------------------------------------------------------------------------------- */

static size_t
interest_key(char key[static 40], enum payload_to to, const char *id)
{
    return (size_t)snprintf(key, 40, "%c%.36s", "rua"[to], to == PAYLOAD_TO_ADMINS ? "" : id);
}

void
feed_interest(struct feed *feed, enum payload_to to, const char *id, int change)
{
    char   key[40];
    size_t len = interest_key(key, to, id);

    pthread_mutex_lock(&feed->lock);
    struct table_node *found = table_find(&feed->interests, key, len);
    struct interest   *i = found ? TABLE_OWNER(found, struct interest, by_key) : NULL;
    if (!i) {
        i = must_alloc(sizeof(*i));
        memcpy(i->key, key, len);
        table_add(&feed->interests, &i->by_key, i->key, len);
    }
    i->n += change;
    if (i->n <= 0) {
        table_remove(&feed->interests, &i->by_key);
        free(i);
    }
    pthread_mutex_unlock(&feed->lock);
}

/* LCOV_EXCL_START: at the end nobody is in a room any more; an ask that the end cut short may leave one, by chance */
static void
free_interest(struct table_node *node, void *arg)
{
    (void)arg;
    free(TABLE_OWNER(node, struct interest, by_key));
}
/* LCOV_EXCL_STOP */

static bool
is_wanted(struct feed *feed, enum payload_to to, const char *id)
{
    char   key[40];
    size_t len = interest_key(key, to, id);

    pthread_mutex_lock(&feed->lock);
    bool wanted = table_find(&feed->interests, key, len) != NULL;
    pthread_mutex_unlock(&feed->lock);
    return wanted;
}

/* -- reading ------------------------------------------------------------------------------------ */

#define AS_TEXT(x)  AS_TEXT_(x)
#define AS_TEXT_(x) #x

/* A snapshot, and what is visible in it but was not in $1: by the index on (xid, id), from the oldest
 * transaction on that ran at the time of $1.  One row without an id when there is nothing. */
SQL(news_since,
    "SELECT s.now::text AS now, e.* FROM (SELECT pg_current_snapshot() AS now) s LEFT JOIN LATERAL ("
    "  SELECT id, xid, name, listing_id, user_id FROM events"
    "   WHERE xid >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, $1::pg_snapshot)"
    "   ORDER BY xid, id LIMIT " AS_TEXT(PAGE_ROWS) ") e ON true");

/* The next page of that. */
SQL(more_news,
    "SELECT id, xid, name, listing_id, user_id FROM events"
    " WHERE (xid, id) > ($3::xid8, $4::bigint) AND xid >= pg_snapshot_xmin($1::pg_snapshot)"
    "   AND NOT pg_visible_in_snapshot(xid, $1::pg_snapshot) AND pg_visible_in_snapshot(xid, $2::pg_snapshot)"
    " ORDER BY xid, id LIMIT " AS_TEXT(PAGE_ROWS));

SQL(take_snapshot, "SELECT pg_current_snapshot()::text AS now, (SELECT coalesce(max(id), 0) FROM events) AS id");

/* What the above takes for seen and is not, because a number of a transaction was given twice: a server that died without
 * having written down that a transaction ended gives its number again when it is back, and so does the standby in its
 * place.  (A NOTIFY on its own is such a transaction, for a fifth of a second.)  Ids are not given twice: what is
 * visible has been written down, and the sequence before it.  So what is new after an interruption is new by its number of
 * transaction, or by its id. */
SQL(news_by_id,
    "SELECT id, xid, name, listing_id, user_id FROM events"
    " WHERE id > $3::bigint AND pg_visible_in_snapshot(xid, $1::pg_snapshot) AND pg_visible_in_snapshot(xid, $2::pg_snapshot)");

/* The ids of one kind as the text of an array. */
struct ids {
    char  *text;
    size_t len, room;
};

static void
add_id(struct ids *ids, const char *id)
{
    size_t len = strlen(id);

    if (ids->room - ids->len < len + 3) {
        ids->room = ids->room ? ids->room * 2 + len : 256;
        ids->text = must_resize(ids->text, ids->room);
    }
    ids->text[ids->len] = ids->len ? ',' : '{';
    ids->len++;
    memcpy(ids->text + ids->len, id, len);
    ids->len += len;
}

/* Those of ROWS that somebody waits for, by kind.  The highest id of all, if it is above NEWEST. */
static int64_t
sort_out(struct feed *feed, const struct rows *rows, struct ids ids[PAYLOAD_KINDS], int64_t newest)
{
    for (int i = 0; i < rows->n; i++) {
        const char     *name = rows_text(rows, i, "name"), *user = rows_text(rows, i, "user_id");
        enum payload_to to = payload_to(name, user);
        const char     *key = to == PAYLOAD_TO_USER ? user : rows_text(rows, i, "listing_id");
        int64_t         id = rows_int(rows, i, "id");

        if ((key || to == PAYLOAD_TO_ADMINS) && is_wanted(feed, to, key))
            add_id(&ids[payload_kind(name, user)], rows_text(rows, i, "id"));
        if (id > newest)
            newest = id;
    }
    return newest;
}

/* The ids, by kind, of what was committed since the last snapshot and somebody waits for; the highest of all; and the
 * snapshot of now, in the arena. */
static const char *
read_headers(struct feed *feed, struct ids ids[PAYLOAD_KINDS], int64_t *newest)
{
    const struct rows *rows = feed->seen ? db_run(feed->db, feed->arena, news_since, feed->seen)
                                         : db_run(feed->db, feed->arena, take_snapshot);

    if (!rows)
        return NULL;
    const char *now = rows_text(rows, 0, "now");
    *newest = feed->newest;
    if (!feed->seen) {
        *newest = rows_int(rows, 0, "id");
        return now;
    }
    if (!rows_null(rows, 0, "id"))
        *newest = sort_out(feed, rows, ids, *newest);
    while (rows->n == PAGE_ROWS) {
        rows = db_run(feed->db, feed->arena, more_news, feed->seen, now, rows_text(rows, rows->n - 1, "xid"),
                      rows_text(rows, rows->n - 1, "id"));
        if (!rows)
            return NULL;   /* LCOV_EXCL_LINE: the database went away just between two statements */
        *newest = sort_out(feed, rows, ids, *newest);
    }
    if (feed->anew) {
        rows = db_run(feed->db, feed->arena, news_by_id, feed->seen, now,
                      arena_printf(feed->arena, "%lld", (long long)feed->newest));
        if (!rows)
            return NULL;   /* LCOV_EXCL_LINE: likewise */
        *newest = sort_out(feed, rows, ids, *newest);
    }
    return now;
}

static int
by_id(const void *a, const void *b)
{
    int64_t x = ((const struct payload *)a)->id, y = ((const struct payload *)b)->id;

    return (x > y) - (x < y);
}

static void
hand_over(struct feed *feed, struct payload *list, int n)
{
    struct batch *b = must_alloc(sizeof(*b));

    b->list = list;
    b->n = n;
    pthread_mutex_lock(&feed->lock);
    *feed->last = b;
    feed->last = &b->next;
    pthread_mutex_unlock(&feed->lock);
    ev_async_send(feed->loop, &feed->news);
}

static void
drop(struct payload *list, int n)
{
    for (int i = 0; i < n; i++)
        frame_unref(list[i].frame);
    free(list);
}

/* Reads what is new and hands it over.  false: the database is away, and nothing has happened. */
static bool
read_news(struct feed *feed)
{
    struct ids      ids[PAYLOAD_KINDS] = {0};
    struct payload *list = NULL;
    int             n = 0;
    int64_t         newest = 0;
    const char     *now = read_headers(feed, ids, &newest);
    bool            good = now != NULL;

    for (int kind = 0; kind < PAYLOAD_KINDS; kind++) {
        if (good && ids[kind].len) {
            ids[kind].text[ids[kind].len++] = '}';
            ids[kind].text[ids[kind].len] = '\0';
            good = payload_of_events(feed->db, feed->arena, (enum payload_kind)kind, ids[kind].text, &list,
                                     &n) == 0;
            if (!good && !db_is_transient(db_sqlstate(feed->db))) {
                /* Trying again would fail again, and hold up all that comes after. */
                log_error("events are left out", log_i("kind", kind));
                good = true;
            }
        }
        free(ids[kind].text);
    }
    if (!good) {
        drop(list, n);
        return false;
    }
    free(feed->seen);
    feed->seen = must_resize(NULL, strlen(now) + 1);
    memcpy(feed->seen, now, strlen(now) + 1);
    feed->newest = newest;
    feed->anew = false;
    if (n)
        qsort(list, (size_t)n, sizeof(*list), by_id);
    if (n || !feed->began)
        hand_over(feed, list, n);
    else
        free(list);
    feed->began = true;
    metrics_own_set(METRICS_EVENTS_READ_MS, (int64_t)(ev_time() * 1000));
    return true;
}

/* -- the thread --------------------------------------------------------------------------------- */

/* Whether programs have announced something since the last call. */
static bool
was_woken(PGconn *conn)
{
    PGnotify *n;
    bool      woken = false;

    PQconsumeInput(conn);
    while ((n = PQnotifies(conn))) {
        woken = true;
        PQfreemem(n);
    }
    return woken;
}

/* A connection made anew has forgotten that it was listening. */
static bool
keep_listening(struct feed *feed)
{
    PGconn *conn = db_pgconn(feed->db);

    if (conn && PQstatus(conn) == CONNECTION_OK && PQbackendPID(conn) == feed->listening)
        return true;
    feed->listening = 0;
    if (!db_command(feed->db, "LISTEN selliko_events") || !(conn = db_pgconn(feed->db)))
        return false;
    feed->listening = PQbackendPID(conn);
    feed->anew = true;
    return true;
}

static int64_t
spacing_ms(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    bool quiet = !feed->interests.n;
    pthread_mutex_unlock(&feed->lock);
    return quiet ? QUIET_MS : SPACING_MS;
}

/* Waits until fd is readable (fd < 0: not at all), it is time, or the feed ends. */
static void
wait_for(struct feed *feed, int fd, int64_t ms)
{
    struct pollfd fds[2] = {{.fd = feed->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

    poll(fds, fd < 0 ? 1 : 2, ms < 0 ? 0 : (int)ms);
}

static bool
goes_on(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    bool stopping = feed->stopping;
    pthread_mutex_unlock(&feed->lock);
    return !stopping;
}

static void *
run(void *arg)
{
    struct feed *feed = arg;

    feed->db = db_open();
    feed->arena = arena_new();
    if (!feed->arena)
        abort();   /* LCOV_EXCL_LINE: no memory at the very start */
    while (goes_on(feed)) {
        int64_t begun_us = clock_us();
        arena_reset(feed->arena);
        if (!keep_listening(feed) || !read_news(feed)) {
            wait_for(feed, -1, RETRY_MS);
            continue;
        }
        PGconn *conn = db_pgconn(feed->db);
        /* An announcement may have come in with the answers, and then no byte will tell of it. */
        int64_t sweep_us = begun_us + SWEEP_MS * 1000;
        while (conn && goes_on(feed) && !was_woken(conn) && PQstatus(conn) == CONNECTION_OK &&
               clock_us() < sweep_us)
            wait_for(feed, PQsocket(conn), (sweep_us - clock_us()) / 1000 + 1);
        wait_for(feed, -1, spacing_ms(feed) - (clock_us() - begun_us) / 1000);
    }
    db_close(feed->db);
    arena_free(feed->arena);
    free(feed->seen);
    return NULL;
}

/* -- the loop's side ---------------------------------------------------------------------------- */

static struct batch *
take_batches(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    struct batch *b = feed->first;
    feed->first = NULL;
    feed->last = &feed->first;
    pthread_mutex_unlock(&feed->lock);
    return b;
}

static void
deliver_batches(struct ev_loop *loop, ev_async *w, int revents)
{
    struct feed *feed = w->data;

    (void)loop;
    (void)revents;
    for (struct batch *b = take_batches(feed), *next; b; b = next) {
        next = b->next;
        feed->deliver(feed->arg, b->list, b->n);
        free(b->list);
        free(b);
    }
}

struct feed *
feed_begin(struct ev_loop *loop, void (*deliver)(void *, const struct payload *, int), void *arg)
{
    struct feed *feed = must_alloc(sizeof(*feed));

    feed->loop = loop;
    feed->deliver = deliver;
    feed->arg = arg;
    feed->last = &feed->first;
    feed->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&feed->lock, NULL);
    ev_async_init(&feed->news, deliver_batches);
    feed->news.data = feed;
    ev_async_start(loop, &feed->news);
    if (feed->stop_fd < 0 || pthread_create(&feed->thread, NULL, run, feed) != 0)
        abort();   /* LCOV_EXCL_LINE: no thread at the very start */
    return feed;
}

void
feed_end(struct feed *feed)
{
    uint64_t one = 1;

    pthread_mutex_lock(&feed->lock);
    feed->stopping = true;
    pthread_mutex_unlock(&feed->lock);
    if (write(feed->stop_fd, &one, sizeof(one)) < 0)
        log_warn("the feed's thread was not woken", log_i("errno", errno));   /* LCOV_EXCL_LINE: it is written once */
    pthread_join(feed->thread, NULL);
    ev_async_stop(feed->loop, &feed->news);
    for (struct batch *b = take_batches(feed), *next; b; b = next) {
        /* LCOV_EXCL_START: what was read in the loop's last moment, by chance */
        next = b->next;
        drop(b->list, b->n);
        free(b);
        /* LCOV_EXCL_STOP */
    }
    table_each(&feed->interests, free_interest, NULL);
    table_end(&feed->interests);
    pthread_mutex_destroy(&feed->lock);
    close(feed->stop_fd);
    free(feed);
}
