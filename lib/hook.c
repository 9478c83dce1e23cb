/* hook -- see hook.h. */
#include "hook.h"

#include "arena.h"
#include "crypto.h"

#include <json-c/json.h>
#include <limits.h>
#include <string.h>

bool
hook_signed(const char *secret, const char *header, const void *body, size_t len)
{
    static const char prefix[] = "sha256=";
    uint8_t right[32], given[32] = { 0 };
    bool whole = header != NULL && strncmp(header, prefix, sizeof prefix - 1) == 0
                 && crypto_unhex(given, sizeof given, header + sizeof prefix - 1,
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

/* The member KEY of O when it is of TYPE, else NULL. */
static json_object *
member(json_object *o, const char *key, enum json_type type)
{
    json_object *v;

    if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &v))
        return NULL;
    return json_object_is_type(v, type) ? v : NULL;
}

/* The elements of the array KEY of O, none when it is not one. */
static size_t
array(json_object *o, const char *key, json_object **out)
{
    *out = member(o, key, json_type_array);
    return *out == NULL ? 0 : json_object_array_length(*out);
}

/* Text of 1 to MAX visible characters; NULL when it is anything else. */
static const char *
word(json_object *o, const char *key, size_t max)
{
    json_object *v = member(o, key, json_type_string);
    const char *s = json_object_get_string(v);
    size_t len = v == NULL ? 0 : (size_t)json_object_get_string_len(v);

    if (len == 0 || len > max)
        return NULL;
    for (size_t i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] >= 0x7f)
            return NULL;
    return s;
}

static bool
read_status(struct arena *a, json_object *o, struct hook_status *out)
{
    const char *id = word(o, "id", 255), *status = word(o, "status", 9), *phone = word(o, "recipient_id", 15);
    json_object *errors, *code;

    if (id == NULL || status == NULL
        || (strcmp(status, "sent") != 0 && strcmp(status, "delivered") != 0 && strcmp(status, "read") != 0
            && strcmp(status, "failed") != 0))
        return false;   /* there are others (deleted, warning), which change nothing here */
    *out = (struct hook_status){ .id = id, .status = status };
    if (phone != NULL && strspn(phone, "0123456789") == strlen(phone))
        out->phone = arena_printf(a, "+%s", phone);
    if (array(o, "errors", &errors) > 0
        && (code = member(json_object_array_get_idx(errors, 0), "code", json_type_int)) != NULL)
        out->code = json_object_get_int(code);
    return true;
}

static void
put(void *root)
{
    json_object_put(root);
}

bool
hook_statuses(struct arena *a, const char *body, size_t len, const struct hook_status **status, size_t *n)
{
    json_tokener *tok;
    json_object *root, *entries, *changes, *list;
    struct hook_status *out = NULL;
    size_t room = 0;

    *status = NULL;
    *n = 0;
    if (len > INT_MAX || (tok = json_tokener_new_ex(24)) == NULL)
        return false;
    root = json_tokener_parse_ex(tok, body, (int)len);
    if (json_tokener_get_error(tok) != json_tokener_success) {
        json_object_put(root);
        root = NULL;
    }
    json_tokener_free(tok);
    arena_own(a, root, put);   /* the texts found are its own */
    if (!json_object_is_type(root, json_type_object))
        return false;

    size_t n_entries = array(root, "entry", &entries);
    for (size_t i = 0; i < n_entries; i++) {
        size_t n_changes = array(json_object_array_get_idx(entries, i), "changes", &changes);

        for (size_t k = 0; k < n_changes; k++) {
            json_object *value = member(json_object_array_get_idx(changes, k), "value", json_type_object);
            size_t n_list = array(value, "statuses", &list);

            for (size_t m = 0; m < n_list; m++) {
                if (*n == room) {
                    struct hook_status *more = arena_alloc(a, (room = room * 2 + 64) * sizeof *more);

                    if (*n > 0)
                        memcpy(more, out, *n * sizeof *more);
                    *status = out = more;
                }
                if (read_status(a, json_object_array_get_idx(list, m), &out[*n]))
                    ++*n;
            }
        }
    }
    return true;
}
