/* A signature opens its folder, for an hour or two, and nothing else. */
#include "../../lib/fileurl.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NEW "a new secret of at least 32 bytes"
#define OLD "an old secret of at least 32 bytes"
#define ID "0191d5b0-0000-7000-8000-00000000000a"
#define OTHER "0191d5b0-0000-7000-8000-00000000000b"
#define DEVICE "/files/listings/" ID "/device/"
#define NOW 1795340000

static char query[FILEURL_QUERY_SIZE];   /* of the device photos, behind the ? */

static int
setup(void **state)
{
    char q[FILEURL_QUERY_SIZE];

    (void)state;
    fileurl_init(NEW, OLD);
    size_t len = fileurl_query("listings/" ID "/device", NOW, q);
    assert_int_equal(strlen(q), len);
    assert_int_equal(q[0], '?');
    memcpy(query, q + 1, len);
    return 0;
}

static enum fileurl_result
verify(const char *path)
{
    return fileurl_verify(path, query, NOW);
}

static void
it_opens_the_files_of_its_folder(void **state)
{
    (void)state;
    assert_int_equal(verify(DEVICE "photo1_full.jpg"), FILEURL_OK);
    assert_int_equal(verify(DEVICE "photo2_medium.jpg"), FILEURL_OK);
    assert_int_equal(verify(DEVICE "photo6.webp"), FILEURL_OK);
    for (int i = 0; i < 2; i++) {
        const char *folder = i == 0 ? "listings/" ID "/bill" : "verification/" ID;
        char q[FILEURL_QUERY_SIZE], path[128];
        fileurl_query(folder, NOW, q);
        snprintf(path, sizeof path, "/files/%s/x.pdf", folder);
        assert_int_equal(fileurl_verify(path, q + 1, NOW), FILEURL_OK);
    }
}

static void
it_opens_nothing_else(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/files/listings/" ID "/bill/bill.pdf", "/files/listings/" OTHER "/device/photo1_full.jpg", "/files/verification/" ID "/a.jpg",
        "/files/listings/" ID "/device", DEVICE, DEVICE "a/b.jpg", DEVICE "../bill/bill.pdf", DEVICE "..", DEVICE ".hidden", DEVICE "a..jpg",
        DEVICE "%2e%2e/bill/bill.pdf", DEVICE "photo1%2ejpg", DEVICE "%2fx", DEVICE "/photo1_full.jpg", "/files//listings/" ID "/device/a.jpg",
        "//files/listings/" ID "/device/a.jpg", "/files/listings/../listings/" ID "/device/a.jpg",
        "/files/./listings/" ID "/device/a.jpg", "/files/listings/0191D5B0-0000-7000-8000-00000000000A/device/a.jpg",
        "/files/listings/" ID "/DEVICE/a.jpg", "/files/listings/x/device/a.jpg", "/files/listings//device/a.jpg", DEVICE "a.jpg/", DEVICE "a.jpg.",
        DEVICE "a b.jpg", DEVICE "a\\b", DEVICE "a.jpg\n", DEVICE "\xc3\xa9.jpg", "listings/" ID "/device/a.jpg", "/files/", "/files", "", "/",
        "/files/listings/" ID, "/files/listings/" ID "/devices/a.jpg", "/files/other/" ID "/a.jpg", "/files/verification/" ID "/device/a.jpg",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(verify(paths[i]), FILEURL_BAD);
}

static void
it_lasts_one_to_two_hours_and_changes_at_the_full_hour(void **state)
{
    (void)state;
    char a[FILEURL_QUERY_SIZE], b[FILEURL_QUERY_SIZE];
    const int64_t hour = 1795338000 / HOUR * HOUR;
    for (int64_t now = hour; now < hour + HOUR; now += 599) {
        fileurl_query("listings/" ID "/device", hour, a);
        fileurl_query("listings/" OTHER "/device", now, b);   /* not from the cache */
        fileurl_query("listings/" ID "/device", now, b);
        assert_string_equal(a, b);
        int64_t exp = strtoll(strstr(a, "exp=") + 4, NULL, 10);
        assert_true(exp > now + HOUR && exp <= now + 2 * HOUR);
        assert_int_equal(exp % HOUR, 0);
        assert_int_equal(fileurl_verify(DEVICE "a.jpg", a + 1, exp - 1), FILEURL_OK);
        assert_int_equal(fileurl_verify(DEVICE "a.jpg", a + 1, exp), FILEURL_EXPIRED);
    }
    fileurl_query("listings/" ID "/device", hour + HOUR, b);
    assert_string_not_equal(a, b);
}

