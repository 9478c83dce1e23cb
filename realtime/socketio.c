#include "socketio.h"

#include "lapse.h"
#include "must.h"
#include "socketpacket.h"
#include "table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NSP_LEN 100

const char *const socketio_main_only[] = {"/", NULL};

struct socketio {
    struct ev_loop          *loop;
    struct socketio_settings settings;
    struct socketio_handlers handlers;
    void                    *app;
    struct lapse_queue       connecting; /* clients that have joined no namespace yet */
    struct table             rooms;      /* by namespace and name */
    struct table             members;    /* by room and socket */
};

/* A packet whose attachments are still coming. */
struct partial {
    char                *text;
    size_t               len;
    struct socketpacket  packet;
    struct socketio_blob blobs[SOCKETPACKET_MAX_ATTACHMENTS];
    unsigned             n;
    size_t               bytes;
};

struct client {
    struct socketio         *io;
    struct engineio_session *session;
    struct socketio_socket  *sockets;
    struct partial          *partial;
    struct lapse_node        connecting;
    double                   tokens; /* packets that it may still send */
    int64_t                  filled_us;
};

struct member;

struct socketio_socket {
    struct client          *client;
    struct engineio_session *session; /* the client's */
    struct socketio_socket *next;
    const char             *nsp;
    struct member          *members; /* the rooms that it is in */
    void                   *data;
    unsigned                n_rooms;
    bool                    accepted;
    char                    sid[MUST_ID_LEN + 1];
};

struct room {
    struct table_node by_name;
    struct member   **members;
    unsigned          n, room;
    const char       *name;
    char              key[]; /* namespace, NUL, name, NUL */
};

