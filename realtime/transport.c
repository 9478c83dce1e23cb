/* transport -- Engine.IO's two transports on libwebsockets 4.1.
 *
 * libwebsockets needs some care here, all of it learned from its source (v4.1.6):
 *
 * - Connections are accepted by us and adopted, which leaves listening, its limits and its end to us.
 * - Its own timers are late on libev: an armed hrtimer is never moved to an earlier time.  What must
 *   happen in time here has timers of its own (lapse), and what must end is shut down, so that its
 *   event loop notices.
 * - While a request is answered (LRS_DOING_TRANSACTION) it does not read: a client that hangs up on a
 *   waiting poll would go unnoticed, and keep the loop busy.  A waiting poll's socket is therefore
 *   taken out of its hands (flow control) and watched by a watcher of our own.
 * - lws_http_transaction_completed frees the connection's struct conn: nothing may touch it afterwards.
 * - lws_write keeps what the kernel did not take, in a copy.  Only a transport that is not busy is
 *   written to, so that this happens at most once a backlog. */
#include "engineio_private.h"

#include "must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

_Static_assert(FRAME_HEAD_ROOM >= LWS_PRE, "a frame has room for libwebsockets' header");

#define HEADERS_BYTES   8192
#define DISCARD_BYTES   (8 << 20) /* of a body too long, read so that the client hears why */
#define RX_BYTES        512       /* a WebSocket's read buffer: most messages are short */
#define TX_BYTES        65536
#define KEEPALIVE_S     75 /* longer than a proxy keeps idle connections: it is to close first */
#define REQUEST_S       20

/* -- what a request says ------------------------------------------------------------------------ */

struct query {
    bool   eio4, polling, websocket, has_sid;
    size_t sid_len;
    char   sid[MAX_SID_LEN + 1];
};

static struct query
read_query(struct lws *wsi)
{
    struct query q = {0};
    char         arg[HEADERS_BYTES];
    int          len;

    for (int i = 0; (len = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i)) > 0; i++) {
        if (len >= (int)sizeof(arg) ||
            lws_hdr_copy_fragment(wsi, arg, sizeof(arg), WSI_TOKEN_HTTP_URI_ARGS, i) < 0)
            continue;
        if (strncmp(arg, "EIO=", 4) == 0)
            q.eio4 = strcmp(arg + 4, "4") == 0;
        else if (strncmp(arg, "transport=", 10) == 0) {
            q.polling = strcmp(arg + 10, "polling") == 0;
            q.websocket = strcmp(arg + 10, "websocket") == 0;
        } else if (strncmp(arg, "sid=", 4) == 0) {
            q.has_sid = true;
            q.sid_len = strlen(arg + 4);
            if (q.sid_len >= sizeof(q.sid))
                q.sid_len = 0; /* nobody's */
            memcpy(q.sid, arg + 4, q.sid_len);
        }
    }
    return q;
}

static void
client_address(struct engineio *server, struct lws *wsi, char out[static 46])
{
    struct sockaddr_storage peer;
    socklen_t               len = sizeof(peer);
    unsigned char           ignored[16];

    if (server->settings.trust_real_ip &&
        lws_hdr_copy(wsi, out, 46, WSI_TOKEN_HTTP_X_REAL_IP) > 0 &&
        (inet_pton(AF_INET, out, ignored) == 1 || inet_pton(AF_INET6, out, ignored) == 1))
        return;
    out[0] = '\0';
    if (getpeername(lws_get_socket_fd(wsi), (struct sockaddr *)&peer, &len) == 0) {
        if (peer.ss_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, out, 46);
        else if (peer.ss_family == AF_INET6)
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, out, 46);
    }
    if (!out[0])
        snprintf(out, 46, "local");
}

/* -- answers ------------------------------------------------------------------------------------ */

static const char *
status_text(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 411: return "Length Required";
    case 413: return "Payload Too Large";
    case 429: return "Too Many Requests";
    case 503: return "Service Unavailable";
    }
    return "Error";
}

/* The CORS headers for this request's origin, if it is one of ours. */
static void
cors_headers(struct engineio *server, struct lws *wsi, char *out, size_t room)
{
    char origin[256];

    *out = '\0';
    if (!server->settings.origins || lws_hdr_copy(wsi, origin, sizeof(origin), WSI_TOKEN_ORIGIN) <= 0)
        return;
    for (const char *const *allowed = server->settings.origins; *allowed; allowed++) {
        bool any = strcmp(*allowed, "*") == 0;
        if (any || strcmp(*allowed, origin) == 0) {
            snprintf(out, room, "Access-Control-Allow-Origin: %s\r\n%s", any ? "*" : origin,
                     any ? "" : "Vary: Origin\r\n");
            return;
        }
    }
}

