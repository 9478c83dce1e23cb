/* engineio_private -- what the server's files share: engineio.c (the server), session.c (its sessions),
 * sessionio.c (what goes through them), transport.c (libwebsockets, with five more behind
 * transport_private.h), listener.c and address.c.
 *
 * Three lifetimes: the server; a session, which outlives the HTTP requests that serve it; and a
 * connection, which libwebsockets zeroes for each HTTP request and again when it becomes a WebSocket.
 * A session and its connections point to each other, and whoever goes first clears both pointers. */
#ifndef REALTIME_ENGINEIO_PRIVATE_H
#define REALTIME_ENGINEIO_PRIVATE_H

#include "engineio.h"
#include "enginepacket.h"
#include "lapse.h"
#include "table.h"

#include <libwebsockets.h>
#include <stdint.h>

#define MAX_LISTENERS 4
#define MAX_ENDPOINTS 4
#define MAX_SID_LEN   48
#define LINGER_MS     5000 /* for a client to take note that its session has ended */

struct listener {
    ev_io            io;
    struct engineio *server;
    bool             tcp;
};

struct engineio {
    struct ev_loop          *loop;
    struct engineio_settings settings;
    struct engineio_endpoint endpoints[MAX_ENDPOINTS];
    size_t                   n_endpoints;

    struct lws_context *context;
    struct lws_vhost   *vhost;
    struct listener     listeners[MAX_LISTENERS];
    size_t              n_listeners;
    int                 spare_fd; /* given up for a moment to turn a connection away at the limit */

    struct table sessions;  /* by sid, those that linger included */
    struct table addresses; /* by key */
    size_t       n_open;

    struct lapse_queue pings, pongs;  /* until the next ping; for a pong to come */
    struct lapse_queue upgrades;      /* for a probe to finish */
    struct lapse_queue lingering;     /* sessions that ended between two polls */
    struct lapse_queue closing;       /* connections that were told to close */
    struct lapse_queue handovers;     /* WebSockets that nginx is about to give us */
    struct lapse_queue forgetting;    /* addresses without sessions */
    struct frame      *ping;

    struct engineio_session *leaving; /* ended during this turn of the loop */
    ev_prepare               reaper;

    bool     stopping;
    ev_timer grace;
    void (*done)(void *);
    void *done_arg;
};

enum session_state {
    SESSION_OPEN,
    SESSION_LEAVING,   /* in server->leaving */
    SESSION_LINGERING, /* polling, over, and the client has not heard of it yet */
};

enum session_end {
    END_AT_ONCE,  /* nobody there to listen, or not worth waiting for */
    END_POLITELY, /* send what is waiting first */
    END_ASKED,    /* the client said so itself */
};

struct engineio_session {
    struct table_node               by_sid;
    struct engineio                *server;
    const struct engineio_endpoint *endpoint;
    struct address                 *address;
    void                           *data;

    struct conn *ws;    /* the WebSocket, once there is one: then the session polls no more */
    struct conn *probe; /* a WebSocket that wants to take over */
    struct conn *poll;  /* a GET that waits for something to say */
    struct conn *post;  /* a POST under way */

    struct frame_queue queue;
    struct lapse_node  heartbeat; /* in pings, pongs or lingering */
    struct lapse_node  upgrade;

    struct engineio_session *next_leaving;
    const char              *reason;
    enum session_state       state;
    enum session_end         end;
    unsigned short           close_code; /* for the WebSocket */
    bool                     probed;     /* 2probe was answered: polls return at once from now on */
    bool                     had_backlog;
    char                     sid[MAX_SID_LEN];
    char                     address_text[46];
};

enum conn_role {
    CONN_NONE,
    CONN_POLL,    /* a GET that waits */
    CONN_ANSWER,  /* has its answer in body, to be written when writable */
    CONN_POST,    /* body comes in */
    CONN_REFUSED, /* body comes in, and the answer is known already */
    CONN_WS,
    CONN_PROBE,
    CONN_CLOSING, /* a WebSocket that is to be closed */
};

struct conn {
    struct engineio         *server;
    struct lws              *wsi;
    struct engineio_session *session; /* NULL: it is nobody's, or nobody's any more */
    const struct engineio_endpoint *endpoint;
    enum conn_role                  role;
    unsigned short                  status; /* of CONN_ANSWER and CONN_REFUSED; of CONN_CLOSING its code */
    bool                            awaiting; /* a WebSocket that is neither read nor written yet: handover.c */
    bool                            watching;
    ev_io                           hangup;  /* while a GET waits, or a WebSocket for its descriptor */
    struct lapse_node               closing; /* in closing or handovers */
    char                           *body; /* what came in so far, or is to go out */
    size_t                          len, room;
};

/* -- engineio.c (the rest is in engineio.h) ------------------------------------------------------ */

