/* assignments -- PUT /listings/:id/assign-agent: a task for an agent on a sold listing's order. */
#ifndef SELLIKO_ASSIGNMENTS_H
#define SELLIKO_ASSIGNMENTS_H

#include "req.h"

/* The handler, in the listings program's route table; ADMIN. */
reply assign_agent(struct req *r);

#endif