/* What libwebsockets is going to do after the answer; a client that keeps a pool of connections must
 * hear of it, or it sends its next request to a connection that is being closed. */
static const char *
connection_header(struct lws *wsi, bool closing)
{
    char version[12], wish[24];
    bool old = lws_hdr_copy(wsi, version, sizeof(version), WSI_TOKEN_HTTP) <= 0 ||
               strcmp(version, "HTTP/1.1") != 0;

    if (lws_hdr_copy(wsi, wish, sizeof(wish), WSI_TOKEN_CONNECTION) <= 0)
        wish[0] = '\0';
    if (closing || strcasecmp(wish, "close") == 0 || (old && strcasecmp(wish, "keep-alive") != 0))
        return "Connection: close\r\n";
    return old ? "Connection: keep-alive\r\n" : "";
}

/* Writes a whole answer; the caller completes the transaction, or closes the connection. */
static int
write_answer(struct engineio *server, struct lws *wsi, unsigned status, const char *type,
             const char *body, size_t len, bool closing)
{
    char  cors[384];
    char *out = must_resize(NULL, LWS_PRE + 1024 + len), *at = out + LWS_PRE;
    int   n;

    cors_headers(server, wsi, cors, sizeof(cors));
    n = snprintf(at, 1024,
                 "HTTP/1.1 %u %s\r\n%s%s%sContent-Length: %zu\r\nCache-Control: no-store\r\n%s%s\r\n",
                 status, status_text(status), len ? "Content-Type: " : "", len ? type : "",
                 len ? "\r\n" : "", len, connection_header(wsi, closing), cors);
    if (len)
        memcpy(at + n, body, len);
    int sent = lws_write(wsi, (unsigned char *)at, (size_t)n + len, LWS_WRITE_HTTP_HEADERS);
    free(out);
    return sent < 0 ? -1 : 0;
}