/* Holds the spare descriptor again, if it can be had: another thread may have been faster. */
void engineio_keep_spare(struct engineio *server);

/* A session or a connection has ended: a shutdown may be complete. */
void engineio_check_done(struct engineio *server);

/* -- session.c ----------------------------------------------------------------------------------- */

/* The queues in which sessions wait, and what looks after them; before the first session, and after
 * the last. */
void session_begin_all(struct engineio *server);
void session_end_all(struct engineio *server);

/* Ends all sessions: at once and without a word, or so that their clients come again. */
void session_drop_all(struct engineio *server);
void session_send_all_away(struct engineio *server);

/* The endpoint at that path, or NULL. */
const struct engineio_endpoint *session_endpoint(struct engineio *server, const char *path, size_t len);

/* Whether there may be one more session of anybody. */
bool session_room_left(const struct engineio *server);

/* A new session, open, with its handshake packet not yet sent; ws is NULL for polling. */
struct engineio_session *session_open(struct engineio *server, const struct engineio_endpoint *endpoint,
                                      const char *address, struct conn *ws);

/* The handshake packet of a session, NUL-terminated, in out. */
size_t session_handshake(const struct engineio_session *s, char *out, size_t room);

/* The session with that sid at that endpoint, open or lingering, or NULL.  One whose pong is overdue
 * is found no more, even when its timer has not come round yet. */
struct engineio_session *session_find(struct engineio *server, const struct engineio_endpoint *endpoint,
                                      const char *sid, size_t len);

/* The connection of the session is gone; its pointers are cleared. */
void session_conn_gone(struct engineio_session *s, struct conn *conn);

/* Takes a connection (one of the session's pointers) away from its session; it may be NULL. */
struct conn *session_let_go(struct conn **slot);

/* Ends an open session; see struct engineio_session.  Once is enough. */
void session_leave(struct engineio_session *s, const char *reason, enum session_end end,
                   unsigned short close_code);

/* Brings those that are leaving to their end, instead of at the end of the turn: a request that comes
 * in the same turn as the end of its session finds it lingering, or not at all. */
void session_settle(struct engineio *server);

/* Frees one that lingers: it has heard of its end, or will not ask any more. */
void session_free(struct engineio_session *s);

/* What the poll of an ending session is answered, for free(): all that is queued, or a last word.
 * Never both in one answer: clients act on a close packet before they look at the messages that came
 * with it. */
char *session_farewell_body(struct engineio_session *s, size_t *len);

/* -- sessionio.c --------------------------------------------------------------------------------- */

/* A poll came for a polling session; the answer is in *body (for free()), or NULL: it waits. */
bool session_poll(struct engineio_session *s, struct conn *conn, char **body, size_t *len);

/* What a waiting poll is to be answered, for free(): all that is queued. */
char *session_poll_body(struct engineio_session *s, size_t *len);

/* A POST's body is complete.  false: malformed, the session ends. */
bool session_posted(struct engineio_session *s, const char *body, size_t len);

/* A WebSocket of that session brought a message. */
void session_ws_message(struct engineio_session *s, struct conn *conn, const char *data, size_t len,
                        bool binary);

/* The WebSocket can take more. */
void session_ws_writable(struct engineio_session *s);

/* -- address.c ----------------------------------------------------------------------------------- */

void address_begin(struct engineio *server);
void address_end(struct engineio *server);

/* Whether that address may open one more session now; counts the handshake. */
bool address_admit(struct engineio *server, const char *text);

/* What is known of an address; it stays as long as a session has taken it. */
struct address *address_of(struct engineio *server, const char *text);
void            address_take(struct address *a);
void            address_give_back(struct engineio *server, struct address *a);

/* -- listener.c (engineio_listen_… are in engineio.h) -------------------------------------------- */

void listener_stop(struct engineio *server);

/* -- transport.c --------------------------------------------------------------------------------- */

/* Sets up libwebsockets.  0 or -1. */
int  transport_begin(struct engineio *server);
void transport_end(struct engineio *server);

/* Takes in a connection that a listener accepted. */
void transport_accept(struct engineio *server, int fd);

/* Writes a frame to a WebSocket that is not busy.  -1: it is lost. */
int transport_write(struct conn *ws, struct frame *f);

/* Whether the kernel did not take all of what was written before. */
bool transport_busy(struct conn *ws);

/* Asks for session_ws_writable, or for a waiting poll to be answered. */
void transport_want_write(struct conn *conn);

/* Answers a waiting poll with body, whose memory it takes over. */
void transport_answer(struct conn *poll, char *body, size_t len);

/* Closes a WebSocket with that code, and the hard way when the client does not play along. */
void transport_close(struct conn *ws, unsigned short code);

/* Ends a connection of any kind without a word. */
void transport_kill(struct conn *conn);

/* Whether the client of a waiting poll has gone. */
bool transport_hung_up(struct conn *poll);

#endif
