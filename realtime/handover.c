/* handover -- a WebSocket that came through nginx becomes a connection to its client: nginx gives us the client's
 * descriptor (ngx_http_handover_module.c has the drawing) and is out of it.
 *
 * nginx offers that in the request, we accept in the 101, and from then on nothing is written, and nothing read, until what
 * nginx sends next is there.  That is the descriptor, which is put in the place of the one that led to nginx: libwebsockets
 * goes on with the same number and does not notice.  Or it is what the client sent, when nginx could not give it; then the
 * connection stays as it is, as it does when nothing came for a while.  A descriptor that comes still later is no frame and
 * ends the WebSocket, and its client connects again: no byte of it can get into the wrong place.
 *
 * The socket that nginx comes by is the guard: who can connect there is believed, also in what address a client has. */
#include "transport_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER  "x-handover:"
#define WAIT_MS 1000

bool
handover_offered(struct engineio *server, struct lws *wsi)
{
    int       domain;
    socklen_t len = sizeof(domain);

    return server->settings.trust_real_ip && server->settings.take_handover &&
           lws_hdr_custom_length(wsi, HEADER, sizeof(HEADER) - 1) > 0 &&
           getsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

int
handover_accept(struct engineio *server, struct lws *wsi, struct lws_process_html_args *answer)
{
    unsigned char *at = (unsigned char *)answer->p;

    if (!handover_offered(server, wsi))
        return 0;
    if (lws_add_http_header_by_name(wsi, (const unsigned char *)HEADER, (const unsigned char *)"yes", 3, &at,
                                    at + answer->max_len) != 0)
        return -1;   /* LCOV_EXCL_LINE: the answer has kilobytes of room, and nothing in it yet */
    answer->max_len -= (int)(at - (unsigned char *)answer->p);
    answer->p = (char *)at;
    return 0;
}

/* Looks at what comes next without taking it.  A descriptor of it, now ours; -1: it brings none; -2: it does, and
 * there is no room for one. */
static int
descriptor_in(int from)
{
    union {
        struct cmsghdr head; /* for its alignment */
        char           room[CMSG_SPACE(sizeof(int))];
    } control;
    char           byte;
    struct iovec   iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr  message = {
         .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = CMSG_LEN(sizeof(int))};
    struct cmsghdr *cmsg;
    int             fd;

    if (recvmsg(from, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
        return -1;
    if (!(cmsg = CMSG_FIRSTHDR(&message)) || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
        cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
        return message.msg_flags & MSG_CTRUNC ? -2 : -1;
    memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
    return fd;
}

void
handover_end(struct conn *conn)
{
    if (!conn->awaiting)
        return;
    conn->awaiting = false;
    polling_unwatch(conn);
    lapse_remove(&conn->closing);
    lws_rx_flow_control(conn->wsi, 1);
    lws_callback_on_writable(conn->wsi); /* what had to wait */
}

/* The client's connection takes the place of nginx's, under its number. */
static bool
replace(struct conn *conn, int fd)
{
    int       own = lws_get_socket_fd(conn->wsi), type = 0, on = 1;
    socklen_t len = sizeof(type);
    bool      done = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
                fcntl(fd, F_SETFL, O_NONBLOCK) == 0;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    polling_unwatch(conn);
    done = done && dup3(fd, own, O_CLOEXEC) == own;
    close(fd);
    /* libev believes that it has this number in its epoll set already.  A watcher that was set anew makes it look. */
    ev_io_set(&conn->hangup, own, EV_READ);
    ev_io_start(conn->server->loop, &conn->hangup);
    ev_io_stop(conn->server->loop, &conn->hangup);
    return done;
}

static void
look(struct conn *conn)
{
    struct engineio *server = conn->server;
    int              own = lws_get_socket_fd(conn->wsi), fd = descriptor_in(own);

    if (fd == -2 && server->spare_fd >= 0) { /* at the limit of descriptors, but this one replaces another */
        close(server->spare_fd);
        server->spare_fd = -1;
        fd = descriptor_in(own);
        if (fd >= 0 && replace(conn, fd))
            fd = -1;
        else if (fd >= 0)
            fd = -2;
        engineio_keep_spare(server);
    } else if (fd >= 0)
        fd = replace(conn, fd) ? -1 : -2;
    handover_end(conn);
    if (fd == -2) { /* nginx has let go of the client, and so have we */
        conn_detach(conn);
        transport_kill(conn);
    }
}

static void
something_came(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    look(io->data);
}

static void
nothing_came(struct lapse_queue *q, struct lapse_node *node)
{
    (void)q;
    look(TABLE_OWNER(node, struct conn, closing)); /* once more: the loop may have been busy for that long */
}

void
handover_await(struct conn *conn)
{
    struct engineio *server = conn->server;

    conn->awaiting = true;
    lws_rx_flow_control(conn->wsi, 0);
    ev_io_init(&conn->hangup, something_came, lws_get_socket_fd(conn->wsi), EV_READ);
    conn->hangup.data = conn;
    conn->watching = true;
    ev_io_start(server->loop, &conn->hangup);
    lapse_add(&server->handovers, &conn->closing, clock_us());
}

void
handover_begin_all(struct engineio *server)
{
    lapse_begin(&server->handovers, server->loop, WAIT_MS, nothing_came, server);
}
