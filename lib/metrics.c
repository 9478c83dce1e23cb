#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUTES_MAX 512
#define STATUSES_MAX 24
#define TEXT_WORDS 24   /* of a route's text, program NUL route NUL method NUL */
#define TEXT_BYTES (TEXT_WORDS * sizeof(uint64_t))

static const uint64_t bucket_us[] = METRICS_BUCKETS_US;
#define N_BUCKETS (sizeof bucket_us / sizeof bucket_us[0])

/* A place is taken by writing its id over zero.  The text is then written by
 * everyone who looks the route up, the same bytes each time, so it gets there even if the one who took
 * the place dies at once; it counts as there when it hashes to the id. */
struct metrics_route {
    _Alignas(64) _Atomic uint64_t id;
    _Atomic uint64_t text[TEXT_WORDS];
    _Atomic uint64_t bucket[N_BUCKETS + 1];   /* not cumulative; the last one is for the rest */
    _Atomic uint64_t sum_ns;
    struct {
        _Atomic uint64_t code;                /* 0: free */
        _Atomic uint64_t n;
    } status[STATUSES_MAX];
};

struct shared {
    uint64_t layout;
    _Atomic uint64_t counter[METRICS_N_COUNTERS];
    struct metrics_route route[ROUTES_MAX];
};

static struct shared private_memory;   /* before metrics_open, and where it fails; untouched pages cost nothing */
static struct metrics_route not_rendered;
static struct shared *all = &private_memory;

#define TEXTS(id, name, help) { name, help },
static const struct { const char *name, *help; } counters[] = { METRICS_COUNTERS(TEXTS) }, gauges[] = { METRICS_GAUGES(TEXTS) };

/* FNV-1a. */
static uint64_t
hash(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}
#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)

/* What a file must say so that its numbers mean what ours mean. */
static uint64_t
layout(void)
{
    uint64_t h = hash(HASH_BEGIN, bucket_us, sizeof bucket_us);
    uint64_t size = sizeof(struct shared);

    for (size_t i = 0; i < METRICS_N_COUNTERS; i++)
        h = hash(h, counters[i].name, strlen(counters[i].name) + 1);
    return hash(h, &size, sizeof size);
}

/* Make FD, just created, a file of zeros.  Its blocks are claimed now: on a full disk a hole would kill
 * the process that first writes into it. */
static bool
fill(int fd)
{
    uint64_t mark = layout();

    errno = posix_fallocate(fd, 0, sizeof(struct shared));
    return errno == 0 && pwrite(fd, &mark, sizeof mark, 0) == sizeof mark;
}

/* The locked, ready file at PATH; -1 when it cannot be had.  A file of another version is replaced:
 * programs that still have it mapped go on counting into it, unseen. */
static int
open_file(const char *path)
{
    for (int attempt = 0; attempt < 10; attempt++) {
        struct stat mine, there;
        uint64_t mark;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX) != 0 || fstat(fd, &mine) != 0) {
            close(fd);
            return -1;
        }
        bool current = stat(path, &there) == 0 && there.st_ino == mine.st_ino && there.st_dev == mine.st_dev;
        if (current && mine.st_size == sizeof(struct shared) && pread(fd, &mark, sizeof mark, 0) == sizeof mark && mark == layout())
            return fd;
        if (current && mine.st_size == 0) {
            if (fill(fd))
                return fd;
            int why = errno;
            unlink(path);
            close(fd);
            errno = why;
            return -1;
        }
        if (current)
            unlink(path);
        close(fd);
    }
    errno = EAGAIN;
    return -1;
}

bool
metrics_open(const char *state_dir)
{
    char path[4096];

    if ((size_t)snprintf(path, sizeof path, "%s/run/metrics.shm", state_dir) >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = open_file(path);
    if (fd < 0)
        return false;
    void *map = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int why = errno;
    flock(fd, LOCK_UN);   /* closing would not do: the mapping keeps the open file, and so the lock */
    close(fd);
    errno = why;
    if (map == MAP_FAILED)
        return false;
    all = map;
    return true;
}

void
metrics_add(enum metrics_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&all->counter[counter], n, memory_order_relaxed);
}

struct metrics_route *
metrics_route(const char *program, const char *route, const char *method)
{
    uint64_t text[TEXT_WORDS] = { 0 };

    int n = snprintf((char *)text, sizeof text, "%s%c%s%c%s", program, '\0', route, '\0', method);
    if (n < 0 || (size_t)n >= sizeof text)
        return &not_rendered;
    uint64_t id = hash(HASH_BEGIN, text, sizeof text);
    id += id == 0;
    for (size_t i = 0; i < ROUTES_MAX; i++) {
        struct metrics_route *r = &all->route[(id + i) % ROUTES_MAX];
        uint64_t taken = 0;
        if (!atomic_compare_exchange_strong(&r->id, &taken, id) && taken != id)
            continue;
        for (size_t w = 0; w < TEXT_WORDS; w++)
            atomic_store_explicit(&r->text[w], text[w], memory_order_relaxed);
        return r;
    }
    return &not_rendered;
}

