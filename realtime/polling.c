/* polling -- the HTTP long-polling transport: GETs that wait for something to say, POSTs that bring it.
 *
 * While a request is answered libwebsockets does not read (transport.c), so a waiting poll's socket is
 * taken out of its hands and watched here. */
#include "transport_private.h"

#include <stdlib.h>
#include <string.h>

#define DISCARD_BYTES (8 << 20) /* of a body too long, read so that the client hears why */

/* -- a GET that waits --------------------------------------------------------------------------- */

void
polling_unwatch(struct conn *conn)
{
    if (conn->watching)
        ev_io_stop(conn->server->loop, &conn->hangup);
    conn->watching = false;
}

static void
watched_poll_is_readable(struct ev_loop *loop, ev_io *io, int revents)
{
    struct conn *conn = io->data;

    (void)loop;
    (void)revents;
    if (transport_hung_up(conn)) {
        conn_detach(conn);
        transport_kill(conn);
    } else
        polling_unwatch(conn); /* it sent its next request already; that one has to wait */
}

static int
start_polling(struct engineio *server, struct lws *wsi, struct conn *conn,
              struct engineio_session *s)
{
    char  *body = NULL;
    size_t len = 0;

    if (!session_poll(s, conn, &body, &len))
        return answer_problem(server, wsi, BAD_REQUEST);
    if (body) {
        int go_on = answer_text(server, wsi, 200, body, len);
        free(body);
        return go_on;
    }
    conn->session = s;
    conn->role = CONN_POLL;
    lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
    lws_rx_flow_control(wsi, 0);
    ev_io_init(&conn->hangup, watched_poll_is_readable, lws_get_socket_fd(wsi), EV_READ);
    conn->hangup.data = conn;
    conn->watching = true;
    ev_io_start(server->loop, &conn->hangup);
    return 0;
}

static int
open_polling(struct engineio *server, struct lws *wsi, const struct engineio_endpoint *endpoint)
{
    char address[46], packet[256];

    request_address(server, wsi, address);
    if (!address_admit(server, address))
        return answer_problem(server, wsi, TOO_MANY);
    struct engineio_session *s = session_open(server, endpoint, address, NULL);
    size_t                   len = session_handshake(s, packet, sizeof(packet));
    int                      go_on = answer_text(server, wsi, 200, packet, len);
    if (endpoint->handlers->open)
        endpoint->handlers->open(s, endpoint->app);
    return go_on;
}

/* -- a POST ------------------------------------------------------------------------------------- */

/* A POST is answered when its body is complete; what is wrong with it is known before. */
static int
post_begin(struct engineio *server, struct lws *wsi, struct conn *conn, const struct query *q)
{
    long long len = request_body_len(wsi);
    bool      refused = true;
    enum problem why;

    if (len < 0)
        return answer_problem_and_close(server, wsi, len == -1 ? NO_LENGTH : BAD_REQUEST);
    if (len > DISCARD_BYTES)
        return answer_problem_and_close(server, wsi, TOO_LARGE);

    struct engineio_session *s = NULL;
    if (!conn->endpoint)
        why = NOT_FOUND;
    else if (!q->polling)
        why = q->websocket ? BAD_REQUEST : UNKNOWN_TRANSPORT;
    else if (!q->eio4)
        why = BAD_VERSION;
    else if (!q->has_sid)
        why = BAD_METHOD;
    else if ((size_t)len > server->settings.max_payload_bytes)
        why = TOO_LARGE;
    else if (!(s = session_find(server, conn->endpoint, q->sid, q->sid_len)))
        why = UNKNOWN_SID;
    else if (s->ws || s->state != SESSION_OPEN)
        why = BAD_REQUEST;
    else if (s->post) {
        why = BAD_REQUEST; /* two at once could overtake each other */
        session_leave(s, "transport error", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
    } else {
        refused = false;
        why = BAD_REQUEST;
        s->post = conn;
        conn->session = s;
    }
    conn->role = refused ? CONN_REFUSED : CONN_POST;
    conn->status = (unsigned short)why;
    return 0;
}

int
polling_body_complete(struct engineio *server, struct lws *wsi, struct conn *conn)
{
    if (conn->role == CONN_REFUSED)
        return answer_problem(server, wsi, (enum problem)conn->status);
    struct engineio_session *s = conn->session;
    if (!s)
        return answer_problem(server, wsi, UNKNOWN_SID); /* it ended while the body came */
    s->post = NULL;
    conn->session = NULL;
    bool sound = session_posted(s, conn->body ? conn->body : "", conn->len);
    conn_forget_body(conn);
    return sound ? answer_text(server, wsi, 200, "ok", 2) : answer_problem(server, wsi, BAD_REQUEST);
}

int
polling_body(struct engineio *server, struct conn *conn, const void *data, size_t len)
{
    if (conn->role == CONN_POST && conn->session) {
        if (conn->len + len > server->settings.max_payload_bytes)
            return -1; /* more than it said */
        conn_append(conn, data, len);
    }
    return 0;
}

/* -- what libwebsockets' callback hands on ------------------------------------------------------ */

int
polling_request(struct engineio *server, struct lws *wsi, struct conn *conn)
{
    char *path = NULL;
    int   path_len = 0;
    int   method = lws_http_get_uri_and_method(wsi, &path, &path_len);

    conn->server = server;
    conn->wsi = wsi;
    if (method < 0 || path_len < 0)
        return -1;
    conn->endpoint = session_endpoint(server, path, (size_t)path_len);
    /* libwebsockets knows no chunked bodies: what follows would be taken for another request. */
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        return answer_problem_and_close(server, wsi, NO_LENGTH);

    struct query q = request_query(wsi);
    if (method == LWSHUMETH_POST)
        return post_begin(server, wsi, conn, &q);
    if (request_body_len(wsi) > 0 || request_body_len(wsi) == -2 ||
        (method != LWSHUMETH_GET && method != LWSHUMETH_OPTIONS))
        return answer_problem_and_close(server, wsi, conn->endpoint ? BAD_METHOD : NOT_FOUND);
    if (!conn->endpoint)
        return answer_problem(server, wsi, NOT_FOUND);
    if (method == LWSHUMETH_OPTIONS)
        return answer_preflight(server, wsi);
    if (!q.polling)
        return answer_problem(server, wsi, q.websocket ? BAD_REQUEST : UNKNOWN_TRANSPORT);
    if (!q.eio4)
        return answer_problem(server, wsi, BAD_VERSION);
    if (!q.has_sid)
        return session_room_left(server) ? open_polling(server, wsi, conn->endpoint)
                                         : answer_problem(server, wsi, FULL);
    struct engineio_session *s = session_find(server, conn->endpoint, q.sid, q.sid_len);
    if (!s)
        return answer_problem(server, wsi, UNKNOWN_SID);
    if (s->ws)
        return answer_problem(server, wsi, BAD_REQUEST);
    return start_polling(server, wsi, conn, s);
}

int
polling_writable(struct engineio *server, struct lws *wsi, struct conn *conn)
{
    char  *body;
    size_t len;

    if (conn->role == CONN_POLL) {
        struct engineio_session *s = conn->session;
        if (!s)
            return -1;
        s->poll = NULL;
        conn->session = NULL;
        body = session_poll_body(s, &len);
    } else if (conn->role == CONN_ANSWER) {
        body = conn->body;
        len = conn->len;
        conn->body = NULL;
    } else
        return conn->role == CONN_CLOSING ? -1 : 0;
    conn->role = CONN_NONE;
    int go_on = answer_text(server, wsi, 200, body, len);
    free(body);
    return go_on;
}
