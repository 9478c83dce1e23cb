/* assignments -- PUT /listings/:id/assign-agent: whose task a sold phone becomes. */
#ifndef SELLIKO_ASSIGNMENTS_H
#define SELLIKO_ASSIGNMENTS_H

#include "req.h"

reply assign_agent(struct req *r);

#endif
