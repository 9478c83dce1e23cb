/* form -- a multipart/form-data body as a handler reads it: fields for body_…, files in a stage. */
#ifndef SELLIKO_FORM_H
#define SELLIKO_FORM_H

#include "req.h"
#include "upload.h"

/* Read the whole form of a route that STREAMS, once it is known who asks (a bad session ends the request before).  True:
 * body_… reads its fields, *FORM has its files, removed when the request ends unless they are published.  False:
 * *REFUSAL says what is wrong with it, or with our disk, as upload.h has it.  Both live as long as the request. */
bool form_read(struct req *r, struct store *store, struct upload **form, reply *refusal);

#endif
