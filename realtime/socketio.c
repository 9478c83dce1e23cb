#include "socketio_private.h"

#include "socketpacket.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const socketio_main_only[] = {"/", NULL};

/* A packet whose attachments are still coming. */
struct partial {
    char                *text;
    size_t               len;
    struct socketpacket  packet;
    struct socketio_blob blobs[SOCKETPACKET_MAX_ATTACHMENTS];
    unsigned             n;
    size_t               bytes;
};

/* -- frames ------------------------------------------------------------------------------------- */

static bool
is_main(const char *nsp, size_t len)
{
    return len == 1 && nsp[0] == '/';
}

/* 4<type>[<attachments>-][<nsp>,][<id>]<before><json><after> */
static struct frame *
encode(enum socketpacket_type type, unsigned attachments, const char *nsp, size_t nsp_len, int64_t id,
       const char *before, const char *json, size_t len, const char *after)
{
    char         head[MAX_NSP_LEN + 64];
    char         count[16] = "", ack[24] = "";
    char        *text;
    size_t       before_len = strlen(before), after_len = strlen(after);
    struct frame *f;

    if (type >= SOCKETPACKET_BINARY_EVENT)
        snprintf(count, sizeof(count), "%u-", attachments);
    if (id >= 0)
        snprintf(ack, sizeof(ack), "%lld", (long long)id);
    int n = snprintf(head, sizeof(head), "4%c%s%.*s%s%s", '0' + (int)type, count,
                     is_main(nsp, nsp_len) ? 0 : (int)nsp_len, nsp, is_main(nsp, nsp_len) ? "" : ",",
                     ack);
    f = engineio_text_frame((size_t)n + before_len + len + after_len, &text);
    memcpy(text, head, (size_t)n);
    text += n;
    memcpy(text, before, before_len);
    text += before_len;
    if (len)
        memcpy(text, json, len);
    memcpy(text + len, after, after_len);
    return f;
}

static void
send_and_unref(struct engineio_session *s, struct frame *f)
{
    engineio_send(s, f);
    frame_unref(f);
}

static void
send_blobs(struct engineio_session *s, const struct socketio_blob *blobs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct frame *f = frame_new(blobs[i].len, true);
        if (blobs[i].len)
            memcpy(f->data, blobs[i].data, blobs[i].len);
        send_and_unref(s, f);
    }
}

struct frame *
socketio_frame(const char *nsp, const char *json, size_t len)
{
    return encode(SOCKETPACKET_EVENT, 0, nsp, strlen(nsp), -1, "", json, len, "");
}

void
socketio_send(struct socketio_socket *k, struct frame *f)
{
    if (k->accepted)
        engineio_send(k->session, f);
}

void
socketio_emit_with_ack(struct socketio_socket *k, int64_t id, const char *json, size_t len)
{
    if (k->accepted)
        send_and_unref(k->session, encode(SOCKETPACKET_EVENT, 0, k->nsp, strlen(k->nsp), id, "", json,
                                          len, ""));
}

void
socketio_emit(struct socketio_socket *k, const char *json, size_t len)
{
    socketio_emit_with_ack(k, -1, json, len);
}

void
socketio_emit_binary(struct socketio_socket *k, const char *json, size_t len,
                     const struct socketio_blob *blobs, unsigned n)
{
    if (!k->accepted)
        return;
    send_and_unref(k->session, encode(SOCKETPACKET_BINARY_EVENT, n, k->nsp, strlen(k->nsp), -1, "",
                                      json, len, ""));
    send_blobs(k->session, blobs, n);
}

void
socketio_ack(struct socketio_socket *k, int64_t id, const char *args, size_t len)
{
    if (k->accepted && id >= 0)
        send_and_unref(k->session,
                       encode(SOCKETPACKET_ACK, 0, k->nsp, strlen(k->nsp), id, "[", args, len, "]"));
}

void
socketio_ack_binary(struct socketio_socket *k, int64_t id, const char *args, size_t len,
                    const struct socketio_blob *blobs, unsigned n)
{
    if (!k->accepted || id < 0)
        return;
    send_and_unref(k->session, encode(SOCKETPACKET_BINARY_ACK, n, k->nsp, strlen(k->nsp), id, "[",
                                      args, len, "]"));
    send_blobs(k->session, blobs, n);
}

/* -- sockets come and go ------------------------------------------------------------------------ */

static struct socketio_socket *
find_socket(const struct client *c, const char *nsp, size_t len)
{
    for (struct socketio_socket *k = c->sockets; k; k = k->next)
        if (strlen(k->nsp) == len && memcmp(k->nsp, nsp, len) == 0)
            return k;
    return NULL;
}

