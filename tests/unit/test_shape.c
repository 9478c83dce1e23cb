/* A listing's files are URLs that open. */
#include "../../lib/shape.c"

#include "arena.h"

#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ID "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f"
#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW 1795345200

static int
set_up(void **state)
{
    (void)state;
    static const char *const names[] = { "JWT_SECRET", "ENCRYPTION_KEY", "FILE_URL_SECRET" };
    for (size_t i = 0; i < 3; i++)
        setenv(names[i], SECRET, 1);
    setenv("API_BASE_URL", "https://api.example.com", 1);
    setenv("SELLIKO_CONF", "/dev/null", 1);
    fileurl_init(SECRET, NULL);
    return config_load(stderr) ? 0 : -1;
}

static void
a_url_opens_its_file_and_no_other_folder(void **state)
{
    (void)state;
    char url[SHAPE_URL_MAX];
    shape_url("listings/" ID "/device", "photo1_full.jpg", NOW, url);
    static const char begins[] = "https://api.example.com/files/listings/" ID "/device/photo1_full.jpg?exp=";
    assert_memory_equal(url, begins, sizeof begins - 1);
    const char *query = strchr(url, '?') + 1;
    assert_int_equal(fileurl_verify("/files/listings/" ID "/device/photo1_full.jpg", query, NOW), FILEURL_OK);
    assert_int_equal(fileurl_verify("/files/listings/" ID "/device/photo2_thumb.jpg", query, NOW), FILEURL_OK);
    assert_int_equal(fileurl_verify("/files/listings/" ID "/bill/bill.pdf", query, NOW), FILEURL_BAD);
    assert_int_equal(fileurl_verify("/files/listings/" ID "/device/photo1_full.jpg", query, NOW + 7201), FILEURL_EXPIRED);
}

static void
only_our_own_urls_have_a_path_here(void **state)
{
    (void)state;
    assert_string_equal(shape_url_path("https://api.example.com/files/verification/x.jpg?exp=1"), "/files/verification/x.jpg?exp=1");
    assert_null(shape_url_path("https://api.example.com.evil.test/files/x.jpg"));
    assert_null(shape_url_path("https://evil.test/files/x.jpg"));
    assert_null(shape_url_path("/files/x.jpg"));
    assert_null(shape_url_path(""));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_opens_its_file_and_no_other_folder),
        cmocka_unit_test(only_our_own_urls_have_a_path_here),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