struct member {
    struct table_node by_pair;
    struct {
        struct room            *room;
        struct socketio_socket *socket;
    } pair;
    unsigned       index; /* in room->members */
    int64_t        sequence; /* of the last numbered event that it was sent */
    struct member *prev, *next;
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

/* -- rooms -------------------------------------------------------------------------------------- */

/* A room's key, for a name that is not too long. */
static size_t
room_key(char key[static MAX_NSP_LEN + SOCKETIO_ROOM_MAX + 2], const char *nsp, const char *name)
{
    return (size_t)snprintf(key, MAX_NSP_LEN + SOCKETIO_ROOM_MAX + 2, "%s%c%.*s", nsp, '\0',
                            SOCKETIO_ROOM_MAX, name);
}

static struct room *
find_room(const struct socketio *io, const char *nsp, const char *name)
{
    char               key[MAX_NSP_LEN + SOCKETIO_ROOM_MAX + 2];
    size_t             len = room_key(key, nsp, name);
    struct table_node *found = table_find(&io->rooms, key, len);

    return found ? TABLE_OWNER(found, struct room, by_name) : NULL;
}

static struct member *
find_member(const struct socketio_socket *k, const struct room *room)
{
    struct {
        const struct room            *room;
        const struct socketio_socket *socket;
    } pair = {room, k};
    struct table_node *found = room ? table_find(&k->client->io->members, &pair, sizeof(pair)) : NULL;

    return found ? TABLE_OWNER(found, struct member, by_pair) : NULL;
}

bool
socketio_join(struct socketio_socket *k, const char *name)
{
    struct socketio *io = k->client->io;
    struct room     *room = find_room(io, k->nsp, name);

    if (find_member(k, room))
        return true;
    if (io->settings.rooms_per_socket && k->n_rooms >= io->settings.rooms_per_socket)
        return false;
    if (!room) {
        char   key[MAX_NSP_LEN + SOCKETIO_ROOM_MAX + 2];
        size_t len = room_key(key, k->nsp, name);
        room = must_alloc(sizeof(*room) + len + 1);
        memcpy(room->key, key, len);
        room->name = room->key + strlen(room->key) + 1;
        table_add(&io->rooms, &room->by_name, room->key, len);
        if (io->handlers.room_begins)
            io->handlers.room_begins(io->app, room->key, room->name);
    }
    if (room->n == room->room) {
        room->room = room->room ? room->room * 2 : 2;
        room->members = must_resize(room->members, room->room * sizeof(struct member *));
    }

    struct member *m = must_alloc(sizeof(*m));
    m->pair.room = room;
    m->pair.socket = k;
    table_add(&io->members, &m->by_pair, &m->pair, sizeof(m->pair));
    m->index = room->n;
    room->members[room->n++] = m;
    m->next = k->members;
    if (m->next)
        m->next->prev = m;
    k->members = m;
    k->n_rooms++;
    return true;
}

static void
part(struct member *m)
{
    struct room            *room = m->pair.room;
    struct socketio_socket *k = m->pair.socket;
    struct socketio        *io = k->client->io;

    /* The last one takes the place of the one that goes. */
    struct member *last = room->members[--room->n];
    room->members[m->index] = last;
    last->index = m->index;
    if (m->prev)
        m->prev->next = m->next;
    else
        k->members = m->next;
    if (m->next)
        m->next->prev = m->prev;
    k->n_rooms--;
    table_remove(&io->members, &m->by_pair);
    free(m);
    if (!room->n) {
        if (io->handlers.room_ends)
            io->handlers.room_ends(io->app, room->key, room->name);
        table_remove(&io->rooms, &room->by_name);
        free(room->members);
        free(room);
    } else if (room->room > 16 && room->n < room->room / 4) {
        room->room /= 2;
        room->members = must_resize(room->members, room->room * sizeof(struct member *));
    }
}

void
socketio_leave(struct socketio_socket *k, const char *name)
{
    struct member *m = find_member(k, find_room(k->client->io, k->nsp, name));

    if (m)
        part(m);
}

bool
socketio_is_in(const struct socketio_socket *k, const char *name)
{
    return find_member(k, find_room(k->client->io, k->nsp, name)) != NULL;
}

unsigned
socketio_emit_room(struct socketio *io, const char *nsp, const char *name, const char *json,
                   size_t len)
{
    struct room *room = find_room(io, nsp, name);

    if (!room)
        return 0;
    /* Nobody leaves the room meanwhile: sessions that fail here are closed at the end of the turn. */
    struct frame *f = socketio_frame(nsp, json, len);
    for (unsigned i = 0; i < room->n; i++)
        engineio_send(room->members[i]->pair.socket->session, f);
    frame_unref(f);
    return room->n;
}

unsigned
socketio_send_room(struct socketio *io, const char *nsp, const char *name, struct frame *f,
                   int64_t sequence)
{
    struct room *room = find_room(io, nsp, name);
    unsigned     n = 0;

    for (unsigned i = 0; room && i < room->n; i++) {
        struct member *m = room->members[i];
        if (sequence && m->sequence >= sequence)
            continue;
        if (sequence)
            m->sequence = sequence;
        engineio_send(m->pair.socket->session, f);
        n++;
    }
    return n;
}

void
socketio_set_sequence(struct socketio_socket *k, const char *name, int64_t sequence)
{
    struct member *m = find_member(k, find_room(k->client->io, k->nsp, name));

    if (m && m->sequence < sequence)
        m->sequence = sequence;
}

int64_t
socketio_sequence(const struct socketio_socket *k, const char *name)
{
    const struct member *m = find_member(k, find_room(k->client->io, k->nsp, name));

    return m ? m->sequence : 0;
}

unsigned
socketio_room_size(const struct socketio *io, const char *nsp, const char *name)
{
    const struct room *room = find_room(io, nsp, name);

    return room ? room->n : 0;
}

size_t
socketio_rooms(const struct socketio *io)
{
    return io->rooms.n;
}

void
socketio_each_in_room(struct socketio *io, const char *nsp, const char *name,
                      void (*fn)(struct socketio_socket *, void *), void *arg)
{
    struct room *room = find_room(io, nsp, name);

    for (unsigned i = 0; room && i < room->n; i++)
        fn(room->members[i]->pair.socket, arg);
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
    while (k->members)
        part(k->members);
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
    int64_t now_us = lapse_now_us();
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
    c->filled_us = lapse_now_us();
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
