/* status -- is it well, and how busy is it: /health for balancers, /metrics for Prometheus. */
#include "app.h"

#include "clock.h"
#include "gauges.h"

#include <pthread.h>

#define ROUTES(X) \
    X(GET, "/health",  show_health,  UNASKED, 0) \
    X(GET, "/metrics", show_metrics, UNASKED, 0)
ROUTES(ROUTE_PROTOTYPE)

static uint64_t started_ns;

/* A figure of /proc/self/status in bytes ("VmRSS:"), 0 when it is not there. */
static int64_t
proc_bytes(const char *name)
{
    char line[256];
    int64_t kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kb = strtoll(line + strlen(name), NULL, 10);
    if (f != NULL)
        fclose(f);
    return kb * 1024;
}

static double
seconds_since(uint64_t then_ns)
{
    return (double)(clock_ns() - then_ns) / 1e9;
}

static void
health_members(struct jw *j, const char *status, bool database, double latency_ms)
{
    struct timespec now;
    struct tm utc;
    char text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, sizeof text - len, ".%03ldZ", now.tv_nsec / 1000000);
    jw_str(j, "status", status);
    jw_str(j, "timestamp", text);
    len = (size_t)snprintf(text, sizeof text, "%.3f", seconds_since(started_ns));
    jw_raw(j, "uptime", text, len);
    jw_object(j, "memory");
    jw_int(j, "rss", proc_bytes("VmRSS:"));
    jw_int(j, "peak", proc_bytes("VmHWM:"));
    jw_end(j);
    jw_str(j, "version", PACKAGE_VERSION);
    jw_object(j, "checks");
    jw_object(j, "database");
    jw_str(j, "status", database ? "up" : "down");
    if (database) {
        len = (size_t)snprintf(text, sizeof text, "%.3f", latency_ms);
        jw_raw(j, "latencyMs", text, len);
    }
    jw_end(j);
    jw_end(j);
}

SQL(ping, "SELECT 1");
static struct db *own;   /* asked apart from the pool: health must not give up the request */

/* GET /health: 200 healthy, 503 unhealthy when the database is away. */
static reply
show_health(struct req *r)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    uint64_t asked_ns = clock_ns();
    pthread_mutex_lock(&lock);
    bool up = db_run(own, r->arena, ping) != NULL;
    pthread_mutex_unlock(&lock);
    double ms = seconds_since(asked_ns) * 1000;
    if (up) {
        health_members(answer(r), "healthy", true, ms);
        return ok(r);
    }
    health_members(error_extra(r), "unhealthy", false, ms);
    return failf(r, ERR_UNAVAILABLE, "The database is away.");
}

/* ---- metrics ---- */

struct text {
    struct arena *arena;
    char *s;
    size_t len, cap;
};

static void
append(void *ctx, const char *s, size_t len)
{
    struct text *t = ctx;
    if (t->cap - t->len < len) {
        t->cap = (t->cap + len) * 2;
        t->s = memcpy(arena_alloc(t->arena, t->cap), t->s, t->len);
    }
    memcpy(t->s + t->len, s, len);
    t->len += len;
}

/* GET /metrics (nginx decides who may ask). */
static reply
show_metrics(struct req *r)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct text t = { .arena = r->arena, .s = arena_alloc(r->arena, 65536), .cap = 65536 };
    metrics_render(append, &t);
    pthread_mutex_lock(&lock);
    gauges_render(own, r->arena, append, &t);
    pthread_mutex_unlock(&lock);
    return plain(r, 200, "text/plain; version=0.0.4; charset=utf-8", t.s, t.len);
}

static void
begin(void)
{
    started_ns = clock_ns();
    own = db_open();
}

APP_INIT("status", ROUTES, begin)
