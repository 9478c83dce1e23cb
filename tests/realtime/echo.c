/* echo -- the server that the official conformance suites of socketio/socket.io want to meet.
 *
 *     echo [PORT=3000]
 *
 * /engine.io/ echoes every Engine.IO message.  /socket.io/ has the namespaces / and /custom: on
 * connect it emits "auth" with the connect payload, it answers "message" with "message-back" and the
 * same arguments, and it acknowledges "message-with-ack" with the same arguments.
 *
 * Beyond what the suites use, for our own tests: "join" and "leave" a room, acknowledged; "to-room"
 * sends its arguments, the room's name first, to everyone in that room as "from-room"; a payload
 * {"refuse":true} is refused, {"later":true} is accepted in a while; "flood" sends 100 kB a hundred
 * times; "kick" disconnects.  SIGTERM sends all clients away. */
#include "engineio.h"
#include "socketio.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ev_loop  *loop;
static struct engineio *server;
static struct socketio *io;

static void
engine_message(struct engineio_session *s, void *app, const char *data, size_t len, bool binary)
{
    struct frame *f = frame_new(len + !binary, binary);

    (void)app;
    if (!binary)
        f->data[0] = '4';
    if (len)
        memcpy(f->data + !binary, data, len);
    engineio_send(s, f);
    frame_unref(f);
}

/* [<name>,<args>] for emitting. */
static char *
array(const char *name, const char *args, size_t args_len, size_t *len)
{
    size_t room = strlen(name) + args_len + 8;
    char  *text = malloc(room);

    if (!text)
        abort();
    *len = (size_t)snprintf(text, room, "[\"%s\"%s%.*s]", name, args_len ? "," : "", (int)args_len,
                            args);
    return text;
}

struct waiting {
    ev_timer                timer;
    struct socketio_socket *socket;
    char                   *auth;
    size_t                  len;
};

static void
welcome(struct socketio_socket *k, const char *auth, size_t auth_len)
{
    size_t len;
    char  *text = array("auth", auth, auth_len, &len);

    socketio_accept(k);
    socketio_emit(k, text, len);
    free(text);
}

static void
accept_now(struct ev_loop *l, ev_timer *timer, int revents)
{
    struct waiting *w = timer->data;

    (void)l;
    (void)revents;
    socketio_set_data(w->socket, NULL);
    welcome(w->socket, w->auth, w->len);
    free(w->auth);
    free(w);
}

static bool
has(const char *text, size_t len, const char *what)
{
    return memmem(text, len, what, strlen(what)) != NULL;
}

static void
on_connect(struct socketio_socket *k, void *app, const char *auth, size_t len)
{
    static const char why[] = "{\"message\":\"refused\",\"data\":{\"code\":\"test\"}}";

    (void)app;
    if (has(auth, len, "\"refuse\":true"))
        socketio_refuse(k, why, sizeof(why) - 1);
    else if (has(auth, len, "\"later\":true")) {
        struct waiting *w = calloc(1, sizeof(*w));
        if (!w || !(w->auth = malloc(len)))
            abort();
        memcpy(w->auth, auth, len);
        w->len = len;
        w->socket = k;
        socketio_set_data(k, w);
        ev_timer_init(&w->timer, accept_now, 0.2, 0.);
        w->timer.data = w;
        ev_timer_start(loop, &w->timer);
    } else
        welcome(k, auth, len);
}

/* The first argument, a plain string, as a room's name. */
static bool
room_name(const struct socketio_event *e, char *room, size_t size)
{
    const char *close = e->args_len > 1 && e->args[0] == '"'
                            ? memchr(e->args + 1, '"', e->args_len - 1)
                            : NULL;

    if (!close || (size_t)(close - e->args) > size)
        return false;
    memcpy(room, e->args + 1, (size_t)(close - e->args) - 1);
    room[close - e->args - 1] = '\0';
    return true;
}

static bool
named(const struct socketio_event *e, const char *name)
{
    return e->name_len == strlen(name) && memcmp(e->name, name, e->name_len) == 0;
}

static void
flood(struct socketio_socket *k)
{
    size_t len;
    char  *big = malloc(100000), *text;

    if (!big)
        abort();
    memset(big, 'x', 100000);
    big[0] = big[99999] = '"';
    text = array("flood", big, 100000, &len);
    for (int i = 0; i < 100; i++)
        socketio_emit(k, text, len);
    free(text);
    free(big);
}

