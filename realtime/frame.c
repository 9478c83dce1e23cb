#include "frame.h"

#include "must.h"

#include <stdlib.h>

struct frame *
frame_new(size_t len, bool binary)
{
    struct frame *f = must_resize(NULL, sizeof(*f) + len);

    f->refs = 1;
    f->binary = binary;
    f->len = len;
    return f;
}

struct frame *
frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}

void
frame_unref(struct frame *f)
{
    if (f && --f->refs == 0)
        free(f);
}

void
frame_queue_push(struct frame_queue *q, struct frame *f)
{
    if (q->n == q->room) {
        unsigned       room = q->room ? q->room * 2 : 4;
        struct frame **ring = must_alloc(room * sizeof(struct frame *));

        for (unsigned i = 0; i < q->n; i++)
            ring[i] = q->ring[(q->head + i) & (q->room - 1)];
        free(q->ring);
        q->ring = ring;
        q->room = room;
        q->head = 0;
    }
    q->ring[(q->head + q->n++) & (q->room - 1)] = frame_ref(f);
    q->bytes += f->len;
}

struct frame *
frame_queue_first(const struct frame_queue *q)
{
    return q->n ? q->ring[q->head] : NULL;
}

struct frame *
frame_queue_pop(struct frame_queue *q)
{
    if (!q->n)
        return NULL;
    struct frame *f = q->ring[q->head];
    q->head = (q->head + 1) & (q->room - 1);
    q->bytes -= f->len;
    if (--q->n == 0) {
        /* An idle session keeps no ring: most of them never wait for anything. */
        free(q->ring);
        *q = (struct frame_queue){0};
    }
    return f;
}

void
frame_queue_end(struct frame_queue *q)
{
    struct frame *f;

    while ((f = frame_queue_pop(q)))
        frame_unref(f);
}
