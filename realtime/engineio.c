#include "engineio_private.h"

#include "codec.h"
#include "must.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_BODY_MAX 1000000 /* of one answer; the rest waits for the next poll */

/* -- sessions begin and end --------------------------------------------------------------------- */

bool
session_room_left(const struct engineio *server)
{
    size_t max = server->settings.max_sessions;

    return !server->stopping && (!max || server->n_open < max);
}

const struct engineio_endpoint *
session_endpoint(struct engineio *server, const char *path, size_t len)
{
    for (size_t i = 0; i < server->n_endpoints; i++) {
        const char *mine = server->endpoints[i].path;
        size_t      n = strlen(mine);
        /* With or without the last slash, as clients may be told to leave it out. */
        if ((len == n || len + 1 == n) && memcmp(path, mine, len) == 0)
            return &server->endpoints[i];
    }
    return NULL;
}

struct engineio_session *
session_open(struct engineio *server, const struct engineio_endpoint *endpoint, const char *address,
             struct conn *ws)
{
    struct engineio_session *s = must_alloc(sizeof(*s));
    char                     id[MUST_ID_LEN + 1];

    must_id(id);
    snprintf(s->sid, sizeof(s->sid), "%.24s%s", server->settings.sid_prefix, id);
    snprintf(s->address_text, sizeof(s->address_text), "%s", address);
    s->server = server;
    s->endpoint = endpoint;
    s->ws = ws;
    s->close_code = LWS_CLOSE_STATUS_NORMAL;
    table_add(&server->sessions, &s->by_sid, s->sid, strlen(s->sid));
    s->address = address_of(server, address);
    address_take(s->address);
    server->n_open++;
    lapse_add(&server->pings, &s->heartbeat, lapse_now_us());
    return s;
}

size_t
session_handshake(const struct engineio_session *s, char *out, size_t room)
{
    const struct engineio_settings *set = &s->server->settings;
    int n = snprintf(out, room,
                     "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%u,\"pingTimeout\":%u,"
                     "\"maxPayload\":%zu}",
                     s->sid, s->ws ? "" : "\"websocket\"", set->ping_interval_ms,
                     set->ping_timeout_ms, set->max_payload_bytes);

    return (size_t)n;
}

static void
free_session(struct engineio_session *s)
{
    table_remove(&s->server->sessions, &s->by_sid);
    lapse_remove(&s->heartbeat);
    frame_queue_end(&s->queue);
    free(s);
}

void
session_leave(struct engineio_session *s, const char *reason, enum session_end end,
              unsigned short close_code)
{
    if (s->state != SESSION_OPEN)
        return;
    s->state = SESSION_LEAVING;
    s->reason = reason;
    s->end = end;
    s->close_code = close_code;
    lapse_remove(&s->heartbeat);
    lapse_remove(&s->upgrade);
    s->next_leaving = s->server->leaving;
    s->server->leaving = s;
}

/* Takes a connection away from its session. */
static struct conn *
let_go(struct conn **slot)
{
    struct conn *conn = *slot;

    *slot = NULL;
    if (conn)
        conn->session = NULL;
    return conn;
}

/* What the poll of an ending session is answered: all that is queued, or a last word.  Never both in
 * one answer: clients act on a close packet before they look at the messages that came with it. */
static char *
farewell_body(struct engineio_session *s, size_t *len)
{
    if (s->queue.n)
        return session_poll_body(s, len);
    char *body = must_resize(NULL, 1);
    *body = s->end == END_ASKED ? '6' : '1';
    *len = 1;
    return body;
}

