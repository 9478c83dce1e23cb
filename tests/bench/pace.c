/* pace -- requests at a given rate, whatever the answers do: an open loop.
 *
 *     pace --port P --requests FILE [--rate R] [--seconds S] [--connections N] [--first I] [--series]
 *          [--raise R]
 *
 * FILE has one request a line: CLASS TOKEN METHOD PATH BODY, parted by tabs ("-": no token, no body).  Request I is
 * due at I/R seconds, and its latency counts from then, so a service that falls behind is not spared what it
 * kept waiting.  When FILE is at its end it is begun anew; with --raise the number at the end of each body is then R
 * higher than the time before, so that a bid stays one.  With --rate 0 each connection sends when its last answer is
 * there: what the service can do.
 * Prints one JSON object: for each class the answers by kind and the latencies of the good ones in
 * milliseconds; how late requests were sent themselves; with --series also the good answers of each second.
 *
 * It is the instrument, not a part of what is measured: where it may, it goes before everything else on its
 * machine, or its own waiting for a CPU would be told as the service's. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CLASSES = 16, SECONDS = 4000, TIMEOUT_S = 10 };

struct span { const char *at; size_t len; };

struct request { struct span class_name, token, method, path, body; int class; };

struct conn {
    int fd, next_idle, class;
    bool busy, connecting, answered;   /* answered: some answer came over it, so a break may be an idle time-out */
    double due;
    size_t in_len, body_left;
    int status;
    char *out;
    size_t out_len, out_sent, out_cap;
    char in[8192];
};

static struct {
    char name[32];
    unsigned long sent, ok, conflict, refused, failed, broken;
    float *ms;
    size_t n_ms, cap_ms;
} class[CLASSES];

static struct { float *ms; size_t n, cap; } late;   /* behind what was due, with a connection at hand or not */

static struct request *requests;
static size_t n_requests;
static struct conn *conns;
static int n_conns, max_conns = 32, idle = -1, epoll_fd, n_classes;
static unsigned long series[SECONDS];
static struct sockaddr_in server = { .sin_family = AF_INET };
static double began;

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void
die(const char *what)
{
    perror(what);
    exit(1);
}

static void *
must(void *p)
{
    if (p == NULL)
        die("memory");
    return p;
}

static struct span
cut(const char **p, const char *end, char at)
{
    struct span s = { *p, 0 };
    while (*p < end && **p != at)
        (*p)++;
    s.len = (size_t)(*p - s.at);
    if (*p < end)
        (*p)++;
    return s;
}

static int
class_of(struct span name)
{
    for (int i = 0; i < n_classes; i++)
        if (strlen(class[i].name) == name.len && memcmp(class[i].name, name.at, name.len) == 0)
            return i;
    if (n_classes == CLASSES || name.len >= sizeof class[0].name)
        die("too many classes");
    memcpy(class[n_classes].name, name.at, name.len);
    return n_classes++;
}

static void
load(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        die(path);
    const char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0), *end = p + st.st_size;
    if (p == MAP_FAILED)
        die(path);
    size_t cap = 0;
    while (p < end) {
        if (n_requests == cap)
            requests = must(realloc(requests, (cap = cap * 2 + 1024) * sizeof *requests));
        struct request *r = &requests[n_requests++];
        r->class_name = cut(&p, end, '\t');
        r->token = cut(&p, end, '\t');
        r->method = cut(&p, end, '\t');
        r->path = cut(&p, end, '\t');
        r->body = cut(&p, end, '\n');
        r->class = class_of(r->class_name);
    }
    if (n_requests == 0)
        die("no requests");
    close(fd);
}

static void
watch(int i, uint32_t events, int op)
{
    struct epoll_event ev = { .events = events, .data.u32 = (uint32_t)i };
    if (epoll_ctl(epoll_fd, op, conns[i].fd, &ev) != 0)
        die("epoll_ctl");
}

static void
open_conn(int i)
{
    struct conn *c = &conns[i];
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS)
        die("connect");
    c->in_len = c->body_left = 0;
    c->status = 0;
    c->answered = false;
    watch(i, EPOLLIN | EPOLLOUT | EPOLLET, EPOLL_CTL_ADD);
}

static void
free_conn(int i)
{
    conns[i].busy = false;
    conns[i].next_idle = idle;
    idle = i;
}

static void
flush_conn(int i)
{
    struct conn *c = &conns[i];
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (n < 0)
            return;   /* full, or not connected yet: EPOLLOUT comes; broken: EPOLLIN tells */
        c->out_sent += (size_t)n;
    }
}

