/* listener -- where clients come in: TCP addresses and unix sockets.
 *
 * Connections are accepted here and handed to libwebsockets (transport.c), so that listening, its
 * limits and its end are ours. */
#include "engineio_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_AT_ONCE 64

void
listener_stop(struct engineio *server)
{
    for (; server->n_listeners; server->n_listeners--) {
        ev_io *io = &server->listeners[server->n_listeners - 1].io;
        ev_io_stop(server->loop, io);
        close(io->fd);
    }
}

static void
accept_some(struct ev_loop *loop, ev_io *io, int revents)
{
    struct listener *listener = io->data;
    struct engineio *server = listener->server;

    (void)loop;
    (void)revents;
    engineio_keep_spare(server);
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && server->spare_fd >= 0) {
            /* At the limit of descriptors the listener would stay readable for ever: take the
             * connection with the spare one and let it go. */
            close(server->spare_fd);
            server->spare_fd = -1;
            fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0)
                close(fd);
            engineio_keep_spare(server);
            continue;
        }
        if (fd < 0)
            return;
        if (listener->tcp) {
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        }
        transport_accept(server, fd);
    }
}

static int
listen_at(struct engineio *server, int fd, const struct sockaddr *at, socklen_t len, bool tcp)
{
    int on = 1;

    if (server->n_listeners == MAX_LISTENERS) {
        errno = ENOBUFS;
        return -1;
    }
    if (tcp) { /* also while the one that we replace still listens */
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (bind(fd, at, len) < 0 || listen(fd, SOMAXCONN) < 0)
        return -1;
    struct listener *listener = &server->listeners[server->n_listeners++];
    listener->server = server;
    listener->tcp = tcp;
    ev_io_init(&listener->io, accept_some, fd, EV_READ);
    /* What comes on connections that are there was sent before what comes on a new one. */
    ev_set_priority(&listener->io, EV_MINPRI);
    listener->io.data = listener;
    ev_io_start(server->loop, &listener->io);
    return 0;
}

static void
listener_drop_last(struct engineio *server)
{
    ev_io *io = &server->listeners[--server->n_listeners].io;
    int    why = errno;

    ev_io_stop(server->loop, io);
    close(io->fd);
    errno = why;
}

static int
close_keeping_errno(int fd)
{
    int why = errno;

    close(fd);
    errno = why;
    return -1;
}

int
engineio_listen_tcp(struct engineio *server, const char *address, unsigned port)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *at;
    char            service[8];

    snprintf(service, sizeof(service), "%u", port);
    if (port > 65535 || getaddrinfo(address, service, &hints, &at) != 0) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int bound = fd < 0 ? -1 : listen_at(server, fd, at->ai_addr, at->ai_addrlen, true);
    freeaddrinfo(at);
    return fd >= 0 && bound < 0 ? close_keeping_errno(fd) : bound;
}

int
engineio_listen_unix(struct engineio *server, const char *path, unsigned mode)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int                len = snprintf(at.sun_path, sizeof(at.sun_path), "%s.new", path);

    if (len < 0 || (size_t)len >= sizeof(at.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    unlink(at.sun_path); /* of a process that died without doing so */
    mode_t old = umask((mode_t)~mode & 0777);
    int    bound = listen_at(server, fd, (const struct sockaddr *)&at, sizeof(at), false);
    umask(old);
    /* One that we replace was to be reached there until now; no connection is refused in between. */
    if (bound == 0 && rename(at.sun_path, path) != 0) {
        listener_drop_last(server);
        return -1;
    }
    return bound < 0 ? close_keeping_errno(fd) : 0;
}
