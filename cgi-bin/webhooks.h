/* webhooks -- what Meta tells of WhatsApp messages; part of the notifications program. */
#ifndef SELLIKO_WEBHOOKS_H
#define SELLIKO_WEBHOOKS_H

#include "req.h"

/* Rows for that program's route table. */
#define WEBHOOK_ROUTES(X) \
    X(GET,  "/webhooks/whatsapp", webhook_handshake, UNASKED, 0) \
    X(POST, "/webhooks/whatsapp", webhook_statuses,  UNASKED, RAW_BODY)

reply webhook_handshake(struct req *r);
reply webhook_statuses(struct req *r);

#endif
