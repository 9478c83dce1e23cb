/* gateway_private -- what the gateway's files share: gateway.c (the program), people.c (who is there),
 * rooms.c (who hears what), wording.c. */
#ifndef REALTIME_GATEWAY_PRIVATE_H
#define REALTIME_GATEWAY_PRIVATE_H

#include "asks.h"
#include "errors.h"
#include "feed.h"
#include "socketio.h"

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

/* The one gateway of this process; all of it belongs to the loop's thread. */
extern struct gateway {
    struct ev_loop  *loop;
    struct engineio *server;
    struct socketio *io;
    struct asks     *asks;
    struct feed     *feed;
} gw;

/* Hangs on a socket. */
struct person {
    struct socketio_socket *socket; /* NULL: gone, and only an ask still points here */
    struct person          *prev, *next; /* of the signed in */
    unsigned                asks;   /* that point here */
    unsigned                joins;  /* of these */
    bool                    signed_in;
    char                    user_id[37], session_id[37], role[8];
};

/* -- wording.c ---------------------------------------------------------------------------------- */

const char *gateway_code(enum error e);     /* "not_found" */
const char *gateway_sentence(enum error e);

/* -- people.c ----------------------------------------------------------------------------------- */

/* A client wants in: anonymous at once, with a token when the database has judged its session. */
void people_connect(struct socketio_socket *k, void *app, const char *auth, size_t len);

/* It is gone. */
void people_disconnect(struct socketio_socket *k, void *app, const char *reason);

/* Who hangs on a socket; NULL while the database is asked. */
struct person *people_of(struct socketio_socket *k);

/* Frees a person whose socket is gone and whom no ask needs any more. */
void people_release(struct person *p);

/* Asks about a slice of the sessions of those who are connected, and disconnects whose have ended. */
void people_check(struct ev_loop *loop, ev_timer *timer, int revents);

/* -- rooms.c ------------------------------------------------------------------------------------ */

#define ROOMS_MAX 500 /* of one socket */

/* The rooms' names: a listing's, a person's, the admins'. */
#define ROOMS_NAME_MAX 48
#define ROOMS_ADMINS   "admins"
void rooms_of_user(char room[static ROOMS_NAME_MAX], const char *user_id);

/* join_room, leave_room; what else clients say is ignored. */
void rooms_event(struct socketio_socket *k, void *app, const struct socketio_event *e);

/* The client of a socket has been sent all that was waiting; a socket is gone: joins go on, or end. */
void rooms_drain(struct socketio_socket *k, void *app);
void rooms_forget(struct person *p);

/* The first one comes to a room, the last one leaves. */
void rooms_begin(void *app, const char *nsp, const char *room);
void rooms_end(void *app, const char *nsp, const char *room);

/* Something has happened: tell those who listen. */
void rooms_tell(const struct payload *p);

#endif
