/* s3list: a page as the services send it, and what is none. */
#include "../../lib/s3list.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct s3list_entry got[8];
static size_t n_got, enough;

static bool
keep(void *ctx, const struct s3list_entry *entry)
{
    (void)ctx;
    got[n_got++] = *entry;
    return n_got < enough;
}

static bool
parse(const char *xml, char next[S3LIST_TOKEN_SIZE])
{
    n_got = 0;
    return s3list_parse(xml, strlen(xml), keep, NULL, next);
}

static int
begin(void **state)
{
    (void)state;
    enough = 8;
    return 0;
}

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"

static void
objects_and_folders_are_told(void **state)
{
    char next[S3LIST_TOKEN_SIZE];

    (void)state;
    assert_true(parse(HEAD "<Name>b</Name><Prefix>listings/</Prefix><IsTruncated>true</IsTruncated>\n"
                      "<NextContinuationToken>1ue+G/x&amp;w==</NextContinuationToken>"
                      "<Contents><Key>listings/a&amp;b.jpg</Key><LastModified>2013-05-24T00:00:00.000Z</LastModified>"
                      "<ETag>&quot;fba9&quot;</ETag><Size>434234</Size><Owner><ID>7</ID><DisplayName/></Owner></Contents>"
                      "<CommonPrefixes><Prefix>listings/c/</Prefix></CommonPrefixes></ListBucketResult>", next));
    assert_int_equal(n_got, 2);
    assert_string_equal(got[0].key, "listings/a&b.jpg");
    assert_int_equal(got[0].size, 434234);
    assert_int_equal(got[0].modified, 1369353600);
    assert_false(got[0].folder);
    assert_string_equal(got[1].key, "listings/c/");
    assert_true(got[1].folder);
    assert_string_equal(next, "1ue+G/x&w==");
}

static void
an_empty_list_is_a_list(void **state)
{
    char next[S3LIST_TOKEN_SIZE];

    (void)state;
    assert_true(parse(HEAD "<IsTruncated>false</IsTruncated></ListBucketResult>", next));
    assert_true(parse("<ListBucketResult/>", next));
    assert_int_equal(n_got, 0);
    assert_string_equal(next, "");
}

static void
who_has_enough_hears_no_more(void **state)
{
    char next[S3LIST_TOKEN_SIZE];

    (void)state;
    enough = 1;
    assert_true(parse(HEAD "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>", next));
    assert_int_equal(n_got, 1);
}

static void
what_is_broken_is_no_list(void **state)
{
    static const char *const broken[] = {
        "", "<html></html>", "ListBucketResult", HEAD, HEAD "<Contents>",
        HEAD "<IsTruncated>true</IsTruncated></ListBucketResult>",
        HEAD "<Contents></Contents></ListBucketResult>",
        HEAD "<Contents><Key>a</Key></Contents></ListBucketResult>",
        HEAD "<Contents><Key>a&nbsp;</Key><LastModified>2013-05-24T00:00:00.000Z</LastModified></Contents></ListBucketResult>",
        HEAD "<Contents><Key>a</Key><LastModified>yesterday</LastModified></Contents></ListBucketResult>",
        HEAD "<Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        HEAD "<Contents><Key>a</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>",
        HEAD "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes",
    };
    char next[S3LIST_TOKEN_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_false(parse(broken[i], next));
}

static void
an_errors_word_is_found(void **state)
{
    static const char error[] = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Code</Message></Error>";
    char code[64];

    (void)state;
    s3list_error_code(error, strlen(error), code);
    assert_string_equal(code, "SlowDown");
    s3list_error_code(error, strlen(error) - 70, code);
    assert_string_equal(code, "");
    s3list_error_code(NULL, 0, code);
    assert_string_equal(code, "");
}

static void
the_id_of_an_upload_is_found_where_it_fits(void **state)
{
    static const char answer[] = "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key>"
                                 "<UploadId>VXBs&amp;YWQ-</UploadId></InitiateMultipartUploadResult>";
    char id[64];

    (void)state;
    assert_true(s3list_text(answer, strlen(answer), "UploadId", id, sizeof id));
    assert_string_equal(id, "VXBs&YWQ-");
    assert_false(s3list_text(answer, strlen(answer), "UploadId", id, 4));
    assert_string_equal(id, "");
    assert_false(s3list_text(answer, strlen(answer), "Upload", id, sizeof id));
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(objects_and_folders_are_told, begin),
        cmocka_unit_test_setup(an_empty_list_is_a_list, begin),
        cmocka_unit_test_setup(who_has_enough_hears_no_more, begin),
        cmocka_unit_test_setup(what_is_broken_is_no_list, begin),
        cmocka_unit_test_setup(an_errors_word_is_found, begin),
        cmocka_unit_test_setup(the_id_of_an_upload_is_found_where_it_fits, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
