/* fuzz_jr -- JSON bodies: what we take for JSON json-c takes, too; everything in it is found where it stands, and
 * what is written anew says the same. */
#include "../../lib/arena.h"
#include "../../lib/jr.h"
#include "../../lib/valid.h"

#include <assert.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 30 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
json_c_agrees(const char *text, size_t len)
{
    struct json_tokener *tok = json_tokener_new_ex(DEPTH + 2);
    struct json_object *value;

    assert(tok != NULL);
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
    value = json_tokener_parse_ex(tok, text, (int)len + 1);   /* with its NUL: a bare number ends there */
    assert(json_tokener_get_error(tok) == json_tokener_success);
    json_object_put(value);
    json_tokener_free(tok);
}

/* All of V, each value within its parent; the number of them. */
static size_t
look(struct arena *a, struct jr v, bool utf8)
{
    size_t n = 1, len;

    if (v.kind == JR_STRING) {
        const char *text = jr_text(a, v, &len);

        assert(len + 2 <= v.len && text[len] == '\0' && (!utf8 || valid_utf8(text, len)));
    }
    for (struct jr_walk w = jr_walk(v); jr_next(&w);) {
        assert(w.value.s > v.s && w.value.s + w.value.len < v.s + v.len);
        assert((w.name.kind == JR_STRING) == (v.kind == JR_OBJECT));
        n += look(a, w.value, utf8);
    }
    return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct arena *arena;
    struct jr v, again;
    size_t compact_len;

    if (arena == NULL)
        arena = arena_new();
    arena_reset(arena);
    /* In memory of its own size, so that nothing is read behind it unseen; then with the NUL of a body. */
    char *copy = malloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(copy, data, len);
    bool good = jr_check(copy, len, DEPTH, &v);
    if (good) {
        bool utf8 = valid_utf8(copy, len);
        size_t n = look(arena, v, utf8);
        const char *text = jr_compact(arena, v, &compact_len);

        assert(compact_len <= v.len && jr_check(text, compact_len, DEPTH, &again) && look(arena, again, utf8) == n);
        assert(strcmp(jr_compact(arena, again, NULL), text) == 0);
        json_c_agrees(arena_memdup0(arena, copy, len), len);
    }
    free(copy);
    return 0;
}
