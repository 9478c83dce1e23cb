/* listing_create -- POST /listings: the form, its photos, all or nothing. */
#ifndef SELLIKO_LISTING_CREATE_H
#define SELLIKO_LISTING_CREATE_H

#include "req.h"

/* Before threads start: the file store and the image worker.  Ends the process, which was said on stderr, when there is no store. */
void listing_create_init(void);

/* The handler, in the listings program's route table; CLIENT, STREAMS. */
reply listing_create(struct req *r);

/* The listing ID, alone and as its viewer sees it, answered by HOW (ok, created); in listings.c. */
reply listing_answer(struct req *r, const char *id, reply (*how)(struct req *r));

#endif
