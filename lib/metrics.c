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
#include <time.h>
#include <unistd.h>

#define ROUTES_MAX 512
#define STATUSES_MAX 24
#define PROCESSES_MAX 256
#define PROGRAM_WORDS 4   /* of its name */
#define LOCKS_BEGIN ((off_t)1 << 40)   /* of the processes' places: far beyond the file's end */
#define TEXT_WORDS 24   /* of a route's text, program NUL route NUL method NUL */
#define TEXT_BYTES (TEXT_WORDS * sizeof(uint64_t))

static const uint64_t bucket_us[] = METRICS_BUCKETS_US;
#define N_BUCKETS (sizeof bucket_us / sizeof bucket_us[0])

struct histogram {
    _Atomic uint64_t bucket[N_BUCKETS + 1];   /* not cumulative; the last one is for the rest */
    _Atomic uint64_t sum_ns;
};

/* A place is taken by writing its id over zero.  The text is then written by
 * everyone who looks the route up, the same bytes each time, so it gets there even if the one who took
 * the place dies at once; it counts as there when it hashes to the id. */
struct metrics_route {
    _Alignas(64) _Atomic uint64_t id;
    _Atomic uint64_t text[TEXT_WORDS];
    struct histogram took;
    struct {
        _Atomic uint64_t code;                /* 0: free */
        _Atomic uint64_t n;
    } status[STATUSES_MAX];
};

/* A process's own figures, valid as long as somebody holds the lock on byte LOCKS_BEGIN + its index. */
struct process {
    _Alignas(64) _Atomic uint64_t program[PROGRAM_WORDS];
    _Atomic uint64_t said;                    /* a bit a figure: it has been given a value */
    _Atomic int64_t figure[METRICS_N_OWN];
};

struct shared {
    uint64_t layout;
    _Atomic uint64_t counter[METRICS_N_COUNTERS];
    struct histogram histogram[METRICS_N_HISTOGRAMS];
    struct process process[PROCESSES_MAX];
    struct metrics_route route[ROUTES_MAX];
};

static struct shared private_memory;   /* before metrics_open, and where it fails; untouched pages cost nothing */
static struct metrics_route not_rendered;
static struct shared *all = &private_memory;
static int file = -1;                        /* of all, for the locks */
static struct process unseen, *own = &unseen;

#define TEXTS(id, name, help) { name, help },
static const struct { const char *name, *help; } 
    counters[] = { METRICS_COUNTERS(TEXTS) }, histograms[] = { METRICS_HISTOGRAMS(TEXTS) }, owns[] = { METRICS_OWN(TEXTS) };

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
    for (size_t i = 0; i < METRICS_N_HISTOGRAMS; i++)
        h = hash(h, histograms[i].name, strlen(histograms[i].name) + 1);
    for (size_t i = 0; i < METRICS_N_OWN; i++)
        h = hash(h, owns[i].name, strlen(owns[i].name) + 1);
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
    flock(fd, LOCK_UN);
    if (map == MAP_FAILED) {
        close(fd);
        errno = why;
        return false;
    }
    if (file >= 0)
        close(file);   /* a second call (tests) gives up what the first one held */
    file = fd;
    own = &unseen;
    all = map;
    return true;
}

/* ---- a process's own ---- */

/* A lock of the open file (not of the process, as POSIX's are: those go with any close), on one byte. */
static struct flock
place_lock(size_t i)
{
    return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS_BEGIN + (off_t)i, .l_len = 1 };
}

void
metrics_process(const char *program)
{
    uint64_t name[PROGRAM_WORDS] = { 0 };

    snprintf((char *)name, sizeof name, "%s", program);
    for (size_t i = 0; file >= 0 && i < PROCESSES_MAX; i++) {
        struct flock lock = place_lock(i);
        if (fcntl(file, F_OFD_SETLK, &lock) != 0)
            continue;
        struct process *p = &all->process[i];
        atomic_store_explicit(&p->said, atomic_load(&own->said), memory_order_relaxed);
        for (size_t k = 0; k < METRICS_N_OWN; k++)   /* what was said before there was a place comes along */
            atomic_store_explicit(&p->figure[k], atomic_load(&own->figure[k]), memory_order_relaxed);
        for (size_t w = 0; w < PROGRAM_WORDS; w++)
            atomic_store_explicit(&p->program[w], name[w], memory_order_relaxed);
        own = p;
        return;
    }
}

void
metrics_own_add(enum metrics_own figure, int64_t n)
{
    atomic_fetch_add_explicit(&own->figure[figure], n, memory_order_relaxed);
    atomic_fetch_or_explicit(&own->said, UINT64_C(1) << figure, memory_order_relaxed);
}

void
metrics_own_set(enum metrics_own figure, int64_t value)
{
    atomic_store_explicit(&own->figure[figure], value, memory_order_relaxed);
    atomic_fetch_or_explicit(&own->said, UINT64_C(1) << figure, memory_order_relaxed);
}

