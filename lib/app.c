/* app -- see app.h.  The request loop over libfcgi.
 *
 * FCGX_Accept_r alone would block a thread on every kept connection, also an idle one, and starve the
 * others.  So the sockets are ours: accepted here, watched by one epoll set (EPOLLONESHOT: a
 * connection is one thread's at a time), and given to libfcgi only when a request is waiting on them.
 *
 *        listening socket ──► accept4 ──► conn ──► epoll ──► readable ──► FCGX_Accept_r ──► handler
 *                                           ▲                  │ end of file                  │
 *                                           └── armed again ───┴► closed    FCGX_Finish_r ◄───┘   */
#include "req_inside.h"

#include "clock.h"
#include "config.h"
#include "crypto.h"
#include "fileurl.h"
#include "log.h"
#include "metrics.h"
#include "replica.h"
#include "sentry.h"
#include "valid.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

/* How long, once told to stop, requests over kept connections are still answered. */
#define DRAIN_MS 1000

/* What nginx reads of a head (fastcgi_buffer_size). */
#define HEAD_MAX 16384

struct conn {
    FCGX_Request fcgi;
};

static struct {
    const char *program;
    struct route *routes;
    size_t n_routes;
    int listen_fd, epoll_fd, stop_fd;
    volatile sig_atomic_t stopping;
    int n_threads;
    atomic_int draining;            /* threads that know that we are to stop */
    atomic_int n_conns;
    atomic_int n_streams;           /* requests of routes that STREAM */
} app = { .listen_fd = 0 };

/* ---- routing ---- */

/* PATH against PATTERN; what stood for {…} goes into ARG. */
static bool
matches(struct req *r, const char *pattern, const char *path, const char *arg[4])
{
    int n = 0;
    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t len = strcspn(path, "/");
        bool uuid = strncmp(pattern, "{uuid}", 6) == 0;
        char id[37];
        if (len == 0 || len > 100 || n == 4 || (uuid && !valid_uuid(path, len, id)))
            return false;
        arg[n++] = uuid ? arena_memdup0(r->arena, id, 36) : arena_memdup0(r->arena, path, len);
        path += len;
        pattern = strchr(pattern, '}') + 1;
    }
    return *path == '\0';
}

static const struct route *
find_route(struct req *r, reply *refusal)
{
    char allow[64] = "";
    size_t len = 0;
    for (size_t i = 0; i < app.n_routes; i++) {
        const struct route *route = &app.routes[i];
        const char *arg[4] = { NULL };
        if (!matches(r, route->pattern, r->path, arg))
            continue;
        if (strcmp(route->method, r->method) == 0) {
            memcpy(r->arg, arg, sizeof arg);
            return route;
        }
        if (strstr(allow, route->method) == NULL && len < sizeof allow - 16)
            len += (size_t)snprintf(allow + len, sizeof allow - len, "%s%s", len > 0 ? ", " : "", route->method);
    }
    if (len > 0) {
        if (strstr(allow, "GET") != NULL)
            len += (size_t)snprintf(allow + len, sizeof allow - len, ", HEAD");
        snprintf(allow + len, sizeof allow - len, ", OPTIONS");
        header(r, "Allow", arena_strdup(r->arena, allow));
        *refusal = fail(r, ERR_METHOD_NOT_ALLOWED);
    } else {
        *refusal = fail(r, ERR_NOT_FOUND);
    }
    return NULL;
}

/* ---- the request as libfcgi gives it ---- */

const char *
req_header(struct req *r, const char *name)
{
    char key[80] = "HTTP_";
    size_t n = 5;
    for (; *name != '\0' && n < sizeof key - 1; name++)
        key[n++] = (char)(*name == '-' ? '_' : *name >= 'a' && *name <= 'z' ? *name - 32 : *name);
    key[n] = '\0';
    return FCGX_GetParam(key, r->inside->fcgi->envp);
}

static const char *
param(struct req *r, const char *name)
{
    const char *value = FCGX_GetParam(name, r->inside->fcgi->envp);
    return value != NULL ? value : "";
}

const char *
req_content_type(struct req *r)
{
    return param(r, "CONTENT_TYPE");
}

