/* frame -- one outgoing message, encoded once and shared by everyone that it goes to.
 *
 * A room of a thousand costs one buffer and a thousand references.  The WebSocket header that
 * libwebsockets writes in front is the same for every receiver (a server's frames carry no mask), so
 * writing it again and again into the shared head room does no harm.
 *
 * Reference counted, owned by one event loop. */
#ifndef REALTIME_FRAME_H
#define REALTIME_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#define FRAME_HEAD_ROOM 16 /* LWS_PRE */

struct frame {
    unsigned      refs;
    bool          binary; /* a binary message; else a text packet with its type in front */
    size_t        len;
    unsigned char head[FRAME_HEAD_ROOM];
    char          data[];
};

/* A frame of len bytes with one reference; the caller fills in data before sending it. */
struct frame *frame_new(size_t len, bool binary);

struct frame *frame_ref(struct frame *f);

/* Gives a reference back; the last one frees.  NULL does nothing. */
void frame_unref(struct frame *f);

/* Frames waiting for one receiver, first in, first out. */
struct frame_queue {
    struct frame **ring;
    unsigned       head, n, room; /* room is zero or a power of two */
    size_t         bytes;
};

/* Appends, taking a reference of its own. */
void frame_queue_push(struct frame_queue *q, struct frame *f);

/* The first frame, or NULL; it stays in the queue. */
struct frame *frame_queue_first(const struct frame_queue *q);

/* Takes the first frame out; its reference is the caller's. */
struct frame *frame_queue_pop(struct frame_queue *q);

/* Gives back all references and the ring. */
void frame_queue_end(struct frame_queue *q);

#endif