/* Answers and goes on to the connection's next request: the value is a callback's. */
static int
answer(struct engineio *server, struct lws *wsi, unsigned status, const char *body, size_t len)
{
    if (write_answer(server, wsi, status, "text/plain; charset=UTF-8", body, len, false) < 0)
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

/* The Node server's errors: its code, its sentence, and our status. */
enum problem {
    UNKNOWN_TRANSPORT,
    UNKNOWN_SID,
    BAD_METHOD,
    BAD_REQUEST,
    BAD_VERSION,
    NOT_FOUND,
    NO_LENGTH,
    TOO_LARGE,
    TOO_MANY,
    FULL,
    N_PROBLEMS
};

static const struct {
    unsigned    status;
    const char *body;
} problems[N_PROBLEMS] = {
    [UNKNOWN_TRANSPORT] = {400, "{\"code\":0,\"message\":\"Transport unknown\"}"},
    [UNKNOWN_SID] = {400, "{\"code\":1,\"message\":\"Session ID unknown\"}"},
    [BAD_METHOD] = {400, "{\"code\":2,\"message\":\"Bad handshake method\"}"},
    [BAD_REQUEST] = {400, "{\"code\":3,\"message\":\"Bad request\"}"},
    [BAD_VERSION] = {400, "{\"code\":5,\"message\":\"Unsupported protocol version\"}"},
    [NOT_FOUND] = {404, "{\"code\":3,\"message\":\"Not found\"}"},
    [NO_LENGTH] = {411, "{\"code\":3,\"message\":\"Length required\"}"},
    [TOO_LARGE] = {413, "{\"code\":3,\"message\":\"Payload too large\"}"},
    [TOO_MANY] = {429, "{\"code\":4,\"message\":\"Too many connections\"}"},
    [FULL] = {503, "{\"code\":4,\"message\":\"No room for more connections\"}"},
};

static int
write_problem(struct engineio *server, struct lws *wsi, enum problem p, bool closing)
{
    return write_answer(server, wsi, problems[p].status, "application/json", problems[p].body,
                        strlen(problems[p].body), closing);
}

static int
refuse(struct engineio *server, struct lws *wsi, enum problem p)
{
    if (write_problem(server, wsi, p, false) < 0)
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

/* Answers, and closes the connection behind it: for requests whose body nobody wants to read. */
static int
refuse_and_close(struct engineio *server, struct lws *wsi, enum problem p)
{
    write_problem(server, wsi, p, true);
    return -1;
}

/* -- a connection and its session part ---------------------------------------------------------- */

static void
unwatch(struct conn *conn)
{
    if (conn->watching)
        ev_io_stop(conn->server->loop, &conn->hangup);
    conn->watching = false;
}

static void
detach(struct conn *conn)
{
    if (conn->session)
        session_conn_gone(conn->session, conn);
}

/* libwebsockets is about to free this. */
static void
conn_end(struct conn *conn)
{
    if (!conn || !conn->server)
        return;
    struct engineio *server = conn->server;
    unwatch(conn);
    detach(conn);
    lapse_remove(&conn->closing);
    free(conn->body);
    *conn = (struct conn){0};
    session_check_done(server);
}

static void
append(struct conn *conn, const void *data, size_t len)
{
    if (!len)
        return;
    if (conn->room - conn->len < len) {
        size_t room = conn->room ? conn->room * 2 : 1024;
        while (room - conn->len < len)
            room *= 2;
        conn->body = must_resize(conn->body, room);
        conn->room = room;
    }
    memcpy(conn->body + conn->len, data, len);
    conn->len += len;
}

static void
forget_body(struct conn *conn)
{
    free(conn->body);
    conn->body = NULL;
    conn->len = conn->room = 0;
}

/* -- HTTP --------------------------------------------------------------------------------------- */

static void
watched_poll_is_readable(struct ev_loop *loop, ev_io *io, int revents)
{
    struct conn *conn = io->data;

    (void)loop;
    (void)revents;
    if (transport_hung_up(conn)) {
        detach(conn);
        transport_kill(conn);
    } else
        unwatch(conn); /* it sent its next request already; that one has to wait */
}

static int
start_polling(struct engineio *server, struct lws *wsi, struct conn *conn,
              struct engineio_session *s)
{
    char  *body = NULL;
    size_t len = 0;

    if (!session_poll(s, conn, &body, &len))
        return refuse(server, wsi, BAD_REQUEST);
    if (body) {
        int go_on = answer(server, wsi, 200, body, len);
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

    client_address(server, wsi, address);
    if (!address_admit(server, address))
        return refuse(server, wsi, TOO_MANY);
    struct engineio_session *s = session_open(server, endpoint, address, NULL);
    size_t                   len = session_handshake(s, packet, sizeof(packet));
    int                      go_on = answer(server, wsi, 200, packet, len);
    if (endpoint->handlers->open)
        endpoint->handlers->open(s, endpoint->app);
    return go_on;
}

static int
answer_preflight(struct engineio *server, struct lws *wsi)
{
    char cors[384], out[LWS_PRE + 768];

    cors_headers(server, wsi, cors, sizeof(cors));
    int n = snprintf(out + LWS_PRE, sizeof(out) - LWS_PRE,
                     "HTTP/1.1 204 No Content\r\n%s%s%s\r\n",
                     connection_header(wsi, false), cors,
                     *cors ? "Access-Control-Allow-Methods: GET, POST\r\n"
                             "Access-Control-Allow-Headers: Content-Type\r\n"
                           : "");
    if (lws_write(wsi, (unsigned char *)out + LWS_PRE, (size_t)n, LWS_WRITE_HTTP_HEADERS) < 0)
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

/* The declared length of a request's body; -1: there is none declared, -2: not a number. */
static long long
content_length(struct lws *wsi)
{
    char text[16];
    int  len = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH);

    if (!len)
        return -1;
    if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 || len > 12 ||
        strspn(text, "0123456789") != strlen(text))
        return -2;
    return strtoll(text, NULL, 10);
}

/* A POST is answered when its body is complete; what is wrong with it is known before. */
static int
post_begin(struct engineio *server, struct lws *wsi, struct conn *conn, const struct query *q)
{
    long long len = content_length(wsi);
    bool      refused = true;
    enum problem why;

    if (len < 0)
        return refuse_and_close(server, wsi, len == -1 ? NO_LENGTH : BAD_REQUEST);
    if (len > DISCARD_BYTES)
        return refuse_and_close(server, wsi, TOO_LARGE);

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

static int
post_complete(struct engineio *server, struct lws *wsi, struct conn *conn)
{
    if (conn->role == CONN_REFUSED)
        return refuse(server, wsi, (enum problem)conn->status);
    struct engineio_session *s = conn->session;
    if (!s)
        return refuse(server, wsi, UNKNOWN_SID); /* it ended while the body came */
    s->post = NULL;
    conn->session = NULL;
    bool sound = session_posted(s, conn->body ? conn->body : "", conn->len);
    forget_body(conn);
    return sound ? answer(server, wsi, 200, "ok", 2) : refuse(server, wsi, BAD_REQUEST);
}

static int
http_request(struct engineio *server, struct lws *wsi, struct conn *conn)
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
        return refuse_and_close(server, wsi, NO_LENGTH);

    struct query q = read_query(wsi);
    if (method == LWSHUMETH_POST)
        return post_begin(server, wsi, conn, &q);
    if (content_length(wsi) > 0 || content_length(wsi) == -2 ||
        (method != LWSHUMETH_GET && method != LWSHUMETH_OPTIONS))
        return refuse_and_close(server, wsi, conn->endpoint ? BAD_METHOD : NOT_FOUND);
    if (!conn->endpoint)
        return refuse(server, wsi, NOT_FOUND);
    if (method == LWSHUMETH_OPTIONS)
        return answer_preflight(server, wsi);
    if (!q.polling)
        return refuse(server, wsi, q.websocket ? BAD_REQUEST : UNKNOWN_TRANSPORT);
    if (!q.eio4)
        return refuse(server, wsi, BAD_VERSION);
    if (!q.has_sid)
        return session_room_left(server) ? open_polling(server, wsi, conn->endpoint)
                                         : refuse(server, wsi, FULL);
    struct engineio_session *s = session_find(server, conn->endpoint, q.sid, q.sid_len);
    if (!s)
        return refuse(server, wsi, UNKNOWN_SID);
    if (s->ws)
        return refuse(server, wsi, BAD_REQUEST);
    return start_polling(server, wsi, conn, s);
}

static int
http_body(struct engineio *server, struct conn *conn, const void *data, size_t len)
{
    if (conn->role == CONN_POST && conn->session) {
        if (conn->len + len > server->settings.max_payload_bytes)
            return -1; /* more than it said */
        append(conn, data, len);
    }
    return 0;
}

static int
http_writable(struct engineio *server, struct lws *wsi, struct conn *conn)
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
    int go_on = answer(server, wsi, 200, body, len);
    free(body);
    return go_on;
}

/* -- WebSocket ---------------------------------------------------------------------------------- */

/* Whether a WebSocket may begin; what is wrong is answered as HTTP.  The value is that of
 * LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: 0 go on, 1 answered, -1 hang up. */
static int
confirm_upgrade(struct engineio *server, struct lws *wsi, const char *protocol)
{
    char        *path = NULL;
    int          path_len = 0;
    char         address[46];
    enum problem why;

    if (strcasecmp(protocol, "websocket") != 0 ||
        lws_http_get_uri_and_method(wsi, &path, &path_len) != LWSHUMETH_GET)
        return -1; /* no HTTP/2 on this socket */
    const struct engineio_endpoint *endpoint = session_endpoint(server, path, (size_t)path_len);
    struct query                    q = read_query(wsi);
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
        client_address(server, wsi, address);
        if (address_admit(server, address))
            return 0;
        why = TOO_MANY;
    }
    return write_problem(server, wsi, why, true) < 0 ? -1 : 1;
}

