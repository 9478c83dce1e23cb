/* market -- GET /marketplace. */
#ifndef SELLIKO_MARKET_H
#define SELLIKO_MARKET_H

#include "req.h"

reply marketplace(struct req *r);

#endif
