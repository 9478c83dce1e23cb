/* session -- how an Engine.IO session begins, stays alive and ends (the drawing is in engineio.h).  What
 * goes through it is in sessionio.c. */
#include "engineio_private.h"

#include "must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- it begins ---------------------------------------------------------------------------------- */

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
    lapse_add(&server->pings, &s->heartbeat, clock_us());
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

/* -- it ends ------------------------------------------------------------------------------------ */

void
session_free(struct engineio_session *s)
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

struct conn *
session_let_go(struct conn **slot)
{
    struct conn *conn = *slot;

    *slot = NULL;
    if (conn)
        conn->session = NULL;
    return conn;
}

char *
session_farewell_body(struct engineio_session *s, size_t *len)
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

    if ((conn = session_let_go(&s->probe)))
        transport_close(conn, LWS_CLOSE_STATUS_NORMAL);
    session_let_go(&s->post);
    if ((conn = session_let_go(&s->ws))) {
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
        session_free(s);
        return;
    }

    bool heard = s->end == END_AT_ONCE; /* as well as it ever will */
    if (heard)
        frame_queue_end(&s->queue);
    if ((conn = session_let_go(&s->poll))) {
        size_t len;
        heard |= !s->queue.n;
        char *body = session_farewell_body(s, &len);
        transport_answer(conn, body, len);
    }
    if (heard) {
        session_free(s);
        return;
    }
    s->state = SESSION_LINGERING;
    lapse_add(&server->lingering, &s->heartbeat, clock_us());
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
    engineio_check_done(server);
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

    session_free(TABLE_OWNER(node, struct engineio_session, heartbeat));
    engineio_check_done(server);
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
    return clock_us() >= due_us;
}

static void
upgrade_takes_too_long(struct lapse_queue *q, struct lapse_node *node)
{
    struct engineio_session *s = TABLE_OWNER(node, struct engineio_session, upgrade);

    (void)q;
    s->probed = false;
    transport_close(session_let_go(&s->probe), LWS_CLOSE_STATUS_NORMAL);
}

/* -- all of a server -------------------------------------------------------------------------- */

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
session_begin_all(struct engineio *server)
{
    const struct engineio_settings *set = &server->settings;

    server->ping = frame_new(1, false);
    server->ping->data[0] = '2';
    lapse_begin(&server->pings, server->loop, set->ping_interval_ms, send_ping, server);
    lapse_begin(&server->pongs, server->loop, set->ping_timeout_ms, no_pong, server);
    lapse_begin(&server->upgrades, server->loop, set->upgrade_timeout_ms, upgrade_takes_too_long, server);
    lapse_begin(&server->lingering, server->loop, LINGER_MS, linger_is_over, server);
    ev_prepare_init(&server->reaper, turn_is_over);
    server->reaper.data = server;
    ev_prepare_start(server->loop, &server->reaper);
}

static void
drop(struct table_node *node, void *arg)
{
    struct engineio_session *s = TABLE_OWNER(node, struct engineio_session, by_sid);

    (void)arg;
    session_leave(s, "server shutting down", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
    if (s->state == SESSION_LINGERING)
        session_free(s);
}

void
session_drop_all(struct engineio *server)
{
    table_each(&server->sessions, drop, NULL);
    session_settle(server);
}

static void
send_away(struct table_node *node, void *arg)
{
    (void)arg;
    session_leave(TABLE_OWNER(node, struct engineio_session, by_sid), "server shutting down",
                  END_POLITELY, LWS_CLOSE_STATUS_GOINGAWAY);
}

void
session_send_all_away(struct engineio *server)
{
    table_each(&server->sessions, send_away, NULL);
}

void
session_end_all(struct engineio *server)
{
    lapse_end(&server->pings);
    lapse_end(&server->pongs);
    lapse_end(&server->upgrades);
    lapse_end(&server->lingering);
    ev_prepare_stop(server->loop, &server->reaper);
    frame_unref(server->ping);
    table_end(&server->sessions);
}