/* The end of a session, at the end of the turn in which somebody decided it. */
static void
reap(struct engineio_session *s)
{
    struct engineio *server = s->server;
    struct conn     *conn;

    if (s->endpoint->handlers->close)
        s->endpoint->handlers->close(s, s->endpoint->app, s->reason);
    server->n_open--;
    address_give_back(server, s->address);
    s->address = NULL;

    if ((conn = let_go(&s->probe)))
        transport_close(conn, LWS_CLOSE_STATUS_NORMAL);
    let_go(&s->post);
    if ((conn = let_go(&s->ws))) {
        if (s->end == END_AT_ONCE)
            transport_kill(conn);
        else {
            /* libwebsockets keeps what the kernel does not take, and closes behind it. */
            struct frame *f;
            while ((f = frame_queue_pop(&s->queue))) {
                transport_write(conn, f);
                frame_unref(f);
            }
            transport_close(conn, s->close_code);
        }
        free_session(s);
        return;
    }

    bool heard = s->end == END_AT_ONCE; /* as well as it ever will */
    if (heard)
        frame_queue_end(&s->queue);
    if ((conn = let_go(&s->poll))) {
        size_t len;
        heard |= !s->queue.n;
        char *body = farewell_body(s, &len);
        transport_answer(conn, body, len);
    }
    if (heard) {
        free_session(s);
        return;
    }
    s->state = SESSION_LINGERING;
    lapse_add(&server->lingering, &s->heartbeat, lapse_now_us());
}

void
session_settle(struct engineio *server)
{
    if (!server->leaving)
        return;
    while (server->leaving) {
        struct engineio_session *s = server->leaving;
        server->leaving = s->next_leaving;
        reap(s);
    }
    session_check_done(server);
}

static void
turn_is_over(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)loop;
    (void)revents;
    session_settle(w->data);
}

static void
linger_is_over(struct lapse_queue *q, struct lapse_node *node)
{
    struct engineio *server = q->owner;

    free_session(TABLE_OWNER(node, struct engineio_session, heartbeat));
    session_check_done(server);
}

/* -- heartbeat ---------------------------------------------------------------------------------- */

static void
send_ping(struct lapse_queue *q, struct lapse_node *node)
{
    struct engineio         *server = q->owner;
    struct engineio_session *s = TABLE_OWNER(node, struct engineio_session, heartbeat);

    /* Counted from when the ping was due: a slow loop takes no time from the client, and gives none. */
    lapse_add(&server->pongs, node, node->due_us);
    engineio_send(s, server->ping);
}

static void
no_pong(struct lapse_queue *q, struct lapse_node *node)
{
    (void)q;
    session_leave(TABLE_OWNER(node, struct engineio_session, heartbeat), "ping timeout", END_AT_ONCE,
                  LWS_CLOSE_STATUS_NORMAL);
}

static bool
overdue(const struct engineio_session *s)
{
    const struct lapse_node *node = &s->heartbeat;
    int64_t                  due_us = node->due_us;

    if (node->queue == &s->server->pings)
        due_us += s->server->pongs.length_us;
    else if (node->queue != &s->server->pongs)
        return false;
    return lapse_now_us() >= due_us;
}

static void
upgrade_takes_too_long(struct lapse_queue *q, struct lapse_node *node)
{
    struct engineio_session *s = TABLE_OWNER(node, struct engineio_session, upgrade);

    (void)q;
    s->probed = false;
    transport_close(let_go(&s->probe), LWS_CLOSE_STATUS_NORMAL);
}

/* -- what comes in ------------------------------------------------------------------------------ */

static void
parse_error(struct engineio_session *s)
{
    session_leave(s, "parse error", s->ws ? END_POLITELY : END_AT_ONCE,
                  LWS_CLOSE_STATUS_PROTOCOL_ERR);
}

static void
deliver(struct engineio_session *s, const char *data, size_t len, bool binary)
{
    const struct engineio_endpoint *e = s->endpoint;

    if (e->handlers->message)
        e->handlers->message(s, e->app, data, len, binary);
}

static void
receive(struct engineio_session *s, const struct enginepacket *packet)
{
    switch (packet->type) {
    case ENGINEPACKET_MESSAGE:
        if (packet->base64) {
            char  *bytes = must_resize(NULL, CODEC_BYTES_LEN(packet->len));
            size_t len;
            if (codec_base64_decode(bytes, &len, packet->data, packet->len))
                deliver(s, bytes, len, true);
            else
                parse_error(s);
            free(bytes);
        } else
            deliver(s, packet->data, packet->len, false);
        break;
    case ENGINEPACKET_PONG:
        lapse_add(&s->server->pings, &s->heartbeat, lapse_now_us());
        break;
    case ENGINEPACKET_CLOSE:
        session_leave(s, "transport close", END_ASKED, LWS_CLOSE_STATUS_NORMAL);
        break;
    case ENGINEPACKET_OPEN:
    case ENGINEPACKET_PING: /* protocol 4 has the server ping */
        parse_error(s);
        break;
    case ENGINEPACKET_UPGRADE:
    case ENGINEPACKET_NOOP:
        break;
    }
}

