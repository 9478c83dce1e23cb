/* A DSN (behind a D), or a line of the spool: no crash, and what would be sent is an envelope of one event. */
int reporter_main(int argc, char **argv);
#define main reporter_main
#include "../../cron/selliko-report-errors.c"
#undef main

#include "../../realtime/socketpacket.h"

#define SECRET "0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
judge_dsn(const char *dsn)
{
    if (!read_dsn(dsn))
        return;
    if (strncmp(to.url, "http", 4) != 0 || strstr(to.url, "/api/") == NULL)
        abort();
    for (const char *s = to.auth; *s != '\0'; s++)
        if (*s < ' ' || *s == 0x7f)
            abort();   /* it becomes a header */
}

/* {"event_id":…}\n{"type":"event","length":N}\n N bytes of JSON \n */
static void
judge_envelope(const char *body)
{
    const char *second = strchr(body, '\n'), *third = second != NULL ? strchr(second + 1, '\n') : NULL;
    size_t length;

    if (third == NULL || sscanf(second + 1, "{\"type\":\"event\",\"length\":%zu}", &length) != 1)
        abort();
    if (strlen(third + 1) != length + 1 || third[1 + length] != '\n')
        abort();
    struct json_object *event = json_tokener_parse(third + 1), *id;
    if (!json_object_object_get_ex(event, "event_id", &id) || json_object_get_string_len(id) != 32)
        abort();
    json_object_put(event);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;

    if (arena == NULL) {
        arena = arena_new();
        if (setenv("JWT_SECRET", SECRET, 1) != 0 || setenv("ENCRYPTION_KEY", SECRET, 1) != 0 || setenv("FILE_URL_SECRET", SECRET, 1) != 0
            || !config_load(stderr))
            abort();
    }
    arena_reset(arena);
    if (size > 0 && data[0] == 'D') {
        judge_dsn(arena_memdup0(arena, data + 1, size - 1));
    } else {
        const char *body = envelope_of(arena, (const char *)data, size);
        if (body != NULL)
            judge_envelope(body);
    }
    return 0;
}
