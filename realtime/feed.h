/* feed -- what was committed to the table events, in the order in which each listing's things happened.
 *
 * A thread of its own, with a database connection of its own, reads new rows when a program says that
 * it has committed some (NOTIFY selliko_events, at most a hundred times a second), and every second in
 * case the program died in between.  It remembers the snapshot of its last reading and asks for what
 * was not visible in that one and is in this one, so that
 *
 *   - nothing is read before it is committed, or twice;
 *   - a transaction that commits late, with lower numbers than what was read before, is not skipped,
 *     and nobody waits for it either;
 *   - a lost connection loses nothing: the next reading begins where the last one ended.
 *
 * Events of one listing are numbered and committed under the lock of its row, so rising numbers are
 * their order.  Of what nobody here listens to only the header is read. */
#ifndef REALTIME_FEED_H
#define REALTIME_FEED_H

#include "payload.h"

#include <ev.h>

struct feed;

/* deliver() is called from the loop with payloads in rising order of their ids; it takes over the
 * reference to each frame, and nothing else of the list.  Its first call may have n == 0: from then on
 * nothing is missed, so clients should not be let in before. */
struct feed *feed_begin(struct ev_loop *loop, void (*deliver)(void *arg, const struct payload *list, int n),
                        void *arg);
void         feed_end(struct feed *feed);

/* Somebody listens now to a listing or user (its key), or to the admins' events (""); change is +1, or
 * -1 for an earlier +1.  What is committed after the call comes; what was committed before it may. */
void feed_interest(struct feed *feed, enum payload_to to, const char *key, int change);

#endif
