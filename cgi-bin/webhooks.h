/* webhooks -- what Meta tells of WhatsApp messages; part of the notifications program. */
#ifndef SELLIKO_WEBHOOKS_H
#define SELLIKO_WEBHOOKS_H

#include "req.h"

/* Rows for that program's route table. */
#define WEBHOOK_ROUTES(X) \
    X(GET,  "/webhooks/whatsapp", webhook_handshake, UNASKED, 0) \
    X(POST, "/webhooks/whatsapp", webhook_statuses,  UNASKED, RAW_BODY)

reply webhook_handshake(struct req *r);   /* the challenge back, or 403 */
reply webhook_statuses(struct req *r);    /* 200 when it is noted; 401 without Meta's signature, where its secret is set */

#endif
