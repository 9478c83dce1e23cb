/* Not a paisa is lost between text, paise and text. */
#include "../../lib/money.c"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void
rupees_become_paise_exactly(void **state)
{
    (void)state;
    static const struct { const char *text; int64_t paise; } cases[] = {
        { "0", 0 }, { "0.01", 1 }, { "0.1", 10 }, { "1", 100 }, { "25000", 2500000 }, { "25000.5", 2500050 }, { "25000.50", 2500050 },
        { "25000.05", 2500005 }, { "1000000", 100000000 }, { "00012.30", 1230 }, { "0.29", 29 }, { "1.15", 115 },
        { "1000000000000", MONEY_MAX_PAISE }, { "999999999999.99", MONEY_MAX_PAISE - 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t paise = -1;
        assert_true(money_parse(cases[i].text, strlen(cases[i].text), &paise));
        assert_int_equal(paise, cases[i].paise);
    }
}

static void
what_is_not_rupees_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "", ".", "1.", ".5", "1.234", "1.000", "-1", "+1", "1e3", "1E3", " 1", "1 ", "1,000", "0x10", "1.2.3", "1..2",
                                       "Infinity", "NaN", "\xe2\x82\xb9" "1", "1000000000000.01", "1000000000001", "99999999999999999999999", "1/2", "1:" };
    int64_t paise = 42;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(money_parse(bad[i], strlen(bad[i]), &paise));
    assert_false(money_parse("1\0" "2", 3, &paise));
    assert_int_equal(paise, 42);
    assert_true(money_parse("123", 2, &paise));   /* only the bytes that it was given */
    assert_int_equal(paise, 1200);
}

static void
paise_become_a_json_number(void **state)
{
    (void)state;
    static const struct { int64_t paise; const char *text; } cases[] = {
        { 0, "0" }, { 1, "0.01" }, { 10, "0.1" }, { 99, "0.99" }, { 100, "1" }, { 2500000, "25000" }, { 2500050, "25000.5" }, { 2500005, "25000.05" },
        { -150, "-1.5" }, { INT64_MAX, "92233720368547758.07" }, { INT64_MIN, "-92233720368547758.08" },
    };
    char text[MONEY_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(money_json(cases[i].paise, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

static void
every_amount_comes_back(void **state)
{
    (void)state;
    char text[MONEY_SIZE];
    int64_t back;
    for (int64_t paise = 0; paise < MONEY_MAX_PAISE; paise = paise * 3 / 2 + 7) {
        size_t len = money_json(paise, text);
        assert_true(money_parse(text, len, &back));
        assert_int_equal(back, paise);
    }
}

static void
people_read_lakhs_and_crores(void **state)
{
    (void)state;
    static const struct { int64_t paise; const char *text; } cases[] = {
        { 0, "₹0" }, { 5, "₹0.05" }, { 99900, "₹999" }, { 100000, "₹1,000" }, { 9999900, "₹99,999" }, { 10000000, "₹1,00,000" }, { 12495000, "₹1,24,950" },
        { 12495050, "₹1,24,950.50" }, { 100000000, "₹10,00,000" }, { 1234567890, "₹1,23,45,678.90" }, { -150, "-₹1.50" },
        { INT64_MIN, "-₹92,23,37,20,36,85,47,758.08" },
    };
    char text[MONEY_PEOPLE_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(money_people(cases[i].paise, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

static void
shares_round_half_up_to_the_paisa(void **state)
{
    (void)state;
    static const struct { int64_t paise; const char *percent; int64_t share; } cases[] = {
        { 2500000, "2", 50000 }, { 2500000, "5", 125000 }, { 25, "2", 1 }, { 24, "2", 0 }, { 75, "2", 2 }, { 12345, "2.5", 309 }, { 12340, "2.5", 309 },
        { 100, "0", 0 }, { 12345, "100", 12345 }, { 12345, "100.0000", 12345 }, { 10000, "0.0050", 1 }, { 10000, "0.0049", 0 },
        { MONEY_MAX_PAISE, "99.9999", 99999900000000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(money_share(cases[i].paise, cases[i].percent), cases[i].share);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rupees_become_paise_exactly), cmocka_unit_test(what_is_not_rupees_is_refused),
        cmocka_unit_test(paise_become_a_json_number),  cmocka_unit_test(every_amount_comes_back),
        cmocka_unit_test(people_read_lakhs_and_crores), cmocka_unit_test(shares_round_half_up_to_the_paisa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
