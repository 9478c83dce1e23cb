/* hook -- see hook.h. */
#include "hook.h"

#include "arena.h"
#include "crypto.h"
#include "encoding.h"
#include "jr.h"

#include <string.h>

bool
hook_signed(const char *secret, const char *header, const void *body, size_t len)
{
    static const char prefix[] = "sha256=";
    uint8_t right[32], given[32] = { 0 };
    bool whole = header != NULL && strncmp(header, prefix, sizeof prefix - 1) == 0
                 && encoding_unhex(given, sizeof given, header + sizeof prefix - 1,
                                 strlen(header + sizeof prefix - 1)) == (ssize_t)sizeof given;

    crypto_hmac(secret, strlen(secret), body, len, right);
    return crypto_equal(right, given, sizeof right) && whole;
}

bool
hook_is_handshake(const char *verify_token, const char *mode, const char *token)
{
    uint8_t right[32], given[32];

    if (verify_token == NULL || *verify_token == '\0' || mode == NULL || token == NULL)
        return false;
    /* Hashed first, so that not even the length can be measured. */
    crypto_sha256(verify_token, strlen(verify_token), right);
    crypto_sha256(token, strlen(token), given);
    return crypto_equal(right, given, sizeof right) && strcmp(mode, "subscribe") == 0;
}

/* Text of 1 to MAX visible characters; NULL when it is anything else. */
static const char *
word(struct arena *a, struct jr o, const char *key, size_t max)
{
    char text[256];
    size_t len = jr_decode(jr_member(o, key), text, sizeof text);

    if (len == 0 || len > max)
        return NULL;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return NULL;
    return arena_memdup0(a, text, len);
}

static bool
read_status(struct arena *a, struct jr o, struct hook_status *out)
{
    const char *id = word(a, o, "id", 255), *status = word(a, o, "status", 9), *phone = word(a, o, "recipient_id", 15);
    int64_t code;

    if (id == NULL || status == NULL
        || (strcmp(status, "sent") != 0 && strcmp(status, "delivered") != 0 && strcmp(status, "read") != 0
            && strcmp(status, "failed") != 0))
        return false;   /* there are others (deleted, warning), which change nothing here */
    *out = (struct hook_status){ .id = id, .status = status };
    if (phone != NULL && strspn(phone, "0123456789") == strlen(phone))
        out->phone = arena_printf(a, "+%s", phone);
    if (jr_int(jr_member(jr_element(jr_member(o, "errors"), 0), "code"), 0, INT32_MAX, &code))
        out->code = (int)code;
    return true;
}

bool
hook_statuses(struct arena *a, const char *body, size_t len, const struct hook_status **status, size_t *n)
{
    struct hook_status *out = NULL;
    struct jr root;
    size_t room = 0;

    *status = NULL;
    *n = 0;
    if (!jr_check(body, len, 24, &root) || root.kind != JR_OBJECT)
        return false;
    for (struct jr_walk entry = jr_walk(jr_member_of(root, "entry", JR_ARRAY)); jr_next(&entry);)
        for (struct jr_walk change = jr_walk(jr_member_of(entry.value, "changes", JR_ARRAY)); jr_next(&change);) {
            struct jr value = jr_member(change.value, "value");

            for (struct jr_walk one = jr_walk(jr_member_of(value, "statuses", JR_ARRAY)); jr_next(&one);) {
                if (*n == room) {
                    struct hook_status *more = arena_alloc(a, (room = room * 2 + 64) * sizeof *more);

                    if (*n > 0)
                        memcpy(more, out, *n * sizeof *more);
                    *status = out = more;
                }
                if (read_status(a, one.value, &out[*n]))
                    ++*n;
            }
        }
    return true;
}