int64_t
req_now(struct req *r)
{
    (void)r;
    return time(NULL);
}

long
req_read(struct req *r, void *buf, size_t n)
{
    int got = FCGX_GetStr(buf, n > INT32_MAX ? INT32_MAX : (int)n, r->inside->fcgi->in);
    if (got == 0 && FCGX_GetError(r->inside->fcgi->in) != 0)
        return -1;
    return got;
}

const char *
req_body(struct req *r, size_t *len)
{
    struct req_inside *in = r->inside;
    if (!in->body_read) {
        in->body_read = true;
        long max = (in->route->flags & RAW_BODY) != 0 ? REQ_RAW_MAX : REQ_JSON_MAX;
        if (in->content_length > max)
            req_leave(r, fail(r, ERR_PAYLOAD_TOO_LARGE));
        size_t want = (size_t)in->content_length;
        in->body = arena_alloc(r->arena, want + 1);
        while (in->body_len < want) {
            long got = req_read(r, in->body + in->body_len, want - in->body_len);
            if (got <= 0)
                req_leave(r, failf(r, ERR_MALFORMED_JSON, "The body ended early."));
            in->body_len += (size_t)got;
        }
        in->body[in->body_len] = '\0';
    }
    *len = in->body_len;
    return in->body;
}

/* "Bearer TOKEN", looked at where the route cares.  What the token says is checked by the database
 * with the first statement. */
static void
read_token(struct req *r)
{
    struct req_inside *in = r->inside;
    const char *auth = req_header(r, "Authorization");
    if ((in->route->who & UNASKED) != 0)
        return;
    if (auth == NULL || *auth == '\0') {
        if ((in->route->who & ANYONE) == 0)
            req_leave(r, fail(r, ERR_UNAUTHENTICATED));
        return;
    }
    if (strncasecmp(auth, "Bearer ", 7) != 0)
        req_leave(r, fail(r, ERR_UNAUTHENTICATED));
    const char *token = auth + 7 + strspn(auth + 7, " ");
    switch (token_verify(token, strlen(token), req_now(r), &in->claims)) {
    case TOKEN_OK: break;
    case TOKEN_EXPIRED: req_leave(r, fail(r, ERR_TOKEN_EXPIRED));
    case TOKEN_MALFORMED: case TOKEN_BAD_SIGNATURE: req_leave(r, failf(r, ERR_UNAUTHENTICATED, "The access token is not valid."));
    }
    in->has_token = true;
    r->user.id = in->claims.user_id;
    r->user.session_id = in->claims.session_id;
    r->user.phone = in->claims.phone;
    r->user.claimed = in->claims.role;
}

static void
read_key(struct req *r)
{
    const char *key = (r->inside->route->flags & TAKES_KEY) != 0 ? req_header(r, "Idempotency-Key") : NULL;
    if (key != NULL && !valid_visible_ascii(key, strlen(key), 1, 255)) {
        wrong(r, "Idempotency-Key", "must be 1 to 255 visible ASCII characters");
        key = NULL;
    }
    r->idempotency_key = key;
}

/* The middle of a request: everything that may leave early. */
static void
run(struct req *r)
{
    struct req_inside *in = r->inside;
    reply refusal;
    in->route = find_route(r, &refusal);
    log_context(r->id, in->route != NULL
                ? arena_printf(r->arena, "%s %s", in->route->method, in->route->pattern) : "none");
    if (in->route == NULL)
        return;
    if ((in->route->flags & STREAMS) != 0) {
        in->streams = true;
        if (++app.n_streams > APP_STREAMS_MAX)
            give_up(r, ERR_UNAVAILABLE);
    }
    read_token(r);
    read_key(r);
    (void)in->route->handler(r);
}

/* Who may not ask does not hear what was wrong with his question, not even that it was no JSON. */
static void
check_asker(struct req *r)
{
    struct req_inside *in = r->inside;
    if (in->has_token && !in->checked && in->answer.status < 500) {
        struct req_answer kept = in->answer;
        in->n_queued = 0;   /* what was left on the way is not to be done */
        (void)req_user(r);
        in->answer = kept;
    }
}

