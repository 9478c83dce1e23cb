/* What is written is JSON, whatever the text. */
#include "../../lib/jw.c"

#include "arena.h"

#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
members_are_written_in_order_with_their_commas(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct jw *j = jw_new(a);
    jw_object(j, NULL);
    jw_str(j, "s", "x");
    jw_array(j, "list");
    jw_int(j, NULL, -5);
    jw_bool(j, NULL, true);
    jw_null(j, NULL);
    jw_object(j, NULL);
    jw_end(j);
    jw_end(j);
    jw_rupees(j, "amount", 2500050);
    jw_str(j, "none", NULL);
    jw_members(j, "\"a\":1,\"b\":2", 11);
    jw_members(j, "", 0);
    jw_raw(j, "raw", "[1]", 3);
    jw_end(j);
    size_t len;
    const char *text = jw_text(j, &len);
    assert_string_equal(text, "{\"s\":\"x\",\"list\":[-5,true,null,{}],\"amount\":25000.5,\"none\":null,\"a\":1,\"b\":2,\"raw\":[1]}");
    assert_int_equal(len, strlen(text));
    arena_free(a);
}

static void
hostile_text_stays_inside_its_string(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct jw *j = jw_new(a);
    jw_array(j, NULL);
    jw_strn(j, NULL, "\"\\\n\r\t\x01\x1f\0/", 9);
    jw_str(j, NULL, "₹ 1,24,950 മലയാളം");
    jw_strn(j, NULL, "a\xffz\xc0\x80", 5);
    jw_end(j);
    assert_string_equal(jw_text(j, NULL),
        "[\"\\\"\\\\\\n\\r\\t\\u0001\\u001f\\u0000/\",\"₹ 1,24,950 മലയാളം\",\"a\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\"]");
    arena_free(a);
}

static void
a_time_of_postgresql_becomes_iso_8601_with_milliseconds(void **state)
{
    (void)state;
    static const struct { const char *text, *json; } cases[] = {
        { "2026-11-22 10:11:12+00", "\"2026-11-22T10:11:12.000Z\"" },
        { "2026-11-22 10:11:12.3+00", "\"2026-11-22T10:11:12.300Z\"" },
        { "2026-11-22 10:11:12.34+00", "\"2026-11-22T10:11:12.340Z\"" },
        { "2026-11-22 10:11:12.345678+00", "\"2026-11-22T10:11:12.345Z\"" },
        { NULL, "null" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena *a = arena_new();
        struct jw *j = jw_new(a);
        jw_time(j, NULL, cases[i].text);
        assert_string_equal(jw_text(j, NULL), cases[i].json);
        arena_free(a);
    }
}

static void
any_bytes_give_text_that_a_parser_takes(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 2000; round++) {
        struct arena *a = arena_new();
        struct jw *j = jw_new(a);
        char bytes[64];
        size_t len = seed % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
        jw_strn(j, NULL, bytes, len);
        struct json_tokener *tok = json_tokener_new();
        json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        size_t n;
        const char *text = jw_text(j, &n);
        struct json_object *o = json_tokener_parse_ex(tok, text, (int)n + 1);
        assert_int_equal(json_tokener_get_error(tok), json_tokener_success);
        json_object_put(o);
        json_tokener_free(tok);
        arena_free(a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_written_in_order_with_their_commas),
        cmocka_unit_test(hostile_text_stays_inside_its_string),
        cmocka_unit_test(a_time_of_postgresql_becomes_iso_8601_with_milliseconds),
        cmocka_unit_test(any_bytes_give_text_that_a_parser_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