static int
ws_established(struct engineio *server, struct lws *wsi, struct conn *conn)
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
    struct query q = read_query(wsi);
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
        lapse_add(&server->upgrades, &s->upgrade, lapse_now_us());
        return 0;
    }

    client_address(server, wsi, address);
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

static int
ws_received(struct engineio *server, struct lws *wsi, struct conn *conn, const char *data, size_t len)
{
    bool   binary = lws_frame_is_binary(wsi);
    bool   complete = lws_is_final_fragment(wsi);
    size_t to_come = lws_remaining_packet_payload(wsi);

    if (!conn->session || (conn->role != CONN_WS && conn->role != CONN_PROBE))
        return 0; /* it is being closed */
    if (conn->len + len + to_come > server->settings.max_payload_bytes) {
        forget_body(conn);
        session_leave(conn->session, "transport error", END_POLITELY,
                      LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
        return 0;
    }
    if (complete && !conn->len) {
        session_ws_message(conn->session, conn, len ? data : "", len, binary);
        return 0;
    }
    append(conn, data, len);
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

static int
ws_writable(struct conn *conn)
{
    if (conn->role == CONN_CLOSING) {
        conn->role = CONN_NONE; /* once: a second time would not wait for the client's close frame */
        lws_close_reason(conn->wsi, (enum lws_close_status)conn->status, NULL, 0);
        return -1;
    }
    if (conn->role == CONN_WS && conn->session)
        session_ws_writable(conn->session);
    return 0;
}

/* -- libwebsockets' one callback ---------------------------------------------------------------- */

static int
callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct conn     *conn = user;
    struct engineio *server = lws_context_user(lws_get_context(wsi));

    switch (reason) {
    case LWS_CALLBACK_HTTP:
        session_settle(server);
        return http_request(server, wsi, conn);
    case LWS_CALLBACK_HTTP_BODY:
        return http_body(server, conn, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return post_complete(server, wsi, conn);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return http_writable(server, wsi, conn);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        session_settle(server);
        return confirm_upgrade(server, wsi, in);
    case LWS_CALLBACK_ESTABLISHED:
        return ws_established(server, wsi, conn);
    case LWS_CALLBACK_RECEIVE:
        return ws_received(server, wsi, conn, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return ws_writable(conn);
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
        /* The session is over; the connection may wait for the client's close frame for a while. */
        if (conn && conn->server) {
            detach(conn);
            conn->role = CONN_NONE;
        }
        return 0;
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_WSI_DESTROY:
        conn_end(conn);
        return 0;
    default:
        return 0;
    }
}

/* -- what engineio.c calls ---------------------------------------------------------------------- */

int
transport_begin(struct engineio *server)
{
    static const struct lws_protocols protocols[] = {
        {.name = "engineio",
         .callback = callback,
         .per_session_data_size = sizeof(struct conn),
         .rx_buffer_size = RX_BYTES,
         .tx_packet_size = TX_BYTES},
        {.name = NULL},
    };
    /* Engine.IO has its own heartbeat. */
    static const lws_retry_bo_t       no_keepalive = {0};
    void                             *loops[] = {server->loop};
    struct lws_context_creation_info  info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .foreign_loops = loops,
        .user = server,
        .gid = -1,
        .uid = -1,
        .keepalive_timeout = KEEPALIVE_S,
        .timeout_secs = REQUEST_S,
        .max_http_header_data2 = HEADERS_BYTES,
        .pt_serv_buf_size = 16384,
        .retry_and_idle_policy = &no_keepalive,
    };

    /* What its log tells beyond start-up is told by strangers: anybody could fill a disk with it. */
    lws_set_log_level(LLL_ERR, NULL);
    server->context = lws_create_context(&info);
    if (!server->context)
        return -1;
    server->vhost = lws_get_vhost_by_name(server->context, "default");
    lws_set_log_level(0, NULL);
    return server->vhost ? 0 : -1;
}

void
transport_end(struct engineio *server)
{
    if (server->context)
        lws_context_destroy(server->context);
    server->context = NULL;
}

void
transport_accept(struct engineio *server, int fd)
{
    struct lws_pollfd readable = {.fd = fd, .events = LWS_POLLIN, .revents = LWS_POLLIN};

    if (!lws_adopt_socket_vhost(server->vhost, fd))
        return; /* it has closed it */
    /* The request is mostly there already.  Read now, those who came first are served first: libev
     * calls back for the last of several descriptors first. */
    lws_service_fd(server->context, &readable);
    /* What libwebsockets has stashed of it is seen to by its idle watcher, which an event starts. */
    if (!lws_service_adjust_timeout(server->context, 1, 0))
        lws_cancel_service(server->context);
}

int
transport_write(struct conn *ws, struct frame *f)
{
    return lws_write(ws->wsi, (unsigned char *)f->data, f->len,
                     f->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
}

bool
transport_busy(struct conn *ws)
{
    return lws_partial_buffered(ws->wsi);
}

void
transport_want_write(struct conn *conn)
{
    if (conn->role == CONN_POLL) {
        unwatch(conn);
        lws_rx_flow_control(conn->wsi, 1); /* it is not called back while it is flow controlled */
    }
    lws_callback_on_writable(conn->wsi);
}

void
transport_answer(struct conn *poll, char *body, size_t len)
{
    transport_want_write(poll);
    poll->role = CONN_ANSWER;
    poll->body = body;
    poll->len = len;
}

void
transport_close(struct conn *ws, unsigned short code)
{
    ws->role = CONN_CLOSING;
    ws->status = code;
    lapse_add(&ws->server->closing, &ws->closing, lapse_now_us());
    lws_callback_on_writable(ws->wsi);
}

void
transport_kill(struct conn *conn)
{
    transport_want_write(conn);
    conn->role = CONN_CLOSING;
    conn->status = LWS_CLOSE_STATUS_ABNORMAL_CLOSE;
    shutdown(lws_get_socket_fd(conn->wsi), SHUT_RDWR);
}

bool
transport_hung_up(struct conn *poll)
{
    char    c;
    ssize_t n = recv(lws_get_socket_fd(poll->wsi), &c, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}
