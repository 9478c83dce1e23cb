/* lapse -- many deadlines of one length, for the price of one timer.
 *
 * Twenty thousand sessions are pinged every 25 seconds.  As each of them waits equally long, a queue
 * to which new waits are appended is sorted by itself: adding and removing are O(1), and only the
 * head needs a timer of the event loop.
 *
 * A queue belongs to one event loop.  Nodes live inside the caller's structures; nothing is allocated.  All times
 * are those of clock_us. */
#ifndef REALTIME_LAPSE_H
#define REALTIME_LAPSE_H

#include "clock.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct lapse_queue;

struct lapse_node {
    struct lapse_queue *queue; /* NULL while it waits for nothing */
    struct lapse_node  *prev, *next;
    int64_t             due_us;
};

struct lapse_queue {
    ev_timer           timer;
    struct ev_loop    *loop;
    struct lapse_node *head, *tail;
    int64_t            length_us;
    void (*due)(struct lapse_queue *, struct lapse_node *); /* the node is out of the queue by then */
    void *owner;
};

/* An empty queue whose nodes wait length_ms and are then handed to due. */
void lapse_begin(struct lapse_queue *q, struct ev_loop *loop, unsigned length_ms,
                 void (*due)(struct lapse_queue *, struct lapse_node *), void *owner);

/* Forgets all nodes and stops the timer. */
void lapse_end(struct lapse_queue *q);

/* Lets the node wait from since_us on, wherever it waited before. */
void lapse_add(struct lapse_queue *q, struct lapse_node *node, int64_t since_us);

/* Takes the node out of its queue, if it is in one. */
void lapse_remove(struct lapse_node *node);

#endif