void
metrics_request(struct metrics_route *r, int status, uint64_t duration_ns)
{
    uint64_t code = (uint64_t)status;
    size_t b = 0;

    while (b < N_BUCKETS && duration_ns > bucket_us[b] * 1000)
        b++;
    atomic_fetch_add_explicit(&r->bucket[b], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->sum_ns, duration_ns, memory_order_relaxed);
    for (size_t i = 0; i < STATUSES_MAX; i++) {
        uint64_t taken = atomic_load_explicit(&r->status[i].code, memory_order_relaxed);
        if (taken == 0 && atomic_compare_exchange_strong(&r->status[i].code, &taken, code))
            taken = code;
        if (taken == code) {
            atomic_fetch_add_explicit(&r->status[i].n, 1, memory_order_relaxed);
            return;
        }
    }
}

/* ---- rendering ---- */

struct out {
    metrics_write_fn *write;
    void *ctx;
};

static void put(const struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
put(const struct out *o, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0)
        o->write(o->ctx, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void
put_head(const struct out *o, const char *name, const char *type, const char *help)
{
    put(o, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* The labels program, route and method of R into LABELS; false when its text is not (yet) there. */
static bool
labels_of(struct metrics_route *r, char *labels, size_t size)
{
    uint64_t id = atomic_load(&r->id), words[TEXT_WORDS];

    if (id == 0)
        return false;
    for (size_t w = 0; w < TEXT_WORDS; w++)
        words[w] = atomic_load_explicit(&r->text[w], memory_order_relaxed);
    uint64_t h = hash(HASH_BEGIN, words, sizeof words);
    if (h + (h == 0) != id)
        return false;
    const char *program = (const char *)words, *route = program + strlen(program) + 1, *method = route + strlen(route) + 1;
    return (size_t)snprintf(labels, size, "program=\"%s\",route=\"%s\",method=\"%s\"", program, route, method) < size;
}

static void
put_histogram(const struct out *o, struct metrics_route *r, const char *labels)
{
    const char *name = "api_request_duration_seconds";
    uint64_t sum_ns = atomic_load_explicit(&r->sum_ns, memory_order_relaxed), n = 0;

    for (size_t b = 0; b <= N_BUCKETS; b++) {
        n += atomic_load_explicit(&r->bucket[b], memory_order_relaxed);
        if (b < N_BUCKETS)
            put(o, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, labels, (double)bucket_us[b] / 1e6, n);
        else
            put(o, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, n);
    }
    put(o, "%s_sum{%s} %" PRIu64 ".%09" PRIu64 "\n", name, labels, sum_ns / 1000000000, sum_ns % 1000000000);
    put(o, "%s_count{%s} %" PRIu64 "\n", name, labels, n);
}

void
metrics_render(metrics_write_fn *write, void *ctx)
{
    const struct out o = { write, ctx };
    char labels[TEXT_BYTES + 64];

    put_head(&o, "api_requests_total", "counter", "Requests that were answered.");
    for (size_t i = 0; i < ROUTES_MAX; i++) {
        struct metrics_route *r = &all->route[i];
        if (!labels_of(r, labels, sizeof labels))
            continue;
        for (size_t s = 0; s < STATUSES_MAX; s++) {
            uint64_t code = atomic_load_explicit(&r->status[s].code, memory_order_relaxed);
            if (code != 0)
                put(&o, "api_requests_total{%s,status=\"%" PRIu64 "\"} %" PRIu64 "\n", labels, code,
                    atomic_load_explicit(&r->status[s].n, memory_order_relaxed));
        }
    }
    put_head(&o, "api_request_duration_seconds", "histogram", "From the request's arrival in the program to its answer.");
    for (size_t i = 0; i < ROUTES_MAX; i++)
        if (labels_of(&all->route[i], labels, sizeof labels))
            put_histogram(&o, &all->route[i], labels);
    for (size_t i = 0; i < METRICS_N_COUNTERS; i++) {
        put_head(&o, counters[i].name, "counter", counters[i].help);
        put(&o, "%s %" PRIu64 "\n", counters[i].name, atomic_load_explicit(&all->counter[i], memory_order_relaxed));
    }
}

void
metrics_gauge(metrics_write_fn *write, void *ctx, enum metrics_gauge gauge, int64_t value)
{
    const struct out o = { write, ctx };

    put_head(&o, gauges[gauge].name, "gauge", gauges[gauge].help);
    put(&o, "%s %" PRId64 "\n", gauges[gauge].name, value);
}