static void
unlink_socket(struct socketio_socket *k)
{
    struct socketio_socket **at = &k->client->sockets;

    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
}

static void
end_socket(struct socketio_socket *k, const char *reason)
{
    struct socketio *io = k->client->io;

    unlink_socket(k);
    k->accepted = false;
    socketroom_leave_all(k);
    if (reason && io->handlers.disconnect)
        io->handlers.disconnect(k, io->app, reason);
    free(k);
}

static void
end_session(struct client *c, const char *reason)
{
    engineio_close(c->session, reason, true);
}

static void
join_namespace(struct client *c, const struct socketpacket *packet)
{
    struct socketio        *io = c->io;
    const char *const      *nsp = io->settings.namespaces;
    struct socketio_socket *k;

    if (packet->nsp_len > MAX_NSP_LEN || find_socket(c, packet->nsp, packet->nsp_len)) {
        end_session(c, "parse error"); /* nobody connects twice */
        return;
    }
    while (*nsp && !(strlen(*nsp) == packet->nsp_len && memcmp(*nsp, packet->nsp, packet->nsp_len) == 0))
        nsp++;
    if (!*nsp) {
        static const char why[] = "{\"message\":\"Invalid namespace\"}";
        send_and_unref(c->session, encode(SOCKETPACKET_CONNECT_ERROR, 0, packet->nsp, packet->nsp_len,
                                          -1, "", why, sizeof(why) - 1, ""));
        return;
    }

    k = must_alloc(sizeof(*k));
    k->client = c;
    k->session = c->session;
    k->nsp = *nsp;
    must_id(k->sid);
    k->next = c->sockets;
    c->sockets = k;
    io->handlers.connect(k, io->app, packet->args, packet->args_len);
}

void
socketio_accept(struct socketio_socket *k)
{
    char json[64];
    int  len = snprintf(json, sizeof(json), "{\"sid\":\"%s\"}", k->sid);

    if (k->accepted)
        return;
    k->accepted = true;
    lapse_remove(&k->client->connecting);
    send_and_unref(k->session, encode(SOCKETPACKET_CONNECT, 0, k->nsp, strlen(k->nsp), -1, "", json,
                                      (size_t)len, ""));
}

void
socketio_refuse(struct socketio_socket *k, const char *json, size_t len)
{
    send_and_unref(k->session, encode(SOCKETPACKET_CONNECT_ERROR, 0, k->nsp, strlen(k->nsp), -1, "",
                                      json, len, ""));
    end_socket(k, NULL);
}

void
socketio_disconnect(struct socketio_socket *k, bool close)
{
    struct client *c = k->client;

    send_and_unref(k->session,
                   encode(SOCKETPACKET_DISCONNECT, 0, k->nsp, strlen(k->nsp), -1, "", "", 0, ""));
    end_socket(k, "server namespace disconnect");
    if (close)
        end_session(c, "forced close");
}

void
socketio_drop(struct socketio_socket *k, const char *reason)
{
    end_session(k->client, reason);
}

/* -- what comes in ------------------------------------------------------------------------------ */

static void
dispatch(struct client *c, const struct socketpacket *packet, const struct socketio_blob *blobs,
         unsigned n)
{
    struct socketio        *io = c->io;
    struct socketio_socket *k = find_socket(c, packet->nsp, packet->nsp_len);
    struct socketio_event   event = {packet->name,     packet->name_len, packet->args,
                                     packet->args_len, packet->id,       blobs,
                                     n};

    if (packet->type == SOCKETPACKET_CONNECT) {
        join_namespace(c, packet);
        return;
    }
    if (!k || !k->accepted) {
        end_session(c, "forced close"); /* a namespace that it is not in */
        return;
    }
    switch (packet->type) {
    case SOCKETPACKET_DISCONNECT:
        end_socket(k, "client namespace disconnect");
        break;
    case SOCKETPACKET_EVENT:
    case SOCKETPACKET_BINARY_EVENT:
        io->handlers.event(k, io->app, &event);
        break;
    case SOCKETPACKET_ACK:
    case SOCKETPACKET_BINARY_ACK:
        if (io->handlers.ack)
            io->handlers.ack(k, io->app, &event);
        break;
    default:
        break;
    }
}

static void
free_partial(struct client *c)
{
    struct partial *p = c->partial;

    c->partial = NULL;
    if (!p)
        return;
    for (unsigned i = 0; i < p->n; i++) {
        void *data;
        memcpy(&data, &p->blobs[i].data, sizeof(data)); /* ours, though const to its readers */
        free(data);
    }
    free(p->text);
    free(p);
}

static void
begin_partial(struct client *c, const char *text, size_t len)
{
    struct partial *p = c->partial = must_alloc(sizeof(*p));

    p->text = must_resize(NULL, len);
    memcpy(p->text, text, len);
    p->len = len;
    socketpacket_decode(p->text, len, &p->packet); /* again, to point into the copy */
}

