/* gateway -- selliko-gateway: what happens in auctions, told to those who watch, as it happens.
 *
 *     clients ──Socket.IO──► sockets, rooms ◄──frames── feed (a thread) ◄──── table events
 *                               │      ▲
 *                               └─asks─┘  sessions, who may see what, what was missed (threads)
 *
 * A room is a listing; a signed-in person's own events go to the room of his user id, admins share one.
 * Nobody joins a room by himself but through join_room, which asks the database whether he may see the
 * listing.  Read on in rooms.c (the race that matters), feed.c (what was committed) and people.c; the
 * protocols are engineio.h and socketio.h, which know nothing of Selliko. */
#include "gateway_private.h"

#include "config.h"
#include "db.h"
#include "fileurl.h"
#include "frame.h"
#include "log.h"
#include "metrics.h"
#include "sentry.h"
#include "token.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#define ASKERS         2    /* threads that ask the database */
#define CHECK_S        1.   /* between two slices of sessions */
#define PACKETS_SECOND 50   /* from one client, and … */
#define PACKETS_BURST  300  /* … at once */
#define GRACE_MS       3000 /* for clients to go when we stop */
#define MIN_FILES      65536

struct gateway gw;

static struct {
    ev_signal term, intr;
    ev_timer  check;
    bool      listening;
    int       status; /* to exit with */
    pid_t     keeper; /* who is told when clients can come; 0 for nobody */
} program;

/* -- the program -------------------------------------------------------------------------------- */

static void
all_are_gone(void *arg)
{
    (void)arg;
    ev_break(gw.loop, EVBREAK_ALL);
}

static void
on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)w;
    (void)revents;
    log_info("stopping", log_i("clients", (int64_t)engineio_count(gw.server)));
    ev_timer_stop(loop, &program.check);
    engineio_shutdown(gw.server, GRACE_MS, all_are_gone, NULL);
}

/* GATEWAY_LISTEN: a path, or address:port; where it is a path, *port is 0. */
static void
read_listen(char at[static 256], unsigned *port)
{
    const struct config *c = config();
    char                *colon;

    if (c->gateway_listen)
        snprintf(at, 256, "%s", c->gateway_listen);
    else
        snprintf(at, 256, "%s/run/gateway.sock", c->state_dir);
    *port = 0;
    if (strchr(at, '/') || !(colon = strrchr(at, ':')))
        return;
    *port = (unsigned)strtoul(colon + 1, NULL, 10);
    *colon = '\0';
    if (at[0] == '[' && colon[-1] == ']') { /* [::1]:9000 */
        colon[-1] = '\0';
        memmove(at, at + 1, strlen(at));
    }
}

/* Only our own nginx comes by these ways, so what it says of the client's address can be believed. */
static bool
is_private(const char *at, unsigned port)
{
    return !port || strncmp(at, "127.", 4) == 0 || strcmp(at, "::1") == 0;
}

/* selliko-keep, which started us with --announce, asks the one that we replace to go now. */
static void
tell_keeper(void)
{
    if (program.keeper > 1 && program.keeper == getppid())
        (void)kill(program.keeper, SIGUSR1);
}

static void
begin_listening(void)
{
    char     at[256];
    unsigned port;

    program.listening = true;
    read_listen(at, &port);
    if ((port ? engineio_listen_tcp(gw.server, at, port) : engineio_listen_unix(gw.server, at, 0660)) < 0) {
        log_error("cannot listen", log_s("at", at), log_i("port", port), log_s("detail", strerror(errno)));
        program.status = EX_OSERR;
        ev_break(gw.loop, EVBREAK_ALL);
        return;
    }
    log_info("listening", log_s("at", at), log_i("port", port), log_s("name", config()->gateway_name));
    tell_keeper();
}

static void
deliver(void *arg, const struct payload *list, int n)
{
    (void)arg;
    if (!program.listening)
        begin_listening();
    for (int i = 0; i < n; i++) {
        rooms_tell(&list[i]);
        frame_unref(list[i].frame);
    }
}

