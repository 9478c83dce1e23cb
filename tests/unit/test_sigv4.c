/* sigv4: the examples that AWS publishes, of the Amazon S3 API reference and of its test suite. */
#include "../../lib/sigv4.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* "Signature Calculations for the Authorization Header", Friday, May 24, 2013 */
static const struct sigv4 s3 = { .key_id = "AKIAIOSFODNN7EXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                 .region = "us-east-1", .service = "s3" };
static const int64_t s3_time = 1369353600;

/* aws-sig-v4-test-suite */
static const struct sigv4 suite = { .key_id = "AKIDEXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                    .region = "us-east-1", .service = "service" };
static const int64_t suite_time = 1440938160;

static void
signs(const struct sigv4 *s, int64_t now, const char *method, const char *path, const char *query,
      const struct sigv4_header *headers, size_t n, const char *payload, const char *signed_headers, const char *signature)
{
    char got[1024], want[1024];

    assert_true(sigv4_authorization(s, now, method, path, query, headers, n, payload, got, sizeof got));
    snprintf(want, sizeof want, "AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/%s/aws4_request, SignedHeaders=%s, Signature=%s",
             s->key_id, s == &s3 ? "20130524" : "20150830", s->service, signed_headers, signature);
    assert_string_equal(got, want);
}
#define H(...) (const struct sigv4_header[]){ __VA_ARGS__ }, sizeof(const struct sigv4_header[]){ __VA_ARGS__ } / sizeof(struct sigv4_header)

static void
a_get_of_a_range(void **state)
{
    (void)state;
    signs(&s3, s3_time, "GET", "/test.txt", "",
          H({ "host", "examplebucket.s3.amazonaws.com" }, { "range", "bytes=0-9" },
            { "x-amz-content-sha256", SIGV4_EMPTY_SHA256 }, { "x-amz-date", "20130524T000000Z" }), SIGV4_EMPTY_SHA256,
          "host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void
a_put_of_an_object(void **state)
{
    char path[64];
    static const char hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";

    (void)state;
    assert_int_equal(sigv4_encode(path, sizeof path, "/test$file.text", true), strlen("/test%24file.text"));
    signs(&s3, s3_time, "PUT", path, "",
          H({ "date", "Fri, 24 May 2013 00:00:00 GMT" }, { "host", "examplebucket.s3.amazonaws.com" },
            { "x-amz-content-sha256", hash }, { "x-amz-date", "20130524T000000Z" },
            { "x-amz-storage-class", "REDUCED_REDUNDANCY" }), hash,
          "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
          "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void
a_list_of_objects(void **state)
{
    (void)state;
    signs(&s3, s3_time, "GET", "/", "max-keys=2&prefix=J",
          H({ "host", "examplebucket.s3.amazonaws.com" }, { "x-amz-content-sha256", SIGV4_EMPTY_SHA256 },
            { "x-amz-date", "20130524T000000Z" }), SIGV4_EMPTY_SHA256, "host;x-amz-content-sha256;x-amz-date",
          "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    signs(&s3, s3_time, "GET", "/", "lifecycle=",
          H({ "host", "examplebucket.s3.amazonaws.com" }, { "x-amz-content-sha256", SIGV4_EMPTY_SHA256 },
            { "x-amz-date", "20130524T000000Z" }), SIGV4_EMPTY_SHA256, "host;x-amz-content-sha256;x-amz-date",
          "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void
the_suite_of_all_services(void **state)
{
    (void)state;
    signs(&suite, suite_time, "GET", "/", "", H({ "host", "example.amazonaws.com" }, { "x-amz-date", "20150830T123600Z" }),
          SIGV4_EMPTY_SHA256, "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    signs(&suite, suite_time, "POST", "/", "", H({ "host", "example.amazonaws.com" }, { "x-amz-date", "20150830T123600Z" }),
          SIGV4_EMPTY_SHA256, "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    signs(&suite, suite_time, "GET", "/", "Param1=value1&Param2=value2",
          H({ "host", "example.amazonaws.com" }, { "x-amz-date", "20150830T123600Z" }), SIGV4_EMPTY_SHA256, "host;x-amz-date",
          "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

static void
a_presigned_url(void **state)
{
    char query[1024];

    (void)state;
    assert_true(sigv4_presign(&s3, s3_time, 86400, "examplebucket.s3.amazonaws.com", "/test.txt", query, sizeof query));
    assert_string_equal(query, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
                               "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                               "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

static void
a_token_is_part_of_a_presigned_url(void **state)
{
    struct sigv4 temporary = s3;
    char query[1024], small[100];

    (void)state;
    temporary.token = "a/b+c==";
    assert_true(sigv4_presign(&temporary, s3_time, 60, "h", "/k", query, sizeof query));
    assert_non_null(strstr(query, "&X-Amz-Expires=60&X-Amz-Security-Token=a%2Fb%2Bc%3D%3D&X-Amz-SignedHeaders=host&"));
    assert_false(sigv4_presign(&temporary, s3_time, 60, "h", "/k", small, sizeof small));
}

static void
what_does_not_fit_is_refused(void **state)
{
    char out[8];

    (void)state;
    assert_int_equal(sigv4_encode(out, sizeof out, "a b", false), 5);
    assert_string_equal(out, "a%20b");
    assert_int_equal(sigv4_encode(out, sizeof out, "a/b/c", false), 0);
    assert_int_equal(sigv4_encode(out, sizeof out, "12345678", false), 0);
    assert_false(sigv4_authorization(&s3, s3_time, "GET", "/", "", H({ "host", "h" }), SIGV4_EMPTY_SHA256, out, sizeof out));
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_of_a_range),
        cmocka_unit_test(a_put_of_an_object),
        cmocka_unit_test(a_list_of_objects),
        cmocka_unit_test(the_suite_of_all_services),
        cmocka_unit_test(a_presigned_url),
        cmocka_unit_test(a_token_is_part_of_a_presigned_url),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
