/* What was written comes back, and a value has one spelling. */
#include "../../lib/encoding.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
base64url_is_rfc_4648_and_comes_back(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "", "" },         { "f", "Zg" },         { "fo", "Zm8" },        { "foo", "Zm9v" },
                                            { "foob", "Zm9vYg" }, { "fooba", "Zm9vYmE" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff", "-_8" } };
    char text[64], back[64];
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        size_t len = strlen(pairs[i][0]);
        assert_int_equal(encoding_b64url(text, pairs[i][0], len), strlen(pairs[i][1]));
        assert_string_equal(text, pairs[i][1]);
        assert_true(strlen(text) + 1 <= ENCODING_B64URL_SIZE(len));
        assert_int_equal(encoding_b64url_decode(back, sizeof back, text, strlen(text)), len);
        assert_memory_equal(back, pairs[i][0], len);
    }
}

static void
base64url_has_one_spelling(void **state)
{
    (void)state;
    static const char *const bad[] = { "Z", "Zg==", "Zh", "Zm9", "Zm8=", "Z+==", "Zm9v ", "Zm9v\n", "Zm/v", "Zm+v", "Zm9vY", "Zm.v" };
    char back[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(encoding_b64url_decode(back, sizeof back, bad[i], strlen(bad[i])), -1);
    assert_int_equal(encoding_b64url_decode(back, 2, "Zm9v", 4), -1);
    assert_int_equal(encoding_b64url_decode(back, 3, "Zm9v", 4), 3);
}

static void
hex_is_read_in_either_case_and_whole(void **state)
{
    (void)state;
    uint8_t b[4];
    char text[7];
    assert_int_equal(encoding_unhex(b, 4, "00fFAb", 6), 3);
    assert_memory_equal(b, "\x00\xff\xab", 3);
    assert_int_equal(encoding_hex(text, b, 3), 6);
    assert_string_equal(text, "00ffab");
    assert_int_equal(encoding_unhex(b, 4, "0", 1), -1);
    assert_int_equal(encoding_unhex(b, 4, "0g", 2), -1);
    assert_int_equal(encoding_unhex(b, 1, "0000", 4), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64url_is_rfc_4648_and_comes_back),
        cmocka_unit_test(base64url_has_one_spelling),
        cmocka_unit_test(hex_is_read_in_either_case_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