/* A connection is a descriptor, here and in nginx. */
static void
allow_many_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    struct rlimit more = {.rlim_cur = MIN_FILES, .rlim_max = limit.rlim_max > MIN_FILES ? limit.rlim_max : MIN_FILES};
    if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
        limit.rlim_cur = limit.rlim_max > MIN_FILES ? MIN_FILES : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool
set_up(void)
{
    const struct config     *c = config();
    struct engineio_settings engine = ENGINEIO_DEFAULTS;
    struct socketio_settings sockets = SOCKETIO_DEFAULTS;
    struct socketio_handlers handlers = {.connect = people_connect,
                                         .event = rooms_event,
                                         .drain = rooms_drain,
                                         .disconnect = people_disconnect,
                                         .room_begins = rooms_begin,
                                         .room_ends = rooms_end};
    static char              prefix[32];
    char                     at[256];
    unsigned                 port;
    bool                     limited = config_limit("bids") || config_limit("send-otp");

    snprintf(prefix, sizeof(prefix), "%.20s-", c->gateway_name);
    engine.sid_prefix = prefix;
    engine.ping_interval_ms = (unsigned)c->gateway_ping_interval_ms;
    engine.ping_timeout_ms = (unsigned)c->gateway_ping_timeout_ms;
    engine.upgrade_timeout_ms = (unsigned)c->gateway_upgrade_timeout_ms;
    engine.max_payload_bytes = sockets.max_binary_bytes = (size_t)c->gateway_max_payload_bytes;
    engine.max_sessions = (size_t)c->gateway_max_clients;
    read_listen(at, &port);
    engine.trust_real_ip = is_private(at, port);
    engine.take_handover = c->gateway_handover;
    sockets.connect_timeout_ms = (unsigned)c->gateway_connect_timeout_ms;
    sockets.rooms_per_socket = ROOMS_MAX;
    if (limited) {
        engine.sessions_per_address = (unsigned)c->gateway_clients_per_address;
        engine.opens_per_address_minute = (unsigned)c->gateway_connects_per_minute;
        sockets.packets_per_second = PACKETS_SECOND;
        sockets.packet_burst = PACKETS_BURST;
    }
    gw.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!gw.loop)
        return false;
    gw.io = socketio_new(gw.loop, &sockets, &handlers, NULL);
    struct engineio_endpoint endpoint = socketio_endpoint(gw.io, "/socket.io/");
    gw.server = engineio_new(gw.loop, &engine, &endpoint, 1);
    return gw.server != NULL;
}

int
main(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--announce") != 0)) {
        fputs("usage: selliko-gateway [--announce]\n", stderr);
        return EX_USAGE;
    }
    if (argc == 2)
        program.keeper = getppid();
    if (!config_load(stderr))
        return EX_CONFIG;
    const struct config *c = config();
    log_open("gateway", c->log_level);
    token_init(c->jwt_secret);
    fileurl_init(c->file_url_secret, c->file_url_secret_old);
    sentry_open(c->sentry_dsn, c->state_dir, "gateway");
    (void)metrics_open(c->state_dir);
    metrics_process("gateway");
    db_init(c->database_url, "gateway", 1, c->db_timeout_s);
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    if (!set_up()) {
        log_error("libwebsockets or libev cannot be set up");
        return EX_SOFTWARE;
    }
    ev_signal_init(&program.term, on_term, SIGTERM);
    ev_signal_start(gw.loop, &program.term);
    ev_signal_init(&program.intr, on_term, SIGINT);
    ev_signal_start(gw.loop, &program.intr);
    ev_timer_init(&program.check, people_check, CHECK_S, CHECK_S);
    ev_timer_start(gw.loop, &program.check);
    gw.asks = asks_begin(gw.loop, ASKERS);
    gw.feed = feed_begin(gw.loop, deliver, NULL);
    ev_run(gw.loop, 0);

    engineio_free(gw.server);
    asks_end(gw.asks);
    socketio_free(gw.io);
    feed_end(gw.feed);
    ev_loop_destroy(gw.loop);
    log_info("stopped");
    return program.status;
}
