/* webhooks -- see webhooks.h.
 *
 * Meta asks once whether this is the place (the handshake), and from then on posts what became of each
 * message: sent, delivered, read, failed.  It posts at least once, in any order, many statuses in one
 * body, and again for days what was not answered with 200.  So everything that is signed is taken: what
 * cannot be understood or belongs to no message of ours is passed over, and whatsapp_status() only ever
 * moves a message forward, which makes the order and the repetitions meaningless.
 *
 * A body of 3 MB is one statement. */
#include "webhooks.h"

#include "config.h"
#include "crypto.h"
#include "hook.h"

#include <string.h>

SQL(record, "SELECT whatsapp_status($1, $2, $3, $4) AS changed");

/* GET /webhooks/whatsapp ?hub.mode=subscribe&hub.verify_token=…&hub.challenge=… -> the challenge, as plain
 * text.  forbidden. */
reply
webhook_handshake(struct req *r)
{
    const char *mode = query_text(r, "hub.mode", 1, 100);
    const char *token = query_text(r, "hub.verify_token", 1, 1000);
    const char *challenge = query_text(r, "hub.challenge", 1, 1024);

    if (bad_input(r) || !hook_is_handshake(config()->whatsapp_webhook_verify_token, mode, token))
        return failf(r, ERR_FORBIDDEN, "The verify token is not right.");
    return plain(r, 200, "text/plain; charset=utf-8", challenge, strlen(challenge));
}

/* One property of all N statuses as the text of an array. */
static const char *
ids_of(struct arena *a, const struct hook_status *s, size_t n)
{
    size_t room = 3;
    char *text, *p;

    for (size_t i = 0; i < n; i++)
        room += 2 * strlen(s[i].id) + 3;
    text = p = arena_alloc(a, room);
    for (size_t i = 0; i < n; i++) {
        *p++ = i == 0 ? '{' : ',';
        *p++ = '"';
        for (const char *c = s[i].id; *c != '\0'; c++) {
            if (*c == '"' || *c == '\\')
                *p++ = '\\';
            *p++ = *c;
        }
        *p++ = '"';
    }
    memcpy(p, "}", 2);
    return text;
}

static const char *
statuses_of(struct arena *a, const struct hook_status *s, size_t n)
{
    char *text = arena_alloc(a, n * sizeof "delivered," + 2), *p = text;

    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(s[i].status);

        *p++ = i == 0 ? '{' : ',';
        memcpy(p, s[i].status, len);
        p += len;
    }
    memcpy(p, "}", 2);
    return text;
}

static const char *
codes_of(struct arena *a, const struct hook_status *s, size_t n)
{
    char *text = arena_alloc(a, n * 13 + 2), *p = text;

    for (size_t i = 0; i < n; i++)
        p += snprintf(p, 14, "%c%d", i == 0 ? '{' : ',', s[i].code);
    memcpy(p, "}", 2);
    return text;
}

/* Whom they are about, as keyed hashes: a message whose answer was lost is known by its recipient. */
static const char *
phones_of(struct arena *a, const struct hook_status *s, size_t n)
{
    char *text = arena_alloc(a, n * (CRYPTO_LOOKUP_TEXT_SIZE + 4) + 2), *p = text;
    char hash[CRYPTO_LOOKUP_TEXT_SIZE];

    for (size_t i = 0; i < n; i++) {
        *p++ = i == 0 ? '{' : ',';
        if (s[i].phone != NULL && crypto_lookup_text("phone", s[i].phone, hash))
            p += snprintf(p, sizeof hash + 4, "\"\\%s\"", hash);
        else
            p = (char *)memcpy(p, "NULL", 4) + 4;
    }
    memcpy(p, "}", 2);
    return text;
}

/* POST /webhooks/whatsapp, Meta's body with its X-Hub-Signature-256 -> {success}.  signature_invalid,
 * malformed_json. */
reply
webhook_statuses(struct req *r)
{
    const char *secret = config()->whatsapp_app_secret;
    const struct hook_status *status;
    size_t len, n;
    const char *body = req_body(r, &len);

    if (secret != NULL && !hook_signed(secret, req_header(r, "X-Hub-Signature-256"), body, len))
        return fail(r, ERR_SIGNATURE_INVALID);
    if (!hook_statuses(r->arena, body, len, &status, &n))
        return fail(r, ERR_MALFORMED_JSON);
    if (n > 0)
        (void)db_the_row(r, record, ids_of(r->arena, status, n), statuses_of(r->arena, status, n),
                         codes_of(r->arena, status, n), phones_of(r->arena, status, n));
    return ok(r);
}