bool
session_posted(struct engineio_session *s, const char *body, size_t len)
{
    struct enginepacket_reader reader = {body, body + len};
    struct enginepacket        packet;
    int                        more = -1;

    if (codec_utf8_valid(body, len))
        while (s->state == SESSION_OPEN && (more = enginepacket_next(&reader, &packet)) > 0)
            receive(s, &packet);
    if (more < 0)
        parse_error(s);
    return more >= 0 && !(s->state == SESSION_LEAVING && s->end == END_AT_ONCE);
}

/* A probing WebSocket says 2probe, hears 3probe, and says 5: from then on it is the transport. */
static void
probe_message(struct engineio_session *s, struct conn *probe, const struct enginepacket *packet)
{
    if (packet->type == ENGINEPACKET_PING && packet->len == 5 &&
        memcmp(packet->data, "probe", 5) == 0) {
        char         *text;
        struct frame *f = engineio_text_frame(6, &text);

        memcpy(text, "3probe", 6);
        transport_write(probe, f);
        frame_unref(f);
        s->probed = true;
        if (s->poll)
            transport_want_write(s->poll);
        return;
    }
    if (packet->type != ENGINEPACKET_UPGRADE || !s->probed) {
        s->probed = false;
        lapse_remove(&s->upgrade);
        transport_close(let_go(&s->probe), LWS_CLOSE_STATUS_PROTOCOL_ERR);
        return;
    }

    lapse_remove(&s->upgrade);
    s->probed = false;
    s->probe = NULL;
    s->ws = probe;
    probe->role = CONN_WS;
    let_go(&s->post);
    struct conn *poll = let_go(&s->poll);
    if (poll) {
        char *noop = must_resize(NULL, 1);
        *noop = '6';
        transport_answer(poll, noop, 1);
    }
    if (s->queue.n)
        transport_want_write(probe);
}

void
session_ws_message(struct engineio_session *s, struct conn *conn, const char *data, size_t len,
                   bool binary)
{
    struct enginepacket packet = {.type = ENGINEPACKET_MESSAGE};

    if (s->state != SESSION_OPEN)
        return;
    if (binary && conn == s->ws) {
        deliver(s, data, len, true);
        return;
    }
    bool sound = !binary && codec_utf8_valid(data, len) && enginepacket_decode(data, len, &packet);
    if (conn == s->probe) {
        if (!sound)
            packet.type = ENGINEPACKET_NOOP; /* anything but a probe */
        probe_message(s, conn, &packet);
    } else if (sound)
        receive(s, &packet);
    else
        parse_error(s);
}

/* -- what goes out ------------------------------------------------------------------------------ */

struct frame *
engineio_text_frame(size_t len, char **text)
{
    struct frame *f = frame_new(len, false);

    *text = f->data;
    return f;
}

