/* notifications -- what people were told, and what Meta tells of their WhatsApp messages (webhooks.c). */
#include "app.h"
#include "webhooks.h"

#define ROUTES(X) WEBHOOK_ROUTES(X)

APP("notifications", ROUTES)
