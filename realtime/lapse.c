#include "lapse.h"

#include <stddef.h>

static void
arm(struct lapse_queue *q)
{
    int64_t wait_us = q->head->due_us - clock_us();

    ev_timer_stop(q->loop, &q->timer);
    ev_now_update(q->loop); /* the loop's idea of now may be a long batch of callbacks old */
    ev_timer_set(&q->timer, wait_us > 0 ? (double)wait_us / 1e6 : 0., 0.);
    ev_timer_start(q->loop, &q->timer);
}

static void
ripe(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct lapse_queue *q = timer->data;
    int64_t             now_us = clock_us();

    (void)loop;
    (void)revents;
    while (q->head && q->head->due_us <= now_us) {
        struct lapse_node *node = q->head;
        lapse_remove(node);
        q->due(q, node);
    }
    if (q->head)
        arm(q);
}

void
lapse_begin(struct lapse_queue *q, struct ev_loop *loop, unsigned length_ms,
            void (*due)(struct lapse_queue *, struct lapse_node *), void *owner)
{
    *q = (struct lapse_queue){
        .loop = loop, .length_us = (int64_t)length_ms * 1000, .due = due, .owner = owner};
    ev_timer_init(&q->timer, ripe, 0., 0.);
    q->timer.data = q;
}

void
lapse_end(struct lapse_queue *q)
{
    while (q->head)
        lapse_remove(q->head);
    if (q->loop)
        ev_timer_stop(q->loop, &q->timer);
}

void
lapse_add(struct lapse_queue *q, struct lapse_node *node, int64_t since_us)
{
    struct lapse_node *before;

    lapse_remove(node);
    node->queue = q;
    node->due_us = since_us + q->length_us;
    /* Waits normally begin in order, and then this loop ends at once. */
    for (before = q->tail; before && before->due_us > node->due_us; before = before->prev)
        ;
    node->prev = before;
    node->next = before ? before->next : q->head;
    if (node->next)
        node->next->prev = node;
    else
        q->tail = node;
    if (before)
        before->next = node;
    else
        q->head = node;
    if (q->head == node)
        arm(q);
}

void
lapse_remove(struct lapse_node *node)
{
    struct lapse_queue *q = node->queue;

    if (!q)
        return;
    if (node->prev)
        node->prev->next = node->next;
    else
        q->head = node->next;
    if (node->next)
        node->next->prev = node->prev;
    else
        q->tail = node->prev;
    node->queue = NULL;
    node->prev = node->next = NULL;
    /* The timer is left alone: when it finds nothing ripe, it arms itself for the head of then. */
    if (!q->head)
        ev_timer_stop(q->loop, &q->timer);
}
