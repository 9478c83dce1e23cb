/* Values at both ends of every bound. */
#include "../../lib/valid.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array)[0])

static void
phones_imeis_pincodes_and_otps_are_the_guides(void **state)
{
    (void)state;
    static const char *const phones[] = { "+916000000000", "+919876543210", "+917000000009" };
    static const char *const no_phones[] = { "", "+915876543210", "+91987654321", "+9198765432100", "919876543210", "+91987654321a", "+91 9876543210",
                                             "+919876543210\n", "+92987654321x", "+91\xd9\xa9" "87654321" };
    for (size_t i = 0; i < N(phones); i++)
        assert_true(valid_phone(phones[i]));
    for (size_t i = 0; i < N(no_phones); i++)
        assert_false(valid_phone(no_phones[i]));
    assert_true(valid_imei("351234567890123"));
    assert_false(valid_imei("35123456789012"));
    assert_false(valid_imei("3512345678901234"));
    assert_false(valid_imei("35123456789012x"));
    assert_true(valid_pincode("682001"));
    assert_false(valid_pincode("68200"));
    assert_false(valid_pincode("6820011"));
    assert_true(valid_otp("000000"));
    assert_false(valid_otp("00000"));
    assert_false(valid_otp("-00000"));
}

static void
luhn_tells_a_slip_of_one_digit(void **state)
{
    (void)state;
    char imei[] = "490154203237518";
    assert_true(valid_luhn(imei));
    for (size_t i = 0; i < 15; i++) {
        char was = imei[i];
        imei[i] = (char)('0' + (was - '0' + 1) % 10);
        assert_false(valid_luhn(imei));
        imei[i] = was;
    }
    assert_false(valid_luhn(""));
    assert_false(valid_luhn("49015420323751x"));
}

static void
a_uuid_has_one_form_of_either_case(void **state)
{
    (void)state;
    char out[37] = "untouched";
    const char *good = "0191d5b0-89AB-7cde-8f00-0123456789AF";
    static const char *const bad[] = { "", "0191d5b0-89ab-7cde-8f00-0123456789a", "0191d5b0-89ab-7cde-8f00-0123456789ag", "0191d5b089ab-7cde-8f00-00123456789af",
                                       "{191d5b0-89ab-7cde-8f00-0123456789a}", "0191d5b0-89ab-7cde-8f00-0123456789af ", "0191d5b0_89ab_7cde_8f00_0123456789af" };
    for (size_t i = 0; i < N(bad); i++)
        assert_false(valid_uuid(bad[i], strlen(bad[i]), out));
    assert_string_equal(out, "untouched");
    assert_true(valid_uuid(good, 36, out));
    assert_string_equal(out, "0191d5b0-89ab-7cde-8f00-0123456789af");
    assert_true(valid_uuid(out, 36, out));
    assert_true(valid_uuid(good, 36, NULL));
}

static void
utf8_is_the_unicode_table(void **state)
{
    (void)state;
    static const char *const good[] = { "", "a", "abcdefghijklmnop", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
                                        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "12345678\xe2\x82\xb9" "12345678" };
    static const char *const bad[] = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf",
                                       "\xe2\x82", "\xe2\x82\x41", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xf0\x9f\x98", "12345678\xff",
                                       "1234567\xff", "123456789abcdef\xc2" };
    for (size_t i = 0; i < N(good); i++)
        assert_true(valid_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < N(bad); i++) {
        size_t len = strlen(bad[i]);
        char *copy = malloc(len);   /* without the NUL: a byte too many is seen */
        memcpy(copy, bad[i], len);
        assert_false(valid_utf8(copy, len));
        free(copy);
    }
    assert_int_equal(valid_code_points("a\xc2\xb5\xe2\x82\xb9\xf0\x9f\x98\x80", 10), 4);
}

