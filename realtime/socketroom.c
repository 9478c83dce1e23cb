/* socketroom -- rooms: who is in them, and what is sent to all of them at once.
 *
 * A room is an array of memberships, which is walked to send; a membership knows its place there, so
 * leaving puts the last one in its place; and all memberships are in one table by room and socket, so
 * joining twice is seen at once.  Everything is O(1) but sending. */
#include "socketio_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void
socketroom_leave_all(struct socketio_socket *k)
{
    while (k->members)
        part(k->members);
}
