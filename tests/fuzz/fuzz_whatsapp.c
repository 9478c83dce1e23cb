/* The input is an HTTP status (two bytes) and what the Graph API, or Meta's webhook, might say.  Whatever it
 * is: no crash, and what is kept of it is text that goes into the database. */
#include "../../lib/arena.h"
#include "../../lib/hook.h"
#include "../../lib/valid.h"
#include "../../lib/whatsapp.h"

#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is posted is JSON with N texts (twice for an OTP), each of which Meta takes. */
static void
judge_body(const char *body, int n, bool twice)
{
    struct json_object *root = json_tokener_parse(body), *template, *components, *parameters, *text;

    if (!json_object_object_get_ex(root, "template", &template) || !json_object_object_get_ex(template, "components", &components)
        || json_object_array_length(components) != (twice ? 2 : 1))
        abort();
    for (size_t i = 0; i < json_object_array_length(components); i++) {
        if (!json_object_object_get_ex(json_object_array_get_idx(components, i), "parameters", &parameters)
            || json_object_array_length(parameters) != (size_t)n)
            abort();
        for (int k = 0; k < n; k++) {
            if (!json_object_object_get_ex(json_object_array_get_idx(parameters, (size_t)k), "text", &text))
                abort();
            const char *s = json_object_get_string(text);
            size_t len = strlen(s);
            if (len == 0 || len > 1024 || !valid_utf8(s, len) || strstr(s, "    ") != NULL || strpbrk(s, "\r\n\t") != NULL)
                abort();
        }
    }
    json_object_put(root);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    struct whatsapp_answer answer;
    const struct hook_status *status;
    const char *param[WHATSAPP_PARAMS_MAX], *text;
    size_t n;

    if (size < 2)
        return 0;
    if (arena == NULL)
        arena = arena_new();
    arena_reset(arena);
    text = arena_memdup0(arena, data + 2, size - 2);

    whatsapp_answer(&answer, data[0] << 8 | data[1], text, size - 2);
    if (answer.outcome >= WHATSAPP_N_OUTCOMES || memchr(answer.message_id, 0, sizeof answer.message_id) == NULL
        || memchr(answer.error, 0, sizeof answer.error) == NULL || !valid_utf8(answer.error, strlen(answer.error)))
        abort();
    for (const char *s = answer.error; *s != '\0'; s++)
        if ((unsigned char)*s < ' ')
            abort();
    if (hook_statuses(arena, text, size - 2, &status, &n))
        for (size_t i = 0; i < n; i++)
            if (status[i].id[0] == '\0' || strlen(status[i].id) > 255)
                abort();
    int n_params = whatsapp_params(arena, text, param);
    for (int template = 0; template < 2 && n_params > 0; template++) {
        const char *body = whatsapp_body(arena, "+919876543210", template == 0 ? "bid_placed" : "otp_verification", param,
                                         (size_t)n_params, true, &n);
        if (body == NULL || strlen(body) != n)
            abort();
        judge_body(body, n_params, template == 1);
    }
    (void)hook_signed("secret", text, data, 2);
    return 0;
}