static void
add_attachment(struct client *c, const char *data, size_t len)
{
    struct partial *p = c->partial;

    if (!p || p->bytes + len > c->io->settings.max_binary_bytes) {
        end_session(c, "parse error");
        return;
    }
    char *copy = must_resize(NULL, len);
    if (len)
        memcpy(copy, data, len);
    p->blobs[p->n++] = (struct socketio_blob){copy, len};
    p->bytes += len;
    if (p->n == p->packet.attachments) {
        dispatch(c, &p->packet, p->blobs, p->n);
        free_partial(c);
    }
}

/* Whether the client keeps to its rate. */
static bool
within_rate(struct client *c)
{
    const struct socketio_settings *set = &c->io->settings;

    if (!set->packets_per_second)
        return true;
    int64_t now_us = clock_us();
    c->tokens += (double)(now_us - c->filled_us) * set->packets_per_second / 1e6;
    if (c->tokens > set->packet_burst)
        c->tokens = set->packet_burst;
    c->filled_us = now_us;
    if (c->tokens < 1)
        return false;
    c->tokens -= 1;
    return true;
}

static void
on_message(struct engineio_session *s, void *app, const char *data, size_t len, bool binary)
{
    struct client      *c = engineio_data(s);
    struct socketpacket packet;

    (void)app;
    if (!within_rate(c))
        end_session(c, "too many packets");
    else if (binary)
        add_attachment(c, data, len);
    else if (c->partial || !socketpacket_decode(data, len, &packet))
        end_session(c, "parse error");
    else if (packet.attachments)
        begin_partial(c, data, len);
    else
        dispatch(c, &packet, NULL, 0);
}

static void
on_open(struct engineio_session *s, void *app)
{
    struct socketio *io = app;
    struct client   *c = must_alloc(sizeof(*c));

    c->io = io;
    c->session = s;
    c->tokens = io->settings.packet_burst;
    c->filled_us = clock_us();
    engineio_set_data(s, c);
    lapse_add(&io->connecting, &c->connecting, c->filled_us);
}

static void
on_drain(struct engineio_session *s, void *app)
{
    struct client   *c = engineio_data(s);
    struct socketio *io = app;

    for (struct socketio_socket *k = c->sockets, *next; io->handlers.drain && k; k = next) {
        next = k->next;
        if (k->accepted)
            io->handlers.drain(k, io->app);
    }
}

static void
on_close(struct engineio_session *s, void *app, const char *reason)
{
    struct client *c = engineio_data(s);

    (void)app;
    while (c->sockets)
        end_socket(c->sockets, reason);
    lapse_remove(&c->connecting);
    free_partial(c);
    free(c);
}

static void
connects_to_nothing(struct lapse_queue *q, struct lapse_node *node)
{
    (void)q;
    end_session(TABLE_OWNER(node, struct client, connecting), "forced close");
}

/* -- the server --------------------------------------------------------------------------------- */

struct socketio *
socketio_new(struct ev_loop *loop, const struct socketio_settings *settings,
             const struct socketio_handlers *handlers, void *app)
{
    struct socketio *io = must_alloc(sizeof(*io));

    for (const char *const *nsp = settings->namespaces; *nsp; nsp++)
        assert(strlen(*nsp) <= MAX_NSP_LEN);
    io->loop = loop;
    io->settings = *settings;
    io->handlers = *handlers;
    io->app = app;
    lapse_begin(&io->connecting, loop, settings->connect_timeout_ms, connects_to_nothing, io);
    return io;
}

void
socketio_free(struct socketio *io)
{
    if (!io)
        return;
    lapse_end(&io->connecting);
    table_end(&io->rooms);
    table_end(&io->members);
    free(io);
}

struct engineio_endpoint
socketio_endpoint(struct socketio *io, const char *path)
{
    static const struct engineio_handlers handlers = {
        .open = on_open, .message = on_message, .drain = on_drain, .close = on_close};

    return (struct engineio_endpoint){path, &handlers, io};
}

const char *
socketio_sid(const struct socketio_socket *k)
{
    return k->sid;
}

const char *
socketio_nsp(const struct socketio_socket *k)
{
    return k->nsp;
}

const char *
socketio_address(const struct socketio_socket *k)
{
    return engineio_address(k->session);
}

size_t
socketio_backlog(const struct socketio_socket *k)
{
    return engineio_backlog(k->session);
}

void
socketio_set_data(struct socketio_socket *k, void *data)
{
    k->data = data;
}

void *
socketio_data(const struct socketio_socket *k)
{
    return k->data;
}