static void
every_changed_character_of_the_query_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; query[i] != '\0'; i++) {
        char was = query[i];
        query[i] = was == '1' ? '2' : '1';
        assert_int_equal(verify(DEVICE "a.jpg"), FILEURL_BAD);
        query[i] = '\0';
        assert_int_equal(verify(DEVICE "a.jpg"), FILEURL_BAD);
        query[i] = was;
    }
    assert_int_equal(verify(DEVICE "a.jpg"), FILEURL_OK);
}

static void
the_query_holds_each_thing_once_and_nothing_more(void **state)
{
    (void)state;
    char *exp = query, *kid = strstr(query, "kid="), *sig = strstr(query, "sig=");
    char e[32], k[16], s[32], q[256];
    snprintf(e, sizeof e, "%.*s", (int)(kid - 1 - exp), exp);
    snprintf(k, sizeof k, "%.*s", (int)(sig - 1 - kid), kid);
    snprintf(s, sizeof s, "%s", sig);

    snprintf(q, sizeof q, "%s&%s&%s", s, e, k);   /* the order does not matter */
    assert_int_equal(fileurl_verify(DEVICE "a.jpg", q, NOW), FILEURL_OK);
    const char *const bad[][4] = { { e, k, "", "" }, { e, s, "", "" }, { k, s, "", "" }, { e, k, s, e }, { e, k, s, k }, { e, k, s, s },
                                   { e, k, s, "x=1" }, { e, k, s, "" }, { "", e, k, s }, { "exp=0", k, s, e } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(q, sizeof q, "%s&%s&%s&%s", bad[i][0], bad[i][1], bad[i][2], bad[i][3]);
        assert_int_equal(fileurl_verify(DEVICE "a.jpg", q, NOW), FILEURL_BAD);
    }
    snprintf(q, sizeof q, "exp=0%s&%s&%s", e + 4, k, s);
    assert_int_equal(fileurl_verify(DEVICE "a.jpg", q, NOW), FILEURL_BAD);
    snprintf(q, sizeof q, "exp=+%s&%s&%s", e + 4, k, s);
    assert_int_equal(fileurl_verify(DEVICE "a.jpg", q, NOW), FILEURL_BAD);
    assert_int_equal(fileurl_verify(DEVICE "a.jpg", "", NOW), FILEURL_BAD);
    assert_int_equal(fileurl_verify(DEVICE "a.jpg", "&", NOW), FILEURL_BAD);
}

static void
two_keys_live_and_a_third_does_not(void **state)
{
    (void)state;
    char old[FILEURL_QUERY_SIZE], again[FILEURL_QUERY_SIZE];
    fileurl_init(OLD, NULL);
    fileurl_query("listings/" ID "/device", NOW, old);
    assert_string_not_equal(old + 1, query);
    fileurl_init(NEW, OLD);
    assert_int_equal(fileurl_verify(DEVICE "a.jpg", old + 1, NOW), FILEURL_OK);
    fileurl_query("listings/" ID "/device", NOW, again);
    assert_string_equal(again + 1, query);   /* the new one signs */
    fileurl_init(NEW, NULL);
    assert_int_equal(fileurl_verify(DEVICE "a.jpg", old + 1, NOW), FILEURL_BAD);
    fileurl_init(NEW, NEW);
    assert_int_equal(verify(DEVICE "a.jpg"), FILEURL_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_opens_the_files_of_its_folder, setup),
        cmocka_unit_test_setup(it_opens_nothing_else, setup),
        cmocka_unit_test_setup(it_lasts_one_to_two_hours_and_changes_at_the_full_hour, setup),
        cmocka_unit_test_setup(every_changed_character_of_the_query_is_seen, setup),
        cmocka_unit_test_setup(the_query_holds_each_thing_once_and_nothing_more, setup),
        cmocka_unit_test_setup(two_keys_live_and_a_third_does_not, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
