/* post -- up to POST_MAX calls of the Graph API at the same time (libcurl's multi interface, HTTP/2 where
 * the server offers it), in one thread.
 *
 * Every call that is begun ends, within its time, with an outcome: no call is repeated here, also not
 * by libcurl (which would repeat one on a kept connection that turns out to be dead; a message that may
 * have been accepted must not be sent twice by accident). */
#ifndef SELLIKO_POST_H
#define SELLIKO_POST_H

#include "queue.h"

enum { POST_MAX = 32 };

/* URL is that of the calls; TOKEN the access token.  CALL_S: how long one may take. */
void post_open(const char *url, const char *token, int call_s);
void post_close(void);

/* How many more calls can be begun. */
int post_room(void);

/* Post M; its body becomes post's.  There must be room.  False: no memory, and nothing was sent. */
bool post_begin(struct message *m);

/* Move the data; up to N calls that ended go to OUT: their number. */
int post_ended(struct outcome *out, int n);

/* Sleep until something can be done, at most MS milliseconds, or until one of the N file descriptors
 * (those below 0 are left out) is readable. */
void post_wait(const int *fd, int n, int ms);

#endif
