/* jr: the reader takes JSON and nothing else, and finds in it what is there, to the letter. */
#include "../../lib/jr.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "with_arena.h"

/* TEXT in memory of its own size, so that a sanitizer sees what is read behind it. */
static bool
is_json(const char *text, size_t len, int depth)
{
    char *copy = malloc(len);
    struct jr v;
    assert_non_null(copy);
    memcpy(copy, text, len);
    bool good = jr_check(copy, len, depth, &v);
    free(copy);
    return good;
}

static void
json_is_taken_and_nothing_else(void **state)
{
    static const char *const good[] = {
        "{}", "[]", " [ ] ", "\t{\r\n}\n", "0", "-0", "-1.5e+10", "1E5", "1e-5", "0.0", "\"\"", "true", "false", "null",
        "[1,2 , 3]", "{\"a\":1,\"a\":2}", "{\"\":[{}]}", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"", "\"\\ud800\"", "\"\x7f\"",
    };
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "]", "[1", "[1,", "[1,]", "[,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "{1:1}",
        "{\"a\" 1}", "{\"a\":1 \"b\":2}", "[1}", "{\"a\":1]", "01", "-01", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "0x1", "1a", "NaN", "-Infinity", "nul",
        "nulll", "True", "tru", "\"", "\"a", "\"\\", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u\"", "\"a\nb\"", "\"\t\"", "{}x", "1 2", "//\n1",
        "/**/1", "[1]]", "\xef\xbb\xbf{}", "\xc2\xa0{}", "\v1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!is_json(good[i], strlen(good[i]), 8))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (is_json(bad[i], strlen(bad[i]), 8))
            fail_msg("%s", bad[i]);
    assert_false(is_json("{}\0", 3, 8));
    assert_false(is_json("\"\\\0\"", 4, 8));
}

static void
arrays_and_objects_may_lie_as_deep_as_is_said(void **state)
{
    (void)state;
    assert_true(is_json("[{\"a\":[]}]", 10, 3));
    assert_false(is_json("[{\"a\":[]}]", 10, 2));
    assert_true(is_json("5", 1, 0));
    assert_false(is_json("[]", 2, 0));
}

static struct jr
parsed(const char *text)
{
    struct jr v;
    assert_true(jr_check(text, strlen(text), 8, &v));
    return v;
}

static void
members_are_found_by_name_the_last_of_a_name(void **state)
{
    int64_t n;
    (void)state;
    struct jr o = parsed(" { \"a\" : 1 , \"b\":{\"a\":[2,\"]}\\\"\"]},\"a\":-7.50 ,\"\\u0063\":true,\"d\":null, \"e\\u0000\" : 9 } ");
    assert_int_equal(jr_count(o), 6);
    struct jr a = jr_member(o, "a");
    assert_int_equal(a.kind, JR_NUMBER);
    assert_int_equal(a.len, 5);
    assert_memory_equal(a.s, "-7.50", 5);
    assert_true(jr_true(jr_member(o, "c")));
    assert_int_equal(jr_member(o, "d").kind, JR_NULL);
    assert_int_equal(jr_member(o, "e").kind, JR_ABSENT);
    struct jr inner = jr_member(jr_member(o, "b"), "a");
    assert_int_equal(jr_count(inner), 2);
    assert_true(jr_int(jr_element(inner, 0), 0, 9, &n) && n == 2);
    assert_false(jr_int(jr_element(inner, 0), 3, 9, &n));
    assert_true(jr_is(jr_element(inner, 1), "]}\""));
    assert_int_equal(jr_element(inner, 2).kind, JR_ABSENT);
    assert_int_equal(jr_member_of(o, "b", JR_ARRAY).kind, JR_ABSENT);
    assert_int_equal(jr_member(a, "a").kind, JR_ABSENT);
    assert_int_equal(jr_count(a), 0);
    assert_false(jr_int(a, 0, 9, &n));
}

static void
text_is_decoded(void **state)
{
    static const struct { const char *json, *text; size_t len; } cases[] = {
        { "\"\"", "", 0 }, { "\"a\\n\\t\\\\\\/\\\"\\b\\f\\r\"", "a\n\t\\/\"\b\f\r", 9 }, { "\"\\u0041\\u00e9\\u0d2e\"", "A\xc3\xa9\xe0\xb4\xae", 6 },
        { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4 }, { "\"\\ud83dx\"", "\xef\xbf\xbdx", 4 }, { "\"\\ud83d\\u0041\"", "\xef\xbf\xbd" "A", 4 },
        { "\"\\ude00\"", "\xef\xbf\xbd", 3 }, { "\"a\\u0000b\"", "a\0b", 3 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len;
        char *text = jr_text(arena, parsed(cases[i].json), &len);
        assert_int_equal(len, cases[i].len);
        assert_memory_equal(text, cases[i].text, len + 1);
    }
    char small[5];
    assert_int_equal(jr_decode(parsed("\"abc\xc3\xa9z\""), small, sizeof small), 6);
    assert_string_equal(small, "abc");   /* not half a character */
    assert_int_equal(jr_decode(parsed("5"), small, sizeof small), 0);
    assert_string_equal(small, "");
    assert_true(jr_is(parsed("\"\\u0061b\""), "ab"));
    assert_false(jr_is(parsed("\"\\u0061b\""), "abc"));
    assert_false(jr_is(parsed("\"ab\\u0000\""), "ab"));
    assert_false(jr_is(parsed("5"), "5"));
}

static void
text_is_written_anew_without_blanks(void **state)
{
    size_t len;
    (void)state;
    const char *text = jr_compact(arena, parsed(" { \"a b\" : [ 1.10 , \"x \\\" y\" ],\t\"\\ud800\\n\":\"\\udc00\\ud83d\\ude00\\ufffd\" } "), &len);
    assert_string_equal(text, "{\"a b\":[1.10,\"x \\\" y\"],\"\\ufffd\\n\":\"\\ufffd\\ud83d\\ude00\\ufffd\"}");
    assert_int_equal(len, strlen(text));
}

static void
the_first_of_several_values_can_be_asked_for(void **state)
{
    struct jr v;
    (void)state;
    assert_true(jr_first(" {\"a\":1},5", 10, 8, &v));
    assert_int_equal(v.len, 7);
    assert_true(jr_first("5,", 2, 8, &v) && v.len == 1);
    assert_false(jr_first(",5", 2, 8, &v));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_taken_and_nothing_else),
        cmocka_unit_test(arrays_and_objects_may_lie_as_deep_as_is_said),
        cmocka_unit_test(members_are_found_by_name_the_last_of_a_name),
        cmocka_unit_test(text_is_decoded),
        cmocka_unit_test(text_is_written_anew_without_blanks),
        cmocka_unit_test(the_first_of_several_values_can_be_asked_for),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