void
engineio_send(struct engineio_session *s, struct frame *f)
{
    if (s->state != SESSION_OPEN)
        return;
    if (s->ws && !s->queue.n && !transport_busy(s->ws)) {
        if (transport_write(s->ws, f) < 0)
            session_leave(s, "transport error", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return;
    }
    if (s->queue.bytes >= s->server->settings.max_queue_bytes) {
        session_leave(s, "slow client", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return;
    }
    frame_queue_push(&s->queue, f);
    s->had_backlog = true;
    if (s->ws)
        transport_want_write(s->ws);
    else if (s->poll)
        transport_want_write(s->poll);
}

static void
drained(struct engineio_session *s)
{
    const struct engineio_endpoint *e = s->endpoint;

    if (s->queue.n || !s->had_backlog || s->state != SESSION_OPEN)
        return;
    s->had_backlog = false;
    if (e->handlers->drain)
        e->handlers->drain(s, e->app);
}

void
session_ws_writable(struct engineio_session *s)
{
    if (s->state != SESSION_OPEN)
        return;
    while (s->queue.n && !transport_busy(s->ws)) {
        struct frame *f = frame_queue_pop(&s->queue);
        int           sent = transport_write(s->ws, f);
        frame_unref(f);
        if (sent < 0) {
            session_leave(s, "transport error", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
            return;
        }
    }
    if (s->queue.n)
        transport_want_write(s->ws);
    drained(s);
}

char *
session_poll_body(struct engineio_session *s, size_t *len)
{
    size_t        room = 0, take = 0;
    struct frame *f;

    /* Measured first, so that one allocation does.  At least one frame, however long. */
    for (unsigned i = 0; i < s->queue.n; i++) {
        f = s->queue.ring[(s->queue.head + i) & (s->queue.room - 1)];
        size_t n = 1 + (f->binary ? 1 + CODEC_BASE64_LEN(f->len) : f->len);
        if (take && room + n > POLL_BODY_MAX)
            break;
        room += n;
        take++;
    }

    char *body = must_resize(NULL, room + 1), *at = body;
    if (!take)
        *at++ = '6'; /* what an upgrade, or nothing at all, has to say */
    for (; take; take--) {
        f = frame_queue_pop(&s->queue);
        if (at > body)
            *at++ = ENGINEPACKET_SEPARATOR;
        if (f->binary) {
            *at++ = 'b';
            at += codec_base64_encode(at, f->data, f->len);
        } else {
            memcpy(at, f->data, f->len);
            at += f->len;
        }
        frame_unref(f);
    }
    *len = (size_t)(at - body);
    drained(s);
    return body;
}

bool
session_poll(struct engineio_session *s, struct conn *conn, char **body, size_t *len)
{
    if (s->state == SESSION_LINGERING) {
        bool last = !s->queue.n;
        *body = farewell_body(s, len);
        if (last)
            free_session(s);
        return true;
    }
    if (s->poll) {
        /* The first poll gets a close packet when the session is reaped; this one gets 400. */
        session_leave(s, "transport error", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return false;
    }
    if (s->queue.n || s->probed)
        *body = session_poll_body(s, len);
    else {
        s->poll = conn;
        *body = NULL;
    }
    return true;
}

/* -- what a user of the module calls ------------------------------------------------------------ */

struct engineio_session *
session_find(struct engineio *server, const struct engineio_endpoint *endpoint, const char *sid,
             size_t len)
{
    struct table_node *found = table_find(&server->sessions, sid, len);

    if (!found)
        return NULL;
    struct engineio_session *s = TABLE_OWNER(found, struct engineio_session, by_sid);
    if (s->endpoint != endpoint || s->state == SESSION_LEAVING)
        return NULL;
    if (s->state == SESSION_OPEN && overdue(s)) {
        session_leave(s, "ping timeout", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return NULL;
    }
    if (s->poll && transport_hung_up(s->poll)) {
        session_leave(s, "transport close", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return NULL;
    }
    return s;
}

void
session_conn_gone(struct engineio_session *s, struct conn *conn)
{
    bool was_transport = conn == s->ws || conn == s->poll || conn == s->post;

    if (conn == s->probe) {
        s->probed = false;
        lapse_remove(&s->upgrade);
        s->probe = NULL;
    }
    if (conn == s->ws)
        s->ws = NULL;
    if (conn == s->poll)
        s->poll = NULL;
    if (conn == s->post)
        s->post = NULL;
    conn->session = NULL;
    if (was_transport)
        session_leave(s, "transport close", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
}

void
engineio_close(struct engineio_session *s, const char *reason, bool politely)
{
    session_leave(s, reason, politely ? END_POLITELY : END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
}

const char *
engineio_sid(const struct engineio_session *s)
{
    return s->sid;
}

const char *
engineio_address(const struct engineio_session *s)
{
    return s->address_text;
}

size_t
engineio_backlog(const struct engineio_session *s)
{
    return s->queue.bytes;
}

void
engineio_set_data(struct engineio_session *s, void *data)
{
    s->data = data;
}

void *
engineio_data(const struct engineio_session *s)
{
    return s->data;
}

size_t
engineio_count(const struct engineio *server)
{
    return server->n_open;
}

/* -- the server --------------------------------------------------------------------------------- */

static void
close_the_hard_way(struct lapse_queue *q, struct lapse_node *node)
{
    (void)q;
    transport_kill(TABLE_OWNER(node, struct conn, closing));
}

struct engineio *
engineio_new(struct ev_loop *loop, const struct engineio_settings *settings,
             const struct engineio_endpoint *endpoints, size_t n)
{
    struct engineio *server = must_alloc(sizeof(*server));

    assert(n <= MAX_ENDPOINTS);
    server->loop = loop;
    server->settings = *settings;
    if (!server->settings.sid_prefix)
        server->settings.sid_prefix = "";
    memcpy(server->endpoints, endpoints, n * sizeof(*endpoints));
    server->n_endpoints = n;
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->ping = frame_new(1, false);
    server->ping->data[0] = '2';
    lapse_begin(&server->pings, loop, settings->ping_interval_ms, send_ping, server);
    lapse_begin(&server->pongs, loop, settings->ping_timeout_ms, no_pong, server);
    lapse_begin(&server->upgrades, loop, settings->upgrade_timeout_ms, upgrade_takes_too_long, server);
    lapse_begin(&server->lingering, loop, LINGER_MS, linger_is_over, server);
    lapse_begin(&server->closing, loop, LINGER_MS, close_the_hard_way, server);
    address_begin(server);
    ev_prepare_init(&server->reaper, turn_is_over);
    server->reaper.data = server;
    ev_prepare_start(loop, &server->reaper);
    if (transport_begin(server) < 0) {
        engineio_free(server);
        return NULL;
    }
    return server;
}

static void
drop_session(struct table_node *node, void *arg)
{
    struct engineio_session *s = TABLE_OWNER(node, struct engineio_session, by_sid);

    (void)arg;
    session_leave(s, "server shutting down", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
    if (s->state == SESSION_LINGERING)
        free_session(s);
}

void
engineio_free(struct engineio *server)
{
    if (!server)
        return;
    listener_stop(server);
    server->stopping = false; /* nobody is told of the end any more */
    table_each(&server->sessions, drop_session, NULL);
    session_settle(server);
    transport_end(server);
    address_end(server);
    lapse_end(&server->pings);
    lapse_end(&server->pongs);
    lapse_end(&server->upgrades);
    lapse_end(&server->lingering);
    lapse_end(&server->closing);
    ev_prepare_stop(server->loop, &server->reaper);
    ev_timer_stop(server->loop, &server->grace);
    frame_unref(server->ping);
    table_end(&server->sessions);
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    free(server);
}

void
session_check_done(struct engineio *server)
{
    if (!server->stopping || server->sessions.n || server->closing.head || !server->done)
        return;
    void (*done)(void *) = server->done;
    server->done = NULL;
    ev_timer_stop(server->loop, &server->grace);
    done(server->done_arg);
}

static void
grace_is_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct engineio *server = timer->data;
    void (*done)(void *) = server->done;

    (void)loop;
    (void)revents;
    server->done = NULL;
    if (done)
        done(server->done_arg);
}

static void
send_away(struct table_node *node, void *arg)
{
    (void)arg;
    session_leave(TABLE_OWNER(node, struct engineio_session, by_sid), "server shutting down",
                  END_POLITELY, LWS_CLOSE_STATUS_GOINGAWAY);
}

void
engineio_shutdown(struct engineio *server, unsigned grace_ms, void (*done)(void *arg), void *arg)
{
    if (server->stopping)
        return;
    server->stopping = true;
    server->done = done;
    server->done_arg = arg;
    listener_stop(server);
    ev_timer_init(&server->grace, grace_is_over, grace_ms / 1e3, 0.);
    server->grace.data = server;
    ev_timer_start(server->loop, &server->grace);
    table_each(&server->sessions, send_away, NULL);
    /* When nobody was connected, it is over before it began. */
    if (!server->leaving)
        session_check_done(server);
}
