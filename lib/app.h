/* app -- a FastCGI program: its routes and its request loop.
 *
 *     #define ROUTES(X) \
 *         X(POST, "/bids",               place_bid, VENDOR, TAKES_KEY) \
 *         X(GET,  "/listings/{uuid}",    show,      ANYONE, 0)
 *     ROUTES(ROUTE_PROTOTYPE)
 *     ...
 *     APP("bids", ROUTES)
 *
 * A path that no route has is 404, a method that it has not 405; {uuid} takes a UUID only, {name} any
 * one segment of up to 100 bytes.  The loop checks token, session and role before (or with) a handler's first
 * statement, body size and type when the body is read, and wins over a handler's refusal of input: who
 * may not ask does not hear what was wrong with his question.
 *
 * Processes: the listening socket is file descriptor 0 (spawn-fcgi's way).  THREADS threads share one
 * epoll set; an idle kept connection holds no thread.  SIGTERM: no new connections, requests in hand
 * are finished, exit 0. */
#ifndef SELLIKO_APP_H
#define SELLIKO_APP_H

#include "req.h"

/* Who may ask.  ANYONE: also without a token, but a token that is sent must be good. */
enum {
    CLIENT = ROLE_CLIENT, VENDOR = ROLE_VENDOR, AGENT = ROLE_AGENT, ADMIN = ROLE_ADMIN,
    SIGNED_IN = CLIENT | VENDOR | AGENT | ADMIN,
    ANYONE = 0x100,    /* a token is welcome */
    UNASKED = 0x200,   /* no token is looked at (sign-in, webhooks, health) */
};

/* What is special about a route. */
enum {
    TAKES_KEY = 1,     /* Idempotency-Key */
    STREAMS = 2,       /* the handler reads the body itself (req_read; no limit but nginx's) and may work on it for
                        * seconds: such requests have APP_STREAMS_MAX threads more, so that they never keep the
                        * short ones waiting, and what comes beyond is refused at once (503) */
    RAW_BODY = 4,      /* any content type, up to 3 MB (webhooks) */
    CACHEABLE = 8,     /* public pages: an anonymous answer may be kept for a second */
};

/* Photos of about so many forms are worked on before the web server gives up on the last one (60 s). */
enum { APP_STREAMS_MAX = 40 };

struct route {
    const char *method, *pattern;
    reply (*handler)(struct req *r);
    unsigned who, flags;
    struct metrics_route *metrics;
};

#define ROUTE_PROTOTYPE(method, pattern, handler, who, flags) static reply handler(struct req *r);
#define ROUTE_ROW(method, pattern, handler, who, flags) { #method, pattern, handler, who, flags, NULL },

/* Run PROGRAM with its N ROUTES (kept, not copied) until SIGTERM, SIGINT or SIGUSR1.  INIT (may be NULL) is called
 * after configuration, before threads start.  Returns what main returns, of sysexits.h: EX_OK, EX_CONFIG (all that is
 * wrong was said on stderr), EX_USAGE (no listening socket), EX_SOFTWARE or EX_OSERR (libfcgi, threads, descriptors). */
int app_run(const char *program, struct route *routes, size_t n, void (*init)(void));

#define APP_INIT(program, ROUTES, init)                                             \
    int main(void)                                                                  \
    {                                                                               \
        static struct route routes[] = { ROUTES(ROUTE_ROW) };                       \
        return app_run(program, routes, sizeof routes / sizeof routes[0], init);    \
    }
#define APP(program, ROUTES) APP_INIT(program, ROUTES, NULL)

#endif
