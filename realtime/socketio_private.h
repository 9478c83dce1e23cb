/* socketio_private -- what socketio.c (packets, sockets) and socketroom.c (rooms) share. */
#ifndef REALTIME_SOCKETIO_PRIVATE_H
#define REALTIME_SOCKETIO_PRIVATE_H

#include "lapse.h"
#include "must.h"
#include "socketio.h"
#include "table.h"

#define MAX_NSP_LEN 100

struct socketio {
    struct ev_loop          *loop;
    struct socketio_settings settings;
    struct socketio_handlers handlers;
    void                    *app;
    struct lapse_queue       connecting; /* clients that have joined no namespace yet */
    struct table             rooms;      /* by namespace and name */
    struct table             members;    /* by room and socket */
};

struct partial;
struct member;

struct client {
    struct socketio         *io;
    struct engineio_session *session;
    struct socketio_socket  *sockets;
    struct partial          *partial;
    struct lapse_node        connecting;
    double                   tokens; /* packets that it may still send */
    int64_t                  filled_us;
};

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

/* Takes a socket out of all its rooms. */
void socketroom_leave_all(struct socketio_socket *k);

#endif