static void
note_ms(float **list, size_t *n, size_t *cap, double ms)
{
    if (*n == *cap)
        *list = must(realloc(*list, (*cap = *cap * 2 + 1024) * sizeof(float)));
    (*list)[(*n)++] = (float)ms;
}

static void
begin_request(int i, const struct request *r, unsigned long more, double due)
{
    struct conn *c = &conns[i];
    size_t need = r->token.len + r->path.len + r->body.len + 300, keep = r->body.len;
    char end[32] = "";
    if (more > 0 && keep > 1 && r->body.at[keep - 1] == '}') {
        for (keep--; keep > 0 && r->body.at[keep - 1] >= '0' && r->body.at[keep - 1] <= '9';)
            keep--;
        snprintf(end, sizeof end, "%lu}", strtoul(r->body.at + keep, NULL, 10) + more);
    }
    if (need > c->out_cap)
        c->out = must(realloc(c->out, c->out_cap = need));
    bool token = r->token.len > 1, body = r->body.len > 1;
    c->out_len = (size_t)snprintf(c->out, c->out_cap, "%.*s %.*s HTTP/1.1\r\nHost: localhost\r\n%s%.*s%s", (int)r->method.len, r->method.at,
                                  (int)r->path.len, r->path.at, token ? "Authorization: Bearer " : "", token ? (int)r->token.len : 0,
                                  r->token.at, token ? "\r\n" : "");
    c->out_len += (size_t)(body ? snprintf(c->out + c->out_len, c->out_cap - c->out_len, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s%s",
                                           keep + strlen(end), (int)keep, r->body.at, end)
                                : snprintf(c->out + c->out_len, c->out_cap - c->out_len, "\r\n"));
    c->out_sent = 0;
    c->busy = true;
    c->due = due;
    c->class = r->class;
    class[r->class].sent++;
    if (c->fd < 0)
        open_conn(i);
    flush_conn(i);
}

static void
end_request(int i)
{
    struct conn *c = &conns[i];
    double t = now();
    int k = c->class;
    if (c->status < 300) {
        class[k].ok++;
        note_ms(&class[k].ms, &class[k].n_ms, &class[k].cap_ms, (t - c->due) * 1e3);
        size_t second = (size_t)(t - began);
        if (second < SECONDS)
            series[second]++;
    } else if (c->status == 503 || c->status == 429)
        class[k].refused++;
    else if (c->status == 409)
        class[k].conflict++;
    else
        class[k].failed++;
    c->status = 0;
    c->answered = true;
    free_conn(i);
}

static void
broken_conn(int i)
{
    struct conn *c = &conns[i];
    close(c->fd);
    c->fd = -1;
    if (c->busy) {
        class[c->class].broken++;
        free_conn(i);
    }
}

/* What arrived: a head, then as many bytes as it said. */
static void
read_conn(int i)
{
    struct conn *c = &conns[i];
    for (;;) {
        ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            broken_conn(i);
            return;
        }
        c->in_len += (size_t)n;
        if (c->status == 0) {
            c->in[c->in_len] = '\0';
            char *end = strstr(c->in, "\r\n\r\n");
            if (end == NULL) {
                if (c->in_len == sizeof c->in - 1) {
                    broken_conn(i);
                    return;
                }
                continue;
            }
            size_t head = (size_t)(end + 4 - c->in);
            *end = '\0';
            const char *length = strcasestr(c->in, "\r\nContent-Length:");
            c->status = (int)strtol(c->in + 9, NULL, 10);
            c->body_left = length != NULL ? strtoul(length + 17, NULL, 10) : 0;
            size_t have = c->in_len - head;
            c->body_left -= have < c->body_left ? have : c->body_left;
        } else
            c->body_left -= c->in_len < c->body_left ? c->in_len : c->body_left;
        c->in_len = 0;
        if (c->body_left == 0)
            end_request(i);
    }
}

