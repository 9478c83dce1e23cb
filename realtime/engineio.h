/* engineio -- an Engine.IO 4 server: sessions over WebSocket and HTTP long-polling, the upgrade
 * between them, heartbeat and limits (socketio/socket.io, docs/engine.io-protocol/v4-current.md).
 *
 * One event loop (libev) owns a server and all its sessions; nothing here may be called from another
 * thread, and nothing here blocks.  libwebsockets speaks HTTP and WebSocket; it never shows through.
 *
 *              GET, no sid                       2probe · 3probe · 5
 *   (nothing) ────────────► OPEN, polling ──────────────────────────────► OPEN, WebSocket
 *        │                      │                                              ▲   │
 *        │ WebSocket, no sid    │ close, by whomever                           │   │ close
 *        └──────────────────────┼──────────────────────────────────────────────┘   │
 *                               ▼                                                  ▼
 *                            LEAVING: takes and gives no more, the close handler is called at the end
 *                               │      of this turn of the loop, never from inside another call
 *                               ▼
 *                            freed; a polling session that was not being polled at that moment is
 *                            kept for a while, so that its next poll hears of the end
 *
 * It does not know Socket.IO, rooms or who the user is. */
#ifndef REALTIME_ENGINEIO_H
#define REALTIME_ENGINEIO_H

#include "frame.h"

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

struct engineio;         /* a server */
struct engineio_session; /* one client, by whatever transport */

struct engineio_settings {
    unsigned ping_interval_ms;   /* from the handshake, or the last pong, to the next ping */
    unsigned ping_timeout_ms;    /* from a ping to the end for want of a pong */
    unsigned upgrade_timeout_ms; /* for a probing WebSocket to finish the upgrade */
    size_t   max_payload_bytes;  /* of one POST's body or one WebSocket message */
    size_t   max_queue_bytes;    /* unsent backlog at which a session is dropped */

    /* Origins whose pages may read answers (CORS), ended by NULL; "*" is everyone.  NULL: no CORS
     * header is sent, which is right behind a proxy that adds them. */
    const char *const *origins;

    /* What every sid begins with, so that a proxy can find the server that owns a session when
     * several run.  Characters of base64url, at most 24. */
    const char *sid_prefix;

    /* Whether X-Real-IP names the client: only behind a proxy that sets it. */
    bool trust_real_ip;

    /* Whether such a proxy may give us a WebSocket's connection to its client, instead of relaying it
     * (handover.c): only on a unix socket. */
    bool take_handover;

    size_t max_sessions; /* open at once; past that a handshake gets 503.  0 is no limit */

    /* Per client address (an IPv6 client counts as its /64): sessions open at once, and handshakes a
     * minute with as many in a burst.  Past either a handshake gets 429.  0 is no limit. */
    unsigned sessions_per_address;
    unsigned opens_per_address_minute;
};

/* The Node server's defaults, and a queue of 1 MB. */
#define ENGINEIO_DEFAULTS \
    { \
        .ping_interval_ms = 25000, .ping_timeout_ms = 20000, .upgrade_timeout_ms = 10000, \
        .max_payload_bytes = 1000000, .max_queue_bytes = 1 << 20, .sid_prefix = "", \
    }

/* What a user of this module is told.  Any of them may be NULL.  In each of them the session may be
 * sent to and closed. */
struct engineio_handlers {
    void (*open)(struct engineio_session *, void *app);
    /* One message; the bytes are gone when the handler returns.  Text is valid UTF-8. */
    void (*message)(struct engineio_session *, void *app, const char *data, size_t len, bool binary);
    /* The backlog is sent, after there was one. */
    void (*drain)(struct engineio_session *, void *app);
    /* The end, once for each open; the session is freed afterwards.  The reason is one of the Node
     * server's: "transport close", "transport error", "ping timeout", "parse error", "forced close",
     * or one of engineio_close. */
    void (*close)(struct engineio_session *, void *app, const char *reason);
};

/* A path and who answers there. */
struct engineio_endpoint {
    const char                      *path; /* "/engine.io/": with both slashes */
    const struct engineio_handlers *handlers;
    void                            *app;
};

/* A server that listens nowhere yet.  Settings and endpoints are copied, the strings in them are not.
 * NULL when libwebsockets cannot be set up. */
struct engineio *engineio_new(struct ev_loop *loop, const struct engineio_settings *settings,
                              const struct engineio_endpoint *endpoints, size_t n);

/* Drops all connections without a word and frees everything.  NULL does nothing. */
void engineio_free(struct engineio *server);

/* Listens at an address (IPv4 or IPv6, in numbers) and port, or at a unix socket that is made anew with that mode.  May be
 * called several times.  0, or -1 with errno. */
int engineio_listen_tcp(struct engineio *server, const char *address, unsigned port);
int engineio_listen_unix(struct engineio *server, const char *path, unsigned mode);

/* Sends all clients away so that they connect again at once: listens no more, closes every session
 * ("server shutting down"), and calls done when the last connection is gone, or after grace_ms. */
void engineio_shutdown(struct engineio *server, unsigned grace_ms, void (*done)(void *arg),
                       void *arg);

/* Sends a frame.  On a WebSocket with nothing waiting it is written at once; else it waits its turn.
 * The session takes a reference of its own.  When the backlog was too long already, the client does
 * not read: the session is closed ("slow client").  Nothing is sent to a session that is leaving. */
void engineio_send(struct engineio_session *s, struct frame *f);

/* A frame for a text message of len bytes, already with its type; write the text to *text. */
struct frame *engineio_text_frame(size_t len, char **text);

/* Ends the session.  Politely: what was sent is still delivered, and the transport closed as the
 * protocols say.  Else at once. */
void engineio_close(struct engineio_session *s, const char *reason, bool politely);

const char *engineio_sid(const struct engineio_session *s);

/* The client's address as text. */
const char *engineio_address(const struct engineio_session *s);

/* Bytes waiting to be sent. */
size_t engineio_backlog(const struct engineio_session *s);

/* A pointer of the user's, NULL at first. */
void  engineio_set_data(struct engineio_session *s, void *data);
void *engineio_data(const struct engineio_session *s);

/* Sessions that are open now. */
size_t engineio_count(const struct engineio *server);

#endif