static void
out_of_memory(void *ctx)
{
    struct req *r = ctx;
    static const char body[] = "{\"success\":false,\"error\":\"The service is not available just now. "
                               "Please try again.\",\"code\":\"unavailable\",\"requestId\":\"\"}";
    r->inside->n_headers = 0;
    r->inside->answer = (struct req_answer){ .status = 503, .content_type = "application/json; charset=utf-8",
                                             .body = body, .len = sizeof body - 1, .error = ERR_UNAVAILABLE };
    log_error("no memory for a request");
    longjmp(r->inside->out, 1);
}

/* nginx passes the status line on as it is, and the blank behind the code is part of it (RFC 9112 §4): so
 * there is always a phrase. */
static const char *
phrase_of(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return status < 400 ? "OK" : "Error";
    }
}

/* Where the web server does not take it, libfcgi remembers, and FCGX_Finish_r closes the connection. */
static void
send_answer(struct req *r)
{
    struct req_inside *in = r->inside;
    char head[HEAD_MAX];
    size_t len = (size_t)snprintf(head, sizeof head, "Status: %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
                                  in->answer.status, phrase_of(in->answer.status), in->answer.content_type, in->answer.len);
    bool says_cache = false;
    for (int i = 0; i < in->n_headers; i++) {
        const char *name = in->header[i].name, *value = in->header[i].value;
        if (len + strlen(name) + strlen(value) + 150 > sizeof head)   /* the last lines find room */
            abort();
        len += (size_t)snprintf(head + len, sizeof head - len, "%s: %s\r\n", name, value);
        says_cache |= strcmp(name, "Cache-Control") == 0;
    }
    bool cached = in->route != NULL && (in->route->flags & CACHEABLE) != 0 && in->answer.status == 200 && !in->has_token;
    if (cached && in->public_since != 0)   /* nginx takes it in place of max-age */
        len += (size_t)snprintf(head + len, sizeof head - len, "X-Accel-Expires: @%lld\r\n", (long long)in->public_since);
    len += (size_t)snprintf(head + len, sizeof head - len, "%s\r\n", says_cache ? "" : cached ? "Cache-Control: public, max-age=1\r\n"
                                                                                         : "Cache-Control: no-store\r\n");
    FCGX_PutStr(head, (int)len, in->fcgi->out);
    FCGX_PutStr(in->answer.body, (int)in->answer.len, in->fcgi->out);
}

/* Read what the handler left of the body: a connection that is closed or reused with bytes on it
 * would cost nginx the answer. */
static void
drain(struct req *r)
{
    char buf[16384];
    while (FCGX_GetStr(buf, sizeof buf, r->inside->fcgi->in) > 0)
        ;
}

static void
log_answer(struct req *r, uint64_t ns)
{
    const struct req_answer *a = &r->inside->answer;
    if (a->status >= 500)
        log_error("request failed", log_i("status", a->status), log_f("ms", (double)ns / 1e6));
    else
        log_info("request", log_i("status", a->status), log_f("ms", (double)ns / 1e6));
}

static void
serve(struct conn *c, struct arena *arena)
{
    uint64_t began = clock_ns();
    struct req_inside *in = arena_zalloc(arena, 1, sizeof *in);
    struct req *r = arena_zalloc(arena, 1, sizeof *r);
    in->fcgi = &c->fcgi;
    in->answer.error = ERR_COUNT;
    r->inside = in;
    r->arena = arena;
    r->method = param(r, "REQUEST_METHOD");
    r->is_head = strcmp(r->method, "HEAD") == 0 || strcmp(param(r, "CLIENT_METHOD"), "HEAD") == 0;
    if (r->is_head)
        r->method = "GET";
    r->path = param(r, "DOCUMENT_URI");
    r->query = param(r, "QUERY_STRING");
    r->id = param(r, "REQUEST_ID");
    r->ip = param(r, "REMOTE_ADDR");
    const char *agent = param(r, "HTTP_USER_AGENT");
    size_t agent_len = strnlen(agent, 300);
    r->user_agent = valid_utf8(agent, agent_len) && valid_no_controls(agent, agent_len, false)
        ? arena_memdup0(arena, agent, agent_len) : "";
    in->content_length = strtol(param(r, "CONTENT_LENGTH"), NULL, 10);
    if (in->content_length < 0)
        in->content_length = 0;
    arena_on_oom(arena, out_of_memory, r);

    if (setjmp(in->out) == 0)
        run(r);
    if (setjmp(in->out) == 0)
        check_asker(r);
    arena_on_oom(arena, NULL, NULL);
    if (in->route != NULL && (in->route->flags & STREAMS) != 0)
        arena_release(arena);   /* staged files are gone before the answer says that nothing was kept */

    drain(r);
    send_answer(r);
    FCGX_Finish_r(&c->fcgi);   /* from here the client has his answer */
    req_db_end(r, in->answer.status < 400);
    if (in->streams)
        app.n_streams--;
    uint64_t ns = clock_ns() - began;
    if (in->route != NULL)
        metrics_request(in->route->metrics, in->answer.status, ns);
    log_answer(r, ns);
    log_context(NULL, NULL);
    arena_reset(arena);
}

