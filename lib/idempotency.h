/* idempotency -- the first answer again, to who asks the same thing twice under one Idempotency-Key.
 *
 * For 24 hours a key belongs to its user, route and body.  Whoever asks while the first is under way
 * waits for it: the claim holds a lock until its transaction ends.  Answers of 500 and above, and a 429,
 * are not kept: asking again is what the caller should do then.
 *
 * POST /bids keeps its outcomes itself, inside place_bids(); here are the other answers. */
#ifndef SELLIKO_IDEMPOTENCY_H
#define SELLIKO_IDEMPOTENCY_H

#include "req.h"

/* Within a transaction that the caller began (db_begin): claim the request's key for HASH (bytea text of
 * the body's digest).  True: it is the first, go on and keep its answer before the commit.  False: *ANSWERED
 * is the reply to give. */
bool idempotency_claim(struct req *r, const char *route, const char *hash, reply *answered);

/* Within the same transaction: what will be answered. */
void idempotency_keep(struct req *r, const char *route, const char *hash, reply first);

/* A refusal that was made before anything was begun (bad input): claim, keep and commit on its own.  Without
 * a key it is just given back. */
reply idempotency_refusal(struct req *r, const char *route, const char *hash, reply refusal);

/* A kept answer, STATUS and its sealed text (user's id || answer::text). */
reply idempotency_replay(struct req *r, int status, const char *sealed);

#endif
