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
#include "transport_private.h"

#include "must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(FRAME_HEAD_ROOM >= LWS_PRE, "a frame has room for libwebsockets' header");

#define RX_BYTES    512 /* a WebSocket's read buffer: most messages are short */
#define TX_BYTES    65536
#define KEEPALIVE_S 75 /* longer than a proxy keeps idle connections: it is to close first */
#define REQUEST_S   20

/* -- a connection and its session part ---------------------------------------------------------- */

void
conn_detach(struct conn *conn)
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
    polling_unwatch(conn);
    conn_detach(conn);
    lapse_remove(&conn->closing);
    free(conn->body);
    *conn = (struct conn){0};
    engineio_check_done(server);
}

void
conn_append(struct conn *conn, const void *data, size_t len)
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

void
conn_forget_body(struct conn *conn)
{
    free(conn->body);
    conn->body = NULL;
    conn->len = conn->room = 0;
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
        return polling_request(server, wsi, conn);
    case LWS_CALLBACK_HTTP_BODY:
        return polling_body(server, conn, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return polling_body_complete(server, wsi, conn);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return polling_writable(server, wsi, conn);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        session_settle(server);
        return websocket_confirm(server, wsi, in);
    case LWS_CALLBACK_ADD_HEADERS:
        return handover_accept(server, wsi, in);
    case LWS_CALLBACK_ESTABLISHED:
        return websocket_begin(server, wsi, conn);
    case LWS_CALLBACK_RECEIVE:
        return websocket_received(server, wsi, conn, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return websocket_writable(conn);
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
        /* The session is over; the connection may wait for the client's close frame for a while. */
        if (conn && conn->server) {
            conn_detach(conn);
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

/* -- what sessions want of it ------------------------------------------------------------------- */

static void
close_the_hard_way(struct lapse_queue *q, struct lapse_node *node)
{
    (void)q;
    transport_kill(TABLE_OWNER(node, struct conn, closing));
}

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

    lapse_begin(&server->closing, server->loop, LINGER_MS, close_the_hard_way, server);
    handover_begin_all(server);
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
    lapse_end(&server->closing);
    lapse_end(&server->handovers);
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
    return ws->awaiting || lws_partial_buffered(ws->wsi);
}

void
transport_want_write(struct conn *conn)
{
    if (conn->role == CONN_POLL) {
        polling_unwatch(conn);
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
    handover_end(ws);
    ws->role = CONN_CLOSING;
    ws->status = code;
    lapse_add(&ws->server->closing, &ws->closing, clock_us());
    lws_callback_on_writable(ws->wsi);
}

void
transport_kill(struct conn *conn)
{
    handover_end(conn);
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
