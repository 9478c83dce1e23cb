#include "engineio_private.h"

#include "must.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- a session, for a user of the module -------------------------------------------------------- */

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
    server->spare_fd = -1;
    engineio_keep_spare(server);
    session_begin_all(server);
    address_begin(server);
    if (transport_begin(server) < 0) {
        engineio_free(server);
        return NULL;
    }
    return server;
}

void
engineio_free(struct engineio *server)
{
    if (!server)
        return;
    listener_stop(server);
    server->stopping = false; /* nobody is told of the end any more */
    session_drop_all(server);
    transport_end(server);
    address_end(server);
    session_end_all(server);
    ev_timer_stop(server->loop, &server->grace);
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    free(server);
}

void
engineio_keep_spare(struct engineio *server)
{
    if (server->spare_fd < 0)
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void
engineio_check_done(struct engineio *server)
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
    session_send_all_away(server);
    /* When nobody was connected, it is over before it began. */
    if (!server->leaving)
        engineio_check_done(server);
}
