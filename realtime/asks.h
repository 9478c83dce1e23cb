/* asks -- what has to wait for the database, off the event loop.
 *
 * An ask is put by the loop, worked on by one of a few threads with a connection of its own, and
 * finished by the loop again.  So the loop never blocks, a lost database holds up nothing but asks,
 * and work() and done() need no lock: an ask belongs to one of them at a time. */
#ifndef REALTIME_ASKS_H
#define REALTIME_ASKS_H

#include <ev.h>
#include <stdbool.h>

struct db;

struct ask {
    struct ask *next;
    bool (*work)(struct ask *, struct db *); /* in a thread; false: the database is away */
    void (*done)(struct ask *);              /* in the loop; frees the ask */
    bool unanswered;                         /* work() said false, or the threads were stopping */
};

struct asks;

/* n threads; done() is called from the loop. */
struct asks *asks_begin(struct ev_loop *loop, int n);

void asks_put(struct asks *asks, struct ask *ask);

/* Waits for what is worked on, finishes all others unanswered, and frees.  NULL does nothing. */
void asks_end(struct asks *asks);

#endif
