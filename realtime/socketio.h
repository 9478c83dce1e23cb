/* socketio -- a Socket.IO 5 server on engineio: namespaces, connecting with an auth payload, events,
 * acknowledgements, binary attachments, rooms (docs/socket.io-protocol/v5-current.md).
 *
 * A client (one Engine.IO session) has at most one socket in each namespace; the application meets
 * sockets only.  JSON goes through byte by byte: what is emitted is ready-made text, what comes in is
 * checked to be JSON and handed over as text.
 *
 *   CONNECT ──► connect handler ──► socketio_accept ──► events ──► disconnect handler, freed
 *                     │    (now or later)
 *                     └────────────► socketio_refuse, freed
 *
 * The disconnect handler is called once for each socket that the connect handler was given, unless
 * the application refused it; a socket that is waiting for its verdict may disconnect, too.  Sockets
 * are freed right after it, so that is the moment to forget them.
 *
 * One event loop owns it all; no function may be called from another thread, and none blocks. */
#ifndef REALTIME_SOCKETIO_H
#define REALTIME_SOCKETIO_H

#include "engineio.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct socketio;
struct socketio_socket;

struct socketio_settings {
    const char *const *namespaces; /* ended by NULL: {"/", "/custom", NULL}; kept, not copied */
    unsigned connect_timeout_ms;   /* for the first namespace to be joined */
    size_t   max_binary_bytes;     /* of all attachments of one packet */

    /* What one client may do; 0 is no limit.  More packets than that close the session (a bucket of
     * packet_burst that fills by packets_per_second); a join past the limit is refused. */
    unsigned packets_per_second, packet_burst;
    unsigned rooms_per_socket;
};

/* {"/", NULL} */
extern const char *const socketio_main_only[];

/* The Node server's defaults. */
#define SOCKETIO_DEFAULTS \
    { \
        .namespaces = socketio_main_only, .connect_timeout_ms = 45000, \
        .max_binary_bytes = 1000000, \
    }

struct socketio_blob {
    const void *data;
    size_t      len;
};

struct socketio_event {
    const char                 *name; /* as in the JSON, without its quotes; not NUL-terminated */
    size_t                      name_len;
    const char                 *args; /* the arguments' JSON, separated by commas; "" for none */
    size_t                      args_len;
    int64_t                     ack_id; /* negative: none was asked for */
    const struct socketio_blob *blobs;  /* what {"_placeholder":true,"num":i} stands for */
    unsigned                    n_blobs;
};

/* What the application is told; all that is passed is gone when the handler returns. */
struct socketio_handlers {
    /* A client wants to join a namespace; auth is a JSON object, "{}" when it sent none.  Call
     * socketio_accept or socketio_refuse, now or later. */
    void (*connect)(struct socketio_socket *, void *app, const char *auth, size_t len);
    void (*event)(struct socketio_socket *, void *app, const struct socketio_event *);
    /* The client acknowledged what was emitted with that id.  May be NULL. */
    void (*ack)(struct socketio_socket *, void *app, const struct socketio_event *);
    /* All that was waiting for this socket's client is sent.  May be NULL. */
    void (*drain)(struct socketio_socket *, void *app);
    /* It is gone: "client namespace disconnect", "server namespace disconnect", or why the session
     * ended.  It can be emitted to no more. */
    void (*disconnect)(struct socketio_socket *, void *app, const char *reason);
    /* A room has got its first member; has lost its last.  So an application that feeds rooms from
     * outside knows what anybody listens to.  May be NULL. */
    void (*room_begins)(void *app, const char *nsp, const char *room);
    void (*room_ends)(void *app, const char *nsp, const char *room);
};

/* Settings are copied, the list of namespaces is not. */
struct socketio *socketio_new(struct ev_loop *loop, const struct socketio_settings *settings,
                              const struct socketio_handlers *handlers, void *app);

/* After the engineio server that it was an endpoint of. */
void socketio_free(struct socketio *io);

/* What engineio_new is to be given. */
struct engineio_endpoint socketio_endpoint(struct socketio *io, const char *path);