/* ---- connections ---- */

static void
watch(struct conn *c, int op)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = c };
    if (epoll_ctl(app.epoll_fd, op, c->fcgi.ipcFd, &ev) != 0)
        abort();
}

static void
accept_all(void)
{
    for (;;) {
        int fd = accept4(app.listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return;   /* another thread or process had it; or no descriptors: the rest waits */
        struct conn *c = calloc(1, sizeof *c);
        if (c == NULL || FCGX_InitRequest(&c->fcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0) {
            free(c);
            close(fd);
            return;
        }
        /* nginx sends a request whole: who begins one and stops is not to hold a thread for ever. */
        struct timeval patience = { .tv_sec = 60 };
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        c->fcgi.ipcFd = fd;
        c->fcgi.keepConnection = 1;
        app.n_conns++;
        watch(c, EPOLL_CTL_ADD);
    }
}

static void
conn_close(struct conn *c)
{
    FCGX_Free(&c->fcgi, 1);
    free(c);
    app.n_conns--;
}

static void
conn_ready(struct conn *c, struct arena *arena)
{
    char byte;
    if (recv(c->fcgi.ipcFd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0 || FCGX_Accept_r(&c->fcgi) != 0) {
        conn_close(c);
        return;
    }
    metrics_own_add(METRICS_REQUESTS, 1);
    serve(c, arena);
    metrics_own_add(METRICS_REQUESTS, -1);
    if (c->fcgi.ipcFd < 0) {   /* the web server did not ask to keep it */
        free(c);
        app.n_conns--;
    } else if (app.stopping) {
        conn_close(c);         /* the next request is for our successor */
    } else
        watch(c, EPOLL_CTL_MOD);
}

/* The web server may have sent a request over a kept connection just before it could hear that we leave, and
 * one that changes something it will not send twice.  So what comes is still answered, each connection is
 * closed after its answer, and those that are silent for a while are closed at the end.  New ones wait in the
 * socket's queue for our successor. */
static void
drain_connections(struct arena *arena)
{
    epoll_ctl(app.epoll_fd, EPOLL_CTL_DEL, app.listen_fd, NULL);
    uint64_t end = clock_ns() + DRAIN_MS * UINT64_C(1000000);
    /* Until every thread has seen it, the stop event stays. */
    if (++app.draining == app.n_threads)
        epoll_ctl(app.epoll_fd, EPOLL_CTL_DEL, app.stop_fd, NULL);
    while (app.n_conns > 0 && clock_ns() < end) {
        struct epoll_event ev;
        if (epoll_wait(app.epoll_fd, &ev, 1, 50) != 1)
            continue;
        if (ev.data.ptr == &app.stop_fd)
            usleep(2000);
        else if (ev.data.ptr != &app.listen_fd)
            conn_ready(ev.data.ptr, arena);
    }
}

static void *
thread_main(void *unused)
{
    (void)unused;
    struct arena *arena = arena_new();
    if (arena == NULL)
        abort();
    while (!app.stopping) {
        struct epoll_event ev;
        int n = epoll_wait(app.epoll_fd, &ev, 1, -1);
        if (n != 1)
            continue;
        if (ev.data.ptr == &app.stop_fd)
            break;
        if (ev.data.ptr == &app.listen_fd)
            accept_all();
        else
            conn_ready(ev.data.ptr, arena);
    }
    drain_connections(arena);
    arena_free(arena);
    return NULL;
}

/* ---- start and stop ---- */

static void
on_term(int sig)
{
    (void)sig;
    app.stopping = 1;
    uint64_t one = 1;
    /* Stays readable, so every thread wakes; write is async-signal-safe. */
    ssize_t n = write(app.stop_fd, &one, sizeof one);
    (void)n;
}

static int
threads_wanted(void)
{
    for (size_t i = 0; i < app.n_routes; i++)
        if ((app.routes[i].flags & STREAMS) != 0)
            return config()->threads + APP_STREAMS_MAX;
    return config()->threads;
}

static void
set_up(void (*init)(void))
{
    const struct config *c = config();
    sentry_open(c->sentry_dsn, c->state_dir, app.program);
    (void)metrics_open(c->state_dir);
    metrics_process(app.program);
    metrics_own_set(METRICS_THREADS, threads_wanted());
    metrics_own_set(METRICS_REQUESTS, 0);
    metrics_own_set(METRICS_DB_LIMIT, c->db_connections);
    metrics_own_set(METRICS_DB_IN_USE, 0);
    token_init(c->jwt_secret);
    fileurl_init(c->file_url_secret, c->file_url_secret_old);
    db_init(c->database_url, app.program, c->db_connections, c->db_timeout_s);
    replica_init(c->database_replica_url);
    for (size_t i = 0; i < app.n_routes; i++)
        app.routes[i].metrics = metrics_route(app.program, app.routes[i].pattern, app.routes[i].method);
    if (init != NULL)
        init();
}

static void
catch_signals(void)
{
    struct sigaction term = { .sa_handler = on_term }, ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGTERM, &term, NULL);   /* after FCGX_Init, which installs its own */
    sigaction(SIGINT, &term, NULL);
    sigaction(SIGUSR1, &term, NULL);   /* what multiwatch sends when it is asked to stop */
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
}

/* The signals stay the calling thread's: in another one they would end a read or write of libfcgi, and its request. */
static bool
start_threads(pthread_t *thread, int n)
{
    sigset_t stop, before;
    pthread_attr_t attr;
    int started = 0;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGUSR1);
    if (pthread_attr_init(&attr) != 0 || pthread_attr_setstacksize(&attr, 512 * 1024) != 0)
        return false;
    pthread_sigmask(SIG_BLOCK, &stop, &before);
    while (started < n && pthread_create(&thread[started], &attr, thread_main, NULL) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started == n;
}

int
app_run(const char *program, struct route *routes, size_t n, void (*init)(void))
{
    app.program = program;
    app.routes = routes;
    app.n_routes = n;
    if (!config_load(stderr))
        return EX_CONFIG;
    log_open(program, config()->log_level);
    if (FCGX_Init() != 0)
        return EX_SOFTWARE;
    app.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    app.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (app.epoll_fd < 0 || app.stop_fd < 0)
        return EX_OSERR;
    catch_signals();
    set_up(init);

    if (fcntl(app.listen_fd, F_SETFL, fcntl(app.listen_fd, F_GETFL) | O_NONBLOCK) != 0)
        return EX_OSERR;
    struct epoll_event listening = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &app.listen_fd };
    struct epoll_event stop = { .events = EPOLLIN, .data.ptr = &app.stop_fd };
    if (epoll_ctl(app.epoll_fd, EPOLL_CTL_ADD, app.listen_fd, &listening) != 0
        || epoll_ctl(app.epoll_fd, EPOLL_CTL_ADD, app.stop_fd, &stop) != 0) {
        fprintf(stderr, "%s: file descriptor 0 is not a listening socket: start it with spawn-fcgi\n", program);
        return EX_USAGE;
    }

    int threads = app.n_threads = threads_wanted();
    pthread_t *thread = calloc((size_t)threads, sizeof *thread);
    if (thread == NULL || !start_threads(thread, threads))
        return EX_OSERR;
    log_info("started", log_i("threads", threads));
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    free(thread);
    log_info("stopped");
    return EX_OK;
}
