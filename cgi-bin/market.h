/* market -- GET /marketplace: live listings, filtered, sorted, a page of them; part of the bids program. */
#ifndef SELLIKO_MARKET_H
#define SELLIKO_MARKET_H

#include "req.h"

/* The handler, in that program's route table; ANYONE. */
reply marketplace(struct req *r);

#endif
