/* The input, cut at its NULs into texts, in an answer and in a line of the log: both are JSON whatever the
 * texts hold, on one line, and a second reader gets the texts back. */
#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static char line_text[1 << 16];
static size_t line_len;

/* Where log.c thinks that standard error is. */
static ssize_t
catch_line(int fd, const void *text, size_t len)
{
    (void)fd;
    if (len >= sizeof line_text)
        abort();
    memcpy(line_text, text, len);
    line_len = len;
    return (ssize_t)len;
}
#define write catch_line
#include "../../lib/log.c"
#undef write

#include "../../lib/arena.h"
#include "../../lib/jw.h"
#include "../../realtime/socketpacket.h"
#include "reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
judge_json(const char *text, size_t len)
{
    if (socketpacket_json_end(text, text + len) != text + len || memchr(text, '\n', len) != NULL || !slow_utf8(text, len))
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    size_t len, n = 0;

    if (arena == NULL)
        arena = arena_new();
    arena_reset(arena);
    char *text = arena_memdup0(arena, data, size);
    struct jw *j = jw_new(arena);
    jw_object(j, NULL);
    jw_strn(j, "whole", text, size);
    jw_time(j, "time", text);
    jw_array(j, "parts");
    for (size_t at = 0; at <= size; at += strlen(text + at) + 1, n++)
        jw_str(j, NULL, text + at);
    jw_end(j);
    jw_end(j);
    const char *json = jw_text(j, &len);
    /* jw_time writes what PostgreSQL does, whose text it believes; other text may not come to it. */
    struct json_object *root = json_tokener_parse(json), *parts;
    if (strlen(text) < 19)
        judge_json(json, len);
    if (strlen(text) < 19 && slow_utf8(text, size)) {
        if (!json_object_object_get_ex(root, "parts", &parts) || json_object_array_length(parts) != n)
            abort();
        size_t at = 0;
        for (size_t i = 0; i < n; i++, at += strlen(text + at) + 1)
            if (strcmp(json_object_get_string(json_object_array_get_idx(parts, i)), text + at) != 0)
                abort();
        if (!json_object_object_get_ex(root, "whole", &parts) || (size_t)json_object_get_string_len(parts) != size
            || memcmp(json_object_get_string(parts), text, size) != 0)
            abort();
    }
    json_object_put(root);

    log_open("fuzz", "info");
    log_context("0123456789abcdef0123456789abcdef", text);
    log_info(text, log_s("first", text), log_i("number", (int64_t)size), log_s("second", text + strlen(text) + (strlen(text) < size)),
             log_f("real", (double)size / 7));
    log_context(NULL, NULL);
    if (line_len < 2 || line_text[line_len - 1] != '\n')
        abort();
    judge_json(line_text, line_len - 1);
    return 0;
}
