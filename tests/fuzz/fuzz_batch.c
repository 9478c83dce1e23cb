/* The input's lines as the idempotency keys of bids that wait together: the array that PostgreSQL is given
 * holds these and nothing else, whatever stands in them. */
#include "../../cgi-bin/batch.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next element of an array's text (PostgreSQL 15, 8.15.6), in OUT; NULL when it is null. */
static char *
element(const char **s, char *out)
{
    size_t n = 0;

    if (strncmp(*s, "NULL", 4) == 0) {
        *s += 4;
        return NULL;
    }
    if (*(*s)++ != '"')
        abort();
    for (; **s != '"'; (*s)++) {
        if (**s == '\\')
            (*s)++;
        if (**s == '\0')
            abort();
        out[n++] = **s;
    }
    (*s)++;
    out[n] = '\0';
    return out;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    struct req r[BATCH_MAX] = { { .id = NULL } };
    struct batch_bid b[BATCH_MAX] = { { .paise = 0 } };
    struct waiting waiting[BATCH_MAX], *w[BATCH_MAX];
    int n = 0;

    if (arena == NULL)
        arena = arena_new();
    arena_reset(arena);
    char *rest = arena_memdup0(arena, data, size), *line;
    for (; n < BATCH_MAX && (line = strsep(&rest, "\n")) != NULL; n++) {
        r[n].idempotency_key = *line != '\0' ? line : NULL;
        waiting[n] = (struct waiting){ .r = &r[n], .b = &b[n] };
        w[n] = &waiting[n];
    }
    const char *s = array_of(arena, w, n, M_KEY);
    char *out = arena_alloc(arena, size + 1);
    if (*s++ != '{')
        abort();
    for (int i = 0; i < n; i++) {
        if (i > 0 && *s++ != ',')
            abort();
        const char *key = element(&s, out);
        if ((key == NULL) != (r[i].idempotency_key == NULL) || (key != NULL && strcmp(key, r[i].idempotency_key) != 0))
            abort();
    }
    if (strcmp(s, "}") != 0)
        abort();
    return 0;
}
