/* The input is an HTTP status (two bytes) and what the Graph API, or Meta's webhook, might say.  Whatever it
 * is: no crash, and what is kept of it is text that goes into the database. */
#include "../../lib/arena.h"
#include "../../lib/hook.h"
#include "../../lib/valid.h"
#include "../../lib/whatsapp.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    if (whatsapp_params(arena, text, param) > 0) {
        const char *body = whatsapp_body(arena, "+919876543210", "bid_placed", param, 1, true, &n);

        if (body == NULL || strlen(body) != n)
            abort();
    }
    return 0;
}