/* -- connecting --------------------------------------------------------------------------------- */

void socketio_accept(struct socketio_socket *k);

/* Refuses with a JSON object ({"message":"…"}): a connect_error at the client.  The socket is freed. */
void socketio_refuse(struct socketio_socket *k, const char *json, size_t len);

/* Takes the socket out of its namespace, which its client will not rejoin by itself ("io server
 * disconnect"), and closes the whole connection if close.  The socket is freed. */
void socketio_disconnect(struct socketio_socket *k, bool close);

/* -- emitting ----------------------------------------------------------------------------------- */

/* json is the whole array: ["name",arg,…].  A socket that is not accepted gets nothing. */
void socketio_emit(struct socketio_socket *k, const char *json, size_t len);

/* The same, asking for an acknowledgement with that id. */
void socketio_emit_with_ack(struct socketio_socket *k, int64_t id, const char *json, size_t len);

/* The same with attachments, at most SOCKETPACKET_MAX_ATTACHMENTS, that placeholders stand for. */
void socketio_emit_binary(struct socketio_socket *k, const char *json, size_t len,
                          const struct socketio_blob *blobs, unsigned n);

/* Acknowledges; args is what goes between the brackets, "" for nothing. */
void socketio_ack(struct socketio_socket *k, int64_t id, const char *args, size_t len);
void socketio_ack_binary(struct socketio_socket *k, int64_t id, const char *args, size_t len,
                         const struct socketio_blob *blobs, unsigned n);

/* An event encoded once for many sockets of a namespace: the caller's reference, for frame_unref. */
struct frame *socketio_frame(const char *nsp, const char *json, size_t len);
void          socketio_send(struct socketio_socket *k, struct frame *f);

/* -- rooms -------------------------------------------------------------------------------------- */

#define SOCKETIO_ROOM_MAX 100 /* bytes of a name */

/* O(1), both.  Joining: false when the socket has too many rooms; to be in it already is fine. */
bool socketio_join(struct socketio_socket *k, const char *room);
void socketio_leave(struct socketio_socket *k, const char *room);
bool socketio_is_in(const struct socketio_socket *k, const char *room);

/* Sends one event to everyone in a namespace's room, from one buffer.  Returns how many that was. */
unsigned socketio_emit_room(struct socketio *io, const char *nsp, const char *room, const char *json,
                            size_t len);

/* The same with a frame of socketio_frame, for events that are numbered: whoever was sent that sequence
 * or a later one in this room already is left out, so nobody is told twice, or of the past.  0: not
 * numbered, everyone gets it. */
unsigned socketio_send_room(struct socketio *io, const char *nsp, const char *room, struct frame *f,
                            int64_t sequence);

/* Says what a member has been sent by other ways; it only rises.  And what it has been sent: 0 for
 * nothing, and for who is not in that room. */
void    socketio_set_sequence(struct socketio_socket *k, const char *room, int64_t sequence);
int64_t socketio_sequence(const struct socketio_socket *k, const char *room);

/* How many are in it, and how many rooms there are. */
unsigned socketio_room_size(const struct socketio *io, const char *nsp, const char *room);
size_t   socketio_rooms(const struct socketio *io);

/* Calls fn for everyone in a room.  fn must not let anyone join or leave, nor disconnect anyone. */
void socketio_each_in_room(struct socketio *io, const char *nsp, const char *room,
                           void (*fn)(struct socketio_socket *, void *), void *arg);

/* -- about a socket ----------------------------------------------------------------------------- */

const char *socketio_sid(const struct socketio_socket *k);
const char *socketio_nsp(const struct socketio_socket *k);
const char *socketio_address(const struct socketio_socket *k);
size_t      socketio_backlog(const struct socketio_socket *k);
void        socketio_set_data(struct socketio_socket *k, void *data);
void       *socketio_data(const struct socketio_socket *k);

/* Ends the session of a client that misbehaves; its disconnect handler is called by and by. */
void socketio_drop(struct socketio_socket *k, const char *reason);

#endif
