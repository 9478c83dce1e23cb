/* hook -- what Meta posts to /webhooks/whatsapp: its signature, and the statuses in it.
 *
 * Pure functions, for any thread. */
#ifndef SELLIKO_HOOK_H
#define SELLIKO_HOOK_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* Whether HEADER (X-Hub-Signature-256, "sha256=" and 64 hex digits; NULL when it was not sent) is the
 * HMAC-SHA256 of the LEN bytes at BODY, as they came, under SECRET.  In constant time. */
bool hook_signed(const char *secret, const char *header, const void *body, size_t len);

/* Meta's handshake: whether these are the parameters it sends when a webhook is set up with VERIFY_TOKEN
 * (NULL or "": never).  Any of them may be NULL. */
bool hook_is_handshake(const char *verify_token, const char *mode, const char *token);

/* One status: id (wamid…), status (sent, delivered, read or failed), the recipient's number with its +
 * (NULL when it is no number), the first error's code (0 for none). */
struct hook_status {
    const char *id, *status, *phone;
    int code;
};

/* All statuses in all entries and changes of the LEN bytes at BODY, in their order, in A.  What is not as
 * documented is passed over, and the rest still counts; *N is then smaller.  False when the body is not
 * a JSON object at all. */
bool hook_statuses(struct arena *a, const char *body, size_t len, const struct hook_status **status, size_t *n);

#endif