static void
on_event(struct socketio_socket *k, void *app, const struct socketio_event *e)
{
    char   room[SOCKETIO_ROOM_MAX + 1];
    size_t len;
    char  *text;

    (void)app;
    if (named(e, "message")) {
        text = array("message-back", e->args, e->args_len, &len);
        if (e->n_blobs)
            socketio_emit_binary(k, text, len, e->blobs, e->n_blobs);
        else
            socketio_emit(k, text, len);
        free(text);
    } else if (named(e, "message-with-ack")) {
        if (e->n_blobs)
            socketio_ack_binary(k, e->ack_id, e->args, e->args_len, e->blobs, e->n_blobs);
        else
            socketio_ack(k, e->ack_id, e->args, e->args_len);
    } else if (named(e, "join") && room_name(e, room, sizeof(room))) {
        bool joined = socketio_join(k, room);
        socketio_ack(k, e->ack_id, joined ? "true" : "false", joined ? 4 : 5);
    } else if (named(e, "leave") && room_name(e, room, sizeof(room))) {
        socketio_leave(k, room);
        socketio_ack(k, e->ack_id, "true", 4);
    } else if (named(e, "to-room") && room_name(e, room, sizeof(room))) {
        text = array("from-room", e->args, e->args_len, &len);
        socketio_emit_room(io, socketio_nsp(k), room, text, len);
        free(text);
    } else if (named(e, "flood"))
        flood(k);
    else if (named(e, "kick"))
        socketio_disconnect(k, true);
}

static void
on_disconnect(struct socketio_socket *k, void *app, const char *reason)
{
    struct waiting *w = socketio_data(k);

    (void)app;
    (void)reason;
    if (w) {
        ev_timer_stop(loop, &w->timer);
        free(w->auth);
        free(w);
    }
}

static void
all_are_gone(void *arg)
{
    (void)arg;
    ev_break(loop, EVBREAK_ALL);
}

static void
on_sigterm(struct ev_loop *l, ev_signal *w, int revents)
{
    (void)l;
    (void)w;
    (void)revents;
    engineio_shutdown(server, 3000, all_are_gone, NULL);
}

int
main(int argc, char **argv)
{
    static const char *const           origins[] = {"*", NULL};
    static const char *const           namespaces[] = {"/", "/custom", NULL};
    static const struct engineio_handlers echo = {.message = engine_message};
    static const struct socketio_handlers handlers = {
        .connect = on_connect, .event = on_event, .disconnect = on_disconnect};
    struct engineio_settings engine = ENGINEIO_DEFAULTS;
    struct socketio_settings sockets = SOCKETIO_DEFAULTS;
    ev_signal                sigterm;
    unsigned                 port = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 3000;

    signal(SIGPIPE, SIG_IGN);
    loop = ev_loop_new(EVFLAG_AUTO);
    engine.ping_interval_ms = 300;
    engine.ping_timeout_ms = 200;
    engine.origins = origins;
    engine.trust_real_ip = true;
    engine.sid_prefix = "echo-";
    sockets.connect_timeout_ms = 1000;
    sockets.namespaces = namespaces;
    /* ECHO_QUIET=1: the Node server's heartbeat, for tests that count connections. */
    if (getenv("ECHO_QUIET")) {
        engine.ping_interval_ms = 25000;
        engine.ping_timeout_ms = 20000;
    }
    if (getenv("ECHO_LIMIT"))
        engine.sessions_per_address = (unsigned)strtoul(getenv("ECHO_LIMIT"), NULL, 10);
    if (getenv("ECHO_RATE")) {
        sockets.packets_per_second = sockets.packet_burst =
            (unsigned)strtoul(getenv("ECHO_RATE"), NULL, 10);
        sockets.rooms_per_socket = 3;
    }
    io = socketio_new(loop, &sockets, &handlers, NULL);
    struct engineio_endpoint endpoints[] = {
        {"/engine.io/", &echo, NULL},
        socketio_endpoint(io, "/socket.io/"),
    };
    server = engineio_new(loop, &engine, endpoints, 2);
    if (!server || (strchr(argc > 1 ? argv[1] : "", '/')
                        ? engineio_listen_unix(server, argv[1], 0600)
                        : engineio_listen_tcp(server, "127.0.0.1", port)) < 0) {
        perror("echo: cannot listen");
        return 1;
    }
    if (!strchr(argc > 1 ? argv[1] : "", '/'))
        engineio_listen_tcp(server, "::1", port); /* "localhost" may mean this one; or there is none */
    ev_signal_init(&sigterm, on_sigterm, SIGTERM);
    ev_signal_start(loop, &sigterm);
    printf("listening\n");
    fflush(stdout);
    ev_run(loop, 0);
    ev_signal_stop(loop, &sigterm);
    engineio_free(server);
    socketio_free(io);
    ev_loop_destroy(loop);
    return 0;
}
