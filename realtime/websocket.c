/* websocket -- the WebSocket transport: how it begins, and what it brings.  What it takes goes by
 * transport_write. */
#include "transport_private.h"

#include <stdlib.h>
#include <strings.h>

int
websocket_confirm(struct engineio *server, struct lws *wsi, const char *protocol)
{
    char        *path = NULL;
    int          path_len = 0;
    char         address[46];
    enum problem why;

    if (strcasecmp(protocol, "websocket") != 0 ||
        lws_http_get_uri_and_method(wsi, &path, &path_len) != LWSHUMETH_GET)
        return -1; /* no HTTP/2 on this socket */
    const struct engineio_endpoint *endpoint = session_endpoint(server, path, (size_t)path_len);
    struct query                    q = request_query(wsi);
    if (!endpoint)
        why = NOT_FOUND;
    else if (!q.websocket)
        why = q.polling ? BAD_REQUEST : UNKNOWN_TRANSPORT;
    else if (!q.eio4)
        why = BAD_VERSION;
    else if (q.has_sid) {
        if (session_find(server, endpoint, q.sid, q.sid_len))
            return 0;
        why = UNKNOWN_SID;
    } else if (!session_room_left(server))
        why = FULL;
    else {
        request_address(server, wsi, address);
        if (address_admit(server, address))
            return 0;
        why = TOO_MANY;
    }
    return answer_problem_only(server, wsi, why, true) < 0 ? -1 : 1;
}

int
websocket_begin(struct engineio *server, struct lws *wsi, struct conn *conn)
{
    char *path = NULL;
    int   path_len = 0;
    char  address[46];

    conn->server = server;
    conn->wsi = wsi;
    if (lws_http_get_uri_and_method(wsi, &path, &path_len) < 0)
        return -1;
    conn->endpoint = session_endpoint(server, path, (size_t)path_len);
    if (!conn->endpoint)
        return -1;
    if (handover_offered(server, wsi))
        handover_await(conn);
    struct query q = request_query(wsi);
    if (q.has_sid) {
        struct engineio_session *s = session_find(server, conn->endpoint, q.sid, q.sid_len);
        if (!s)
            return -1;
        if (s->state != SESSION_OPEN || s->ws || s->probe) {
            transport_close(conn, LWS_CLOSE_STATUS_NORMAL); /* one WebSocket a session */
            return 0;
        }
        s->probe = conn;
        conn->session = s;
        conn->role = CONN_PROBE;
        lapse_add(&server->upgrades, &s->upgrade, clock_us());
        return 0;
    }

    request_address(server, wsi, address);
    struct engineio_session *s = session_open(server, conn->endpoint, address, conn);
    conn->session = s;
    conn->role = CONN_WS;
    struct frame *f = frame_new(256, false);
    f->len = session_handshake(s, f->data, 256);
    engineio_send(s, f);
    frame_unref(f);
    if (conn->endpoint->handlers->open)
        conn->endpoint->handlers->open(s, conn->endpoint->app);
    return 0;
}

int
websocket_received(struct engineio *server, struct lws *wsi, struct conn *conn, const char *data,
                   size_t len)
{
    bool   binary = lws_frame_is_binary(wsi);
    bool   complete = lws_is_final_fragment(wsi);
    size_t to_come = lws_remaining_packet_payload(wsi);

    if (!conn->session || (conn->role != CONN_WS && conn->role != CONN_PROBE))
        return 0; /* it is being closed */
    if (conn->len + len + to_come > server->settings.max_payload_bytes) {
        conn_forget_body(conn);
        session_leave(conn->session, "transport error", END_POLITELY,
                      LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
        return 0;
    }
    if (complete && !conn->len) {
        session_ws_message(conn->session, conn, len ? data : "", len, binary);
        return 0;
    }
    conn_append(conn, data, len);
    if (complete) {
        /* The handlers may come back here for another message, so the body is taken out first. */
        char  *body = conn->body;
        size_t n = conn->len;
        conn->body = NULL;
        conn->len = conn->room = 0;
        session_ws_message(conn->session, conn, body, n, binary);
        free(body);
    }
    return 0;
}

int
websocket_writable(struct conn *conn)
{
    if (conn->role == CONN_CLOSING) {
        conn->role = CONN_NONE; /* once: a second time would not wait for the client's close frame */
        lws_close_reason(conn->wsi, (enum lws_close_status)conn->status, NULL, 0);
        return -1;
    }
    if (conn->role == CONN_WS && conn->session && !conn->awaiting)
        session_ws_writable(conn->session);
    return 0;
}
