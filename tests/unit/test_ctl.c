/* What sellikoctl judges without a database: dates, versions, options, and which files are migrations. */
#include "../../ctl/doctor.c"
#include "../../ctl/migrate.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void
days_are_those_of_the_calendar(void **state)
{
    (void)state;
    assert_int_equal(days(1970, 1, 1), 0);
    assert_int_equal(days(1969, 12, 31), -1);
    for (long day = -800; day < 40000; day += 13) {
        time_t t = day * 86400;
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        assert_int_equal(days(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday), day);
    }
    assert_int_equal(days(2028, 2, 29) + 1, days(2028, 3, 1));
}

static void
a_version_is_warned_of_ninety_days_ahead(void **state)
{
    (void)state;
    char says[160];
    long end = days(2027, 10, 8);

    assert_int_equal(judge_version("v23.0", end - 91, true, says, sizeof says), OK);
    assert_string_equal(says, "v23.0 ends on 2027-10-08, in 91 days");
    assert_int_equal(judge_version("v23.0", end - 90, true, says, sizeof says), WARN);
    assert_non_null(strstr(says, "in 90 days: set WHATSAPP_API_VERSION"));
    assert_int_equal(judge_version("v23.0", end - 1, true, says, sizeof says), WARN);
    assert_int_equal(judge_version("v23.0", end, true, says, sizeof says), FAIL);
    assert_int_equal(judge_version("v23.0", end, false, says, sizeof says), WARN);
    assert_non_null(strstr(says, "ended on 2027-10-08"));
    assert_int_equal(judge_version("v18.0", end, true, says, sizeof says), FAIL);
    assert_int_equal(judge_version("v99.0", end, true, says, sizeof says), WARN);
}

static bool
is_file(const char *name)
{
    struct dirent entry = { 0 };

    snprintf(entry.d_name, sizeof entry.d_name, "%s", name);
    return is_migration(&entry) != 0;
}

static void
only_numbered_sql_files_are_migrations(void **state)
{
    (void)state;
    assert_true(is_file("001_create_users.sql"));
    assert_true(is_file("1000_more.sql"));
    static const char *const others[] = { "01_x.sql", "001.sql", "001_.sql", "001_x.sql~", ".001_x.sql.swp", "001_x.SQL", "x001_x.sql",
                                          "001_X.sql", "README", "001_x", "#001_x.sql#", "001_x y.sql" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(is_file(others[i]));
}

static void
an_error_is_told_by_its_line(void **state)
{
    (void)state;
    const char *text = "one\ntwo\n₹₹ three\nfour";

    assert_int_equal(line_of(text, 1), 1);
    assert_int_equal(line_of(text, 4), 1);    /* the line end belongs to its line */
    assert_int_equal(line_of(text, 5), 2);
    assert_int_equal(line_of(text, 9), 3);
    assert_int_equal(line_of(text, 11), 3);   /* two characters of three bytes each */
    assert_int_equal(line_of(text, 18), 4);
    assert_int_equal(line_of(text, 999), 4);
    assert_int_equal(line_of("", 1), 1);
}

static void
options_are_taken_out_of_the_line(void **state)
{
    (void)state;
    char *argv[] = { (char[]){ "add" }, (char[]){ "--phone" }, (char[]){ "1" }, (char[]){ "x" }, (char[]){ "--role=A=B" },
                     (char[]){ "--dry-run" }, (char[]){ "--phones=2" }, NULL };
    int argc = 7;

    assert_string_equal(take_option(&argc, argv, "phone"), "1");
    assert_string_equal(take_option(&argc, argv, "role"), "A=B");
    assert_null(take_option(&argc, argv, "name"));
    assert_true(take_flag(&argc, argv, "dry-run"));
    assert_false(take_flag(&argc, argv, "dry-run"));
    assert_int_equal(argc, 3);
    assert_string_equal(argv[1], "x");
    assert_string_equal(argv[2], "--phones=2");
    assert_null(argv[3]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_are_those_of_the_calendar),
        cmocka_unit_test(a_version_is_warned_of_ninety_days_ahead),
        cmocka_unit_test(only_numbered_sql_files_are_migrations),
        cmocka_unit_test(an_error_is_told_by_its_line),
        cmocka_unit_test(options_are_taken_out_of_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
