/* A line is one JSON object whatever is logged, and long numbers do not get into it. */
#include "../../lib/log.c"

#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static FILE *file;   /* what stderr goes to */
static int real_stderr;
static char text[3 * LINE_MAX_BYTES];

static int
setup(void **state)
{
    (void)state;
    file = tmpfile();
    if (file == NULL)
        return -1;
    real_stderr = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    log_open("bids", "info");
    log_context(NULL, NULL);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    return fclose(file);
}

/* What was logged since the last call. */
static const char *
logged(void)
{
    ssize_t n = pread(fileno(file), text, sizeof text - 1, 0);
    assert_true(n >= 0);
    assert_int_equal(ftruncate(fileno(file), 0), 0);
    lseek(fileno(file), 0, SEEK_SET);
    text[n] = '\0';
    return text;
}

static json_object *
line(void)
{
    const char *s = logged();
    enum json_tokener_error e;

    assert_int_equal(s[strlen(s) - 1], '\n');
    assert_ptr_equal(strchr(s, '\n'), s + strlen(s) - 1);
    json_object *o = json_tokener_parse_verbose(s, &e);
    assert_int_equal(e, json_tokener_success);
    return o;
}

static const char *
member(json_object *o, const char *key)
{
    json_object *v;

    return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : NULL;
}

static void
a_line_says_when_who_and_what(void **state)
{
    (void)state;
    log_context("11112222333344445555666677778888", "POST /bids");
    log_error("database away", log_s("sqlstate", "08006"), log_i("attempt", -3), log_f("ms", 1.5), log_b("again", true),
              log_s("hint", NULL));
    json_object *o = line();
    assert_int_equal(strlen(member(o, "time")), strlen("2026-11-22T10:11:12.345Z"));
    assert_string_equal(member(o, "level"), "error");
    assert_string_equal(member(o, "program"), "bids");
    assert_string_equal(member(o, "message"), "database away");
    assert_string_equal(member(o, "requestId"), "11112222333344445555666677778888");
    assert_string_equal(member(o, "route"), "POST /bids");
    assert_string_equal(member(o, "sqlstate"), "08006");
    assert_string_equal(member(o, "attempt"), "-3");
    assert_string_equal(member(o, "ms"), "1.500");
    assert_string_equal(member(o, "again"), "true");
    assert_null(member(o, "hint"));
    json_object_put(o);
}

static void
levels_below_the_least_are_silent(void **state)
{
    (void)state;
    log_debug("not this");
    assert_string_equal(logged(), "");
    log_open("bids", "error");
    log_warn("nor this");
    assert_string_equal(logged(), "");
    log_open("bids", "debug");
    log_debug("but this");
    json_object_put(line());
}

static void
hostile_text_stays_inside_its_string(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "\"}\n{\"level\":\"error\"", "\\", "\x01\x1f\x7f\t\r\n", "\xff\xfe", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf0\x9f\x98",
        "ok \xe2\x82\xb9 \xf0\x9f\x98\x80",
    };
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        log_context(hostile[i], hostile[i]);
        log_info("said", log_s("text", hostile[i]));
        json_object *o = line();
        assert_string_equal(member(o, "level"), "info");
        assert_true(valid_utf8(member(o, "text"), strlen(member(o, "text"))));
        if (i < 2 || i == 9)
            assert_string_equal(member(o, "text"), hostile[i]);
        json_object_put(o);
    }
}

static void
a_text_that_is_too_long_is_cut_and_too_many_fields_left_out(void **state)
{
    (void)state;
    char much[3 * TEXT_MAX_BYTES];
    memset(much, 'a', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    log_info("long", log_s("a", much));
    json_object *o = line();
    assert_int_equal(strlen(member(o, "a")), TEXT_MAX_BYTES + strlen("…"));
    json_object_put(o);

    memset(much, '\n', sizeof much - 1);
    log_info("long", log_s("a", much), log_s("b", much), log_i("c", 1));
    o = line();
    assert_null(member(o, "a"));
    assert_string_equal(member(o, "c"), "1");
    json_object_put(o);

    memset(much, 'x', sizeof much - 1);
    for (size_t cut = 900; cut < 1200; cut++) {
        char copy[1300];
        memset(copy, 'x', cut);
        memset(copy + cut, 0, sizeof copy - cut);
        log_info("long", log_s("a", copy), log_s("b", copy), log_s("c", copy), log_s("d", copy), log_s("e", copy));
        json_object_put(line());
    }
}

static void
long_numbers_are_hidden(void **state)
{
    (void)state;
    log_error("duplicate", log_s("detail", "Key (phone)=(+919876543210), imei 351234567890123"),
              log_s("id", "12345678-1234-4234-8234-123456789012"), log_s("hash", "a1234567890123"), log_s("n", "123456789"));
    json_object *o = line();
    assert_string_equal(member(o, "detail"), "Key (phone)=(+************), imei ***************");
    assert_string_equal(member(o, "id"), "12345678-1234-4234-8234-123456789012");
    assert_string_equal(member(o, "hash"), "a1234567890123");
    assert_string_equal(member(o, "n"), "123456789");
    json_object_put(o);
}

static void
errno_survives(void **state)
{
    (void)state;
    errno = EDOM;
    log_info("x");
    assert_int_equal(errno, EDOM);
    logged();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_says_when_who_and_what, setup, teardown),
        cmocka_unit_test_setup_teardown(levels_below_the_least_are_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_text_stays_inside_its_string, setup, teardown),
        cmocka_unit_test_setup_teardown(a_text_that_is_too_long_is_cut_and_too_many_fields_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(long_numbers_are_hidden, setup, teardown),
        cmocka_unit_test_setup_teardown(errno_survives, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