static int
by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void
report(double seconds, double rate, bool with_series)
{
    printf("{\"seconds\":%.1f,\"rate\":%.0f,\"connections\":%d,\"classes\":{", seconds, rate, n_conns);
    for (int k = 0; k < n_classes; k++) {
        size_t n = class[k].n_ms;
        qsort(class[k].ms, n, sizeof(float), by_size);
        printf("%s\"%s\":{\"sent\":%lu,\"ok\":%lu,\"conflict\":%lu,\"refused\":%lu,\"failed\":%lu,\"broken\":%lu", k > 0 ? "," : "",
               class[k].name, class[k].sent, class[k].ok, class[k].conflict, class[k].refused, class[k].failed, class[k].broken);
        if (n > 0)
            printf(",\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"max\":%.2f", (double)class[k].ms[n / 2], (double)class[k].ms[n * 9 / 10],
                   (double)class[k].ms[n * 99 / 100], (double)class[k].ms[n - 1]);
        printf("}");
    }
    printf("}");
    qsort(late.ms, late.n, sizeof(float), by_size);
    if (late.n > 0)
        printf(",\"late\":{\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f}", (double)late.ms[late.n / 2], (double)late.ms[late.n * 99 / 100],
               (double)late.ms[late.n - 1]);
    if (with_series) {
        printf(",\"good\":[");
        for (size_t s = 0; s <= (size_t)seconds && s < SECONDS; s++)
            printf("%s%lu", s > 0 ? "," : "", series[s]);
        printf("]");
    }
    printf("}\n");
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", 1, NULL, 'p' }, { "requests", 1, NULL, 'f' }, { "rate", 1, NULL, 'r' }, { "seconds", 1, NULL, 's' },
        { "connections", 1, NULL, 'c' }, { "first", 1, NULL, 'i' }, { "series", 0, NULL, 'S' },
        { "raise", 1, NULL, 'R' }, { 0 } };
    double rate = 0, seconds = 10;
    size_t first = 0, raise = 0;
    bool with_series = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'p': server.sin_port = htons((uint16_t)strtoul(optarg, NULL, 10)); break;
        case 'f': load(optarg); break;
        case 'r': rate = strtod(optarg, NULL); break;
        case 's': seconds = strtod(optarg, NULL); break;
        case 'c': max_conns = (int)strtol(optarg, NULL, 10); break;
        case 'i': first = strtoul(optarg, NULL, 10); break;
        case 'R': raise = strtoul(optarg, NULL, 10); break;
        case 'S': with_series = true; break;
        default: return 2;
        }
    if (n_requests == 0 || server.sin_port == 0 || max_conns < 1 || seconds >= SECONDS) {
        fprintf(stderr, "usage: pace --port P --requests FILE [--rate R] [--seconds S] [--connections N] [--first I] [--series] [--raise R]\n");
        return 2;
    }
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)sched_setscheduler(0, SCHED_RR, &(struct sched_param){ .sched_priority = 1 });   /* root may */
    conns = must(calloc((size_t)max_conns, sizeof *conns));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    began = now();
    size_t sent = 0;
    double swept = began;
    for (bool sending = true;;) {
        double t = now();
        int busy = n_conns;
        for (int i = idle; i >= 0; i = conns[i].next_idle)
            busy--;
        sending = sending && t - began < seconds;
        if (!sending && (busy == 0 || t - began > seconds + TIMEOUT_S))
            break;
        for (double due; sending && (due = rate > 0 ? began + (double)sent / rate : t) <= t;) {
            int i = idle;
            if (i >= 0)
                idle = conns[i].next_idle;
            else if (n_conns < max_conns) {
                i = n_conns++;
                conns[i].fd = -1;
            } else
                break;
            note_ms(&late.ms, &late.n, &late.cap, (now() - due) * 1e3);
            size_t at = first + sent++;
            begin_request(i, &requests[at % n_requests], raise * (at / n_requests), due);
        }
        struct epoll_event ev[256];
        double wait = rate > 0 && sending && (idle >= 0 || n_conns < max_conns) ? began + (double)sent / rate - now() : 0.1;
        struct timespec ts = { .tv_nsec = wait <= 0 ? 0 : wait >= 0.1 ? 100000000 : (long)(wait * 1e9) };
        int n = epoll_pwait2(epoll_fd, ev, 256, &ts, NULL);
        for (int k = 0; k < n; k++) {
            int i = (int)ev[k].data.u32;
            if (conns[i].fd >= 0 && (ev[k].events & EPOLLOUT) != 0 && conns[i].busy)
                flush_conn(i);
            if (conns[i].fd >= 0 && (ev[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
                read_conn(i);
        }
        if (t - swept > 1) {   /* who waits too long has gone elsewhere */
            swept = t;
            for (int i = 0; i < n_conns; i++)
                if (conns[i].busy && t - conns[i].due > TIMEOUT_S + (sending ? 0 : 5))
                    broken_conn(i);
        }
    }
    report(now() - began > seconds ? seconds : now() - began, rate, with_series);
    return 0;
}
