/* batch -- group commit: the bids that are waiting at one moment share a transaction.
 *
 * A handler hands in its bid and waits for its row.  Whoever finds no batch under way takes all that
 * are waiting (up to BATCH_MAX), places them with one call of place_bids() and hands out the rows; what
 * arrives meanwhile is the next batch.  Under no load a batch is one bid and costs nothing extra. */
#ifndef SELLIKO_BATCH_H
#define SELLIKO_BATCH_H

#include "req.h"

enum { BATCH_MAX = 32 };

struct batch_bid {
    /* what is asked; user, idempotency key and request id are the request's */
    const char *listing;
    int64_t paise;
    const char *body_hash;   /* bytea text; with an idempotency key only */
    /* what came of it: a row of place_bids, living as long as the request */
    const struct rows *rows;
    int row;
};

/* Before threads start: how many batches may be under way at once (BATCHERS). */
void batch_init(int batches);

/* Place B and wait.  Does not return when our side fails (the request is given up); the bid is then
 * either placed or not, as after any lost answer: that is what idempotency keys are for. */
void batch_place(struct req *r, struct batch_bid *b);

#endif