static void
trimming_is_javascripts(void **state)
{
    (void)state;
    static const char all[] = "\t\n\v\f\r \xc2\xa0\xe1\x9a\x80\xe2\x80\x80\xe2\x80\x8a\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\x9f\xe3\x80\x80\xef\xbb\xbf";
    char text[128];
    int n = snprintf(text, sizeof text, "%sa b%s", all, all);
    size_t len = (size_t)n;
    const char *s = valid_trim(text, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(s, "a b", 3);
    len = strlen(all);
    valid_trim(all, &len);
    assert_int_equal(len, 0);
    /* No white space: zero width space, Mongolian vowel separator, next line, braille blank. */
    static const char *const kept[] = { "\xe2\x80\x8b", "\xe1\xa0\x8e", "\xc2\x85", "\xe2\xa0\x80", "\xa0", "\xc2", "\xe2\x80", "\x80\x80\x80\x80", "" };
    for (size_t i = 0; i < N(kept); i++) {
        len = strlen(kept[i]);
        assert_ptr_equal(valid_trim(kept[i], &len), kept[i]);
        assert_int_equal(len, strlen(kept[i]));
    }
}

static void
controls_are_found_in_ascii_and_beyond(void **state)
{
    (void)state;
    assert_true(valid_no_controls("plain \xe2\x82\xb9 \xc2\xa0", 10, false));
    assert_false(valid_no_controls("a\0b", 3, true));
    assert_false(valid_no_controls("a\nb", 3, false));
    assert_true(valid_no_controls("a\r\n\tb", 5, true));
    assert_false(valid_no_controls("\x7f", 1, true));
    assert_false(valid_no_controls("\xc2\x85", 2, true));
    assert_false(valid_no_controls("\x1b[0m", 4, true));
}

static void
visible_ascii_has_bounds(void **state)
{
    (void)state;
    char key[257];
    memset(key, '~', sizeof key);
    assert_false(valid_visible_ascii(key, 0, 1, 255));
    assert_true(valid_visible_ascii("!", 1, 1, 255));
    assert_true(valid_visible_ascii(key, 255, 1, 255));
    assert_false(valid_visible_ascii(key, 256, 1, 255));
    assert_false(valid_visible_ascii("a b", 3, 1, 255));
    assert_false(valid_visible_ascii("a\x7f", 2, 1, 255));
    assert_false(valid_visible_ascii("\xc3\xa9", 2, 1, 255));
}

static void
integers_are_digits_within_bounds(void **state)
{
    (void)state;
    int64_t n = -7;
    assert_true(valid_int("1", 1, 1, 100, &n));
    assert_int_equal(n, 1);
    assert_true(valid_int("0100", 4, 1, 100, &n));
    assert_int_equal(n, 100);
    assert_true(valid_int("9223372036854775807", 19, 0, INT64_MAX, &n));
    assert_true(n == INT64_MAX);
    static const char *const bad[] = { "", "0", "101", "+1", "-1", " 1", "1 ", "1.0", "1e1", "0x1", "9223372036854775808", "99999999999999999999", "one" };
    for (size_t i = 0; i < N(bad); i++)
        assert_false(valid_int(bad[i], strlen(bad[i]), 1, 100, &n));
    assert_true(n == INT64_MAX);
}

static void
decimals_are_digits_with_a_point_between(void **state)
{
    (void)state;
    static const char *const good[] = { "0", "24", "0.5", "168.25", "999.999" };
    static const char *const bad[] = { "", ".", ".5", "5.", "1000", "1.2345", "-1", "+1", "1e2", " 1", "1,5", "1.2.3" };
    for (size_t i = 0; i < N(good); i++)
        assert_true(valid_decimal(good[i], strlen(good[i]), 3, 3, false));
    for (size_t i = 0; i < N(bad); i++)
        assert_false(valid_decimal(bad[i], strlen(bad[i]), 3, 3, false));
    assert_true(valid_decimal("-76.27", 6, 3, 8, true));
    assert_false(valid_decimal("-", 1, 3, 8, true));
    assert_false(valid_decimal("--1", 3, 3, 8, true));
}

static void
dates_are_those_of_the_calendar(void **state)
{
    (void)state;
    static const char *const good[] = { "2026-01-31", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31" };
    static const char *const bad[] = { "", "2026-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-01-00", "0000-01-01", "26-01-01", "2026-1-1",
                                       "2026/01/01", "2026-01-01 ", "20260101", "2026-01-1x" };
    for (size_t i = 0; i < N(good); i++)
        assert_true(valid_date(good[i], strlen(good[i])));
    for (size_t i = 0; i < N(bad); i++)
        assert_false(valid_date(bad[i], strlen(bad[i])));
}

static void
times_are_iso_8601(void **state)
{
    (void)state;
    static const char *const good[] = { "2026-01-31", "2026-01-31T10:11", "2026-01-31T10:11:12", "2026-01-31T10:11:12.345Z", "2026-01-31 23:59:59z",
                                        "2026-01-31T10:11:12.123456789+05:30", "2026-01-31T10:11+0530", "2026-01-31T10:11:12-08", "2026-01-31t00:00Z" };
    static const char *const bad[] = { "2026-01-32T10:11", "2026-01-31T", "2026-01-31T10", "2026-01-31T24:00", "2026-01-31T10:60", "2026-01-31T10:11:60",
                                       "2026-01-31T10:11:", "2026-01-31T10:11:12.", "2026-01-31T10:11:12.1234567890", "2026-01-31T10:11:12 Z", "2026-01-31T10:11:12+5",
                                       "2026-01-31T10:11:12+16:00", "2026-01-31T10:11:12+05:60", "2026-01-31T10:11:12ZZ", "2026-01-31X10:11", "2026-01-31T1011",
                                       "2026-01-31T10:11:12+05:3", "tomorrow", "2026-01-31T10:11 BC", "2026-01-31Z" };
    for (size_t i = 0; i < N(good); i++)
        assert_true(valid_time(good[i], strlen(good[i])));
    for (size_t i = 0; i < N(bad); i++)
        assert_false(valid_time(bad[i], strlen(bad[i])));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phones_imeis_pincodes_and_otps_are_the_guides),
        cmocka_unit_test(luhn_tells_a_slip_of_one_digit),
        cmocka_unit_test(a_uuid_has_one_form_of_either_case),
        cmocka_unit_test(utf8_is_the_unicode_table),
        cmocka_unit_test(trimming_is_javascripts),
        cmocka_unit_test(controls_are_found_in_ascii_and_beyond),
        cmocka_unit_test(visible_ascii_has_bounds),
        cmocka_unit_test(integers_are_digits_within_bounds),
        cmocka_unit_test(decimals_are_digits_with_a_point_between),
        cmocka_unit_test(dates_are_those_of_the_calendar),
        cmocka_unit_test(times_are_iso_8601),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