/* Whether there is a living process at place I. */
static bool
is_held(size_t i)
{
    struct flock lock = place_lock(i);

    if (own == &all->process[i])
        return true;   /* our own lock is none to us */
    return file >= 0 && fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* ---- counting ---- */

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

static void
observe(struct histogram *h, uint64_t duration_ns)
{
    size_t b = 0;

    while (b < N_BUCKETS && duration_ns > bucket_us[b] * 1000)
        b++;
    atomic_fetch_add_explicit(&h->bucket[b], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, duration_ns, memory_order_relaxed);
}

void
metrics_observe(enum metrics_histogram histogram, uint64_t duration_ns)
{
    observe(&all->histogram[histogram], duration_ns);
}

void
metrics_request(struct metrics_route *r, int status, uint64_t duration_ns)
{
    uint64_t code = (uint64_t)status;

    observe(&r->took, duration_ns);
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

/* The labels program, route and method of R, with a comma behind them, into LABELS; false when its text is not (yet) there. */
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
    return (size_t)snprintf(labels, size, "program=\"%s\",route=\"%s\",method=\"%s\",", program, route, method) < size;
}

/* LABELS is "" or ends with a comma. */
static void
put_histogram(const struct out *o, const char *name, struct histogram *h, const char *labels)
{
    uint64_t sum_ns = atomic_load_explicit(&h->sum_ns, memory_order_relaxed), n = 0;
    int len = (int)strlen(labels);
    const char *open = len > 0 ? "{" : "", *close = len > 0 ? "}" : "";

    for (size_t b = 0; b <= N_BUCKETS; b++) {
        n += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
        if (b < N_BUCKETS)
            put(o, "%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, labels, (double)bucket_us[b] / 1e6, n);
        else
            put(o, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, n);
    }
    len -= len > 0;
    put(o, "%s_sum%s%.*s%s %" PRIu64 ".%09" PRIu64 "\n", name, open, len, labels, close, sum_ns / 1000000000, sum_ns % 1000000000);
    put(o, "%s_count%s%.*s%s %" PRIu64 "\n", name, open, len, labels, close, n);
}

/* ---- the processes, summed by program ---- */

struct by_program {
    char program[PROGRAM_WORDS * sizeof(uint64_t)];
    int64_t processes, figure[METRICS_N_OWN];
    uint64_t said;
};

enum { PROGRAMS_MAX = 64 };

/* How figure K of two processes becomes one. */
static int64_t
together(size_t k, int64_t a, int64_t b)
{
    return k != METRICS_EVENTS_READ_MS ? a + b : a < b ? a : b;
}

static size_t
sum_processes(struct by_program *sum)
{
    size_t n = 0;

    for (size_t i = 0; i < PROCESSES_MAX; i++) {
        struct process *p = &all->process[i];
        uint64_t name[PROGRAM_WORDS];
        struct by_program *s = sum;
        if (atomic_load_explicit(&p->program[0], memory_order_relaxed) == 0 || !is_held(i))
            continue;
        for (size_t w = 0; w < PROGRAM_WORDS; w++)
            name[w] = atomic_load_explicit(&p->program[w], memory_order_relaxed);
        while (s < sum + n && memcmp(s->program, name, sizeof name) != 0)
            s++;
        if (s == sum + PROGRAMS_MAX)
            continue;
        bool first = s == sum + n;
        if (first) {
            memcpy(s->program, name, sizeof name);
            s->program[sizeof name - 1] = '\0';
            s->processes = 0;
            s->said = 0;
            n++;
        }
        s->processes++;
        s->said |= atomic_load_explicit(&p->said, memory_order_relaxed);
        for (size_t k = 0; k < METRICS_N_OWN; k++) {
            int64_t value = atomic_load_explicit(&p->figure[k], memory_order_relaxed);
            s->figure[k] = first ? value : together(k, s->figure[k], value);
        }
    }
    return n;
}

static void
put_processes(const struct out *o)
{
    struct by_program sum[PROGRAMS_MAX];
    size_t n = sum_processes(sum);

    put_head(o, "selliko_processes", "gauge", "Processes that are alive.");
    for (size_t i = 0; i < n; i++)
        put(o, "selliko_processes{program=\"%s\"} %" PRId64 "\n", sum[i].program, sum[i].processes);
    for (size_t k = 0; k < METRICS_N_OWN; k++) {
        put_head(o, owns[k].name, "gauge", owns[k].help);
        for (size_t i = 0; i < n; i++) {
            int64_t value = sum[i].figure[k];
            if ((sum[i].said & UINT64_C(1) << k) == 0)
                continue;   /* not of this kind of program */
            if (k == METRICS_EVENTS_READ_MS)
                put(o, "%s{program=\"%s\"} %" PRId64 ".%03" PRId64 "\n", owns[k].name, sum[i].program, value / 1000, value % 1000);
            else
                put(o, "%s{program=\"%s\"} %" PRId64 "\n", owns[k].name, sum[i].program, value);
        }
    }
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
                put(&o, "api_requests_total{%sstatus=\"%" PRIu64 "\"} %" PRIu64 "\n", labels, code,
                    atomic_load_explicit(&r->status[s].n, memory_order_relaxed));
        }
    }
    put_head(&o, "api_request_duration_seconds", "histogram", "From the request's arrival in the program to its answer.");
    for (size_t i = 0; i < ROUTES_MAX; i++)
        if (labels_of(&all->route[i], labels, sizeof labels))
            put_histogram(&o, "api_request_duration_seconds", &all->route[i].took, labels);
    for (size_t i = 0; i < METRICS_N_COUNTERS; i++) {
        put_head(&o, counters[i].name, "counter", counters[i].help);
        put(&o, "%s %" PRIu64 "\n", counters[i].name, atomic_load_explicit(&all->counter[i], memory_order_relaxed));
    }
    for (size_t i = 0; i < METRICS_N_HISTOGRAMS; i++) {
        put_head(&o, histograms[i].name, "histogram", histograms[i].help);
        put_histogram(&o, histograms[i].name, &all->histogram[i], "");
    }
    put_processes(&o);
}

void
metrics_value(metrics_write_fn *write, void *ctx, const char *name, const char *help, const char *labels, const char *value)
{
    const struct out o = { write, ctx };

    put_head(&o, name, "gauge", help);
    if (labels != NULL)
        put(&o, "%s{%s} %s\n", name, labels, value);
    else
        put(&o, "%s %s\n", name, value);
}
