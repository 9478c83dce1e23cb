/* multipart: what browsers and curl send comes out whole however it is cut; everything else is an error. */
#include "../../lib/multipart.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* What the callbacks heard, as one readable string: [name|filename|type]data; */
struct heard {
    char text[4096];
    size_t len;
    size_t n_data;
    int stop_at; /* the callback that says stop: 1 begin, 2 data, 3 end */
};

static void
add(struct heard *h, const char *s, size_t len)
{
    assert_true(h->len + len < sizeof h->text);
    memcpy(h->text + h->len, s, len);
    h->len += len;
    h->text[h->len] = '\0';
}

static bool
on_begin(void *ctx, const struct multipart_part *part)
{
    struct heard *h = ctx;
    char line[1024];
    int n = snprintf(line, sizeof line, "[%s|%s|%s]", part->name, part->filename == NULL ? "-" : part->filename,
                     part->content_type == NULL ? "-" : part->content_type);

    add(h, line, (size_t)n);
    return h->stop_at != 1;
}

static bool
on_data(void *ctx, const void *bytes, size_t len)
{
    struct heard *h = ctx;

    assert_true(len > 0);
    h->n_data++;
    add(h, bytes, len);
    return h->stop_at != 2;
}

static bool
on_end(void *ctx)
{
    struct heard *h = ctx;

    add(h, ";", 1);
    return h->stop_at != 3;
}

static const struct multipart_events events = {on_begin, on_data, on_end};
static const struct multipart_limits limits = {.parts_max = 5, .headers_max_len = 300, .name_max_len = 20};

/* Parse LEN bytes of BODY in pieces of STEP bytes. */
static enum multipart_error
parse_n(struct heard *h, const char *boundary, const char *body, size_t len, size_t step)
{
    struct multipart m;

    h->len = 0;
    h->text[0] = '\0';
    multipart_init(&m, boundary, &limits, &events, h);
    for (size_t i = 0; i < len; i += step)
        multipart_feed(&m, body + i, len - i < step ? len - i : step);
    return multipart_finish(&m);
}

/* Parse BODY cut in every way; all must agree.  The boundary is "b". */
static enum multipart_error
parse(struct heard *h, const char *body)
{
    size_t len = strlen(body);
    enum multipart_error error;

    *h = (struct heard){.stop_at = h->stop_at};
    error = parse_n(h, "b", body, len, len + 1);
    for (size_t step = 1; step < len; step++) {
        struct heard again = {.stop_at = h->stop_at};
        assert_int_equal(parse_n(&again, "b", body, len, step), error);
        if (h->stop_at == 0)
            assert_string_equal(again.text, h->text);
    }
    return error;
}

#define CD "Content-Disposition: form-data; "

static void
expect(const char *body, const char *want)
{
    struct heard h = {0};

    assert_int_equal(parse(&h, body), MULTIPART_OK);
    assert_string_equal(h.text, want);
}

static void
refuse(const char *body, enum multipart_error want)
{
    struct heard h = {0};
    enum multipart_error error = parse(&h, body);

    if (error != want)
        fail_msg("%s instead of %s for: %s", multipart_strerror(error), multipart_strerror(want), body);
}

static void
a_form_as_browsers_send_it_comes_out_part_by_part(void **state)
{
    (void)state;
    expect("--b\r\n" CD "name=\"brand\"\r\n\r\nApple\r\n"
           "--b\r\n" CD "name=\"devicePhoto0\"; filename=\"a b.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8 x\r\n"
           "--b--\r\n",
           "[brand|-|-]Apple;[devicePhoto0|a b.jpg|image/jpeg]\xff\xd8 x;");
    expect("--b--\r\n", "");
    expect("--b--", "");
    expect("--b\r\n" CD "name=\"x\"\r\n\r\n\r\n--b--\r\n", "[x|-|-];");
    expect("--b\r\n" CD "name=x; filename=\"\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n",
           "[x||application/octet-stream];");
}

static void
what_looks_like_a_boundary_is_data_until_it_is_one(void **state)
{
    (void)state;
    expect("--b\r\n" CD "name=x\r\n\r\n\r\n\r\n-\r\n--\r\r\n--c\r\n\r\n--b--",
           "[x|-|-]\r\n\r\n-\r\n--\r\r\n--c\r\n;");
    expect("--b\r\n" CD "name=x\r\n\r\n--\r\n--b--", "[x|-|-]--;");
    expect("--b\r\n" CD "name=x\r\n\r\n--b--", "[x|-|-];");
    expect("--b\r\n" CD "name=x\r\n\r\n\n--b\r\n--b--", "[x|-|-]\n--b;");
}

static void
preamble_epilogue_and_padding_are_skipped(void **state)
{
    (void)state;
    expect("nothing to see\r\n\r\n--b \t\r\n" CD "name=x\r\n\r\ny\r\n--b--\r\nthe end --b\r\n", "[x|-|-]y;");
    expect("--b\r\ncontent-disposition:form-data;name=x\r\nX-Other: y\r\nContent-Transfer-Encoding: 8bit\r\n\r\n1\r\n--b--",
           "[x|-|-]1;");
}

static void
escapes_of_browsers_and_of_curl_are_undone(void **state)
{
    (void)state;
    expect("--b\r\n" CD "name=\"a%22b\"; filename=\"x%0D%0Ay%41.jpg\"\r\n\r\n\r\n--b--", "[a\"b|x\r\ny%41.jpg|-];");
    expect("--b\r\n" CD "name=\"a\\\"b\"; filename=\"C:\\dir\\\\x.jpg\"\r\n\r\n\r\n--b--", "[a\"b|C:\\dir\\x.jpg|-];");
    expect("--b\r\n" CD "filename=\"a;name=y\"; name=x\r\n\r\n\r\n--b--", "[x|a;name=y|-];");
    expect("--b\r\n" CD "name=x; filename*=UTF-8''y\r\n\r\n\r\n--b--", "[x|-|-];");
    expect("--b\r\n" CD "name=x; FILENAME=y;\r\n\r\n\r\n--b--", "[x|y|-];");
}

static void
a_body_without_its_closing_boundary_is_truncated(void **state)
{
    static const char whole[] = "--b\r\n" CD "name=x\r\n\r\nabc\r\n--b--";
    char cut[sizeof whole];

    (void)state;
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        memcpy(cut, whole, len);
        cut[len] = '\0';
        refuse(cut, MULTIPART_TRUNCATED);
    }
    refuse("no boundary at all", MULTIPART_TRUNCATED);
}

static void
malformed_shapes_have_names(void **state)
{
    (void)state;
    refuse("--bx\r\n", MULTIPART_BAD_DELIMITER);
    refuse("--b\n" CD "name=x\n\n1\n--b--", MULTIPART_BAD_DELIMITER);
    refuse("--b -- ", MULTIPART_BAD_DELIMITER);
    refuse("--b-\r\n", MULTIPART_BAD_DELIMITER);
    refuse("--b\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "name=x\r\n" CD "name=y\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\nContent-Disposition: attachment; name=x\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "name=x; name=y\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "name=x; filename=y; filename=z\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "name=\"x\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "name=\"x\\\"\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "name\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "name=x filename=y\r\n\r\nx\r\n--b--", MULTIPART_BAD_DISPOSITION);
    refuse("--b\r\n" CD "filename=x\r\n\r\nx\r\n--b--", MULTIPART_NO_NAME);
    refuse("--b\r\n" CD "name=\"\"\r\n\r\nx\r\n--b--", MULTIPART_NO_NAME);
    refuse("--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", MULTIPART_NO_NAME);
    refuse("--b\r\n" CD "name=123456789012345678901\r\n\r\nx\r\n--b--", MULTIPART_NAME_TOO_LONG);
    refuse("--b\r\nno colon\r\n\r\nx\r\n--b--", MULTIPART_BAD_HEADERS);
    refuse("--b\r\n: x\r\n\r\nx\r\n--b--", MULTIPART_BAD_HEADERS);
    refuse("--b\r\n" CD "\r\n name=x\r\n\r\nx\r\n--b--", MULTIPART_BAD_HEADERS);
    refuse("--b\r\n" CD "name=x\nX: y\r\n\r\nx\r\n--b--", MULTIPART_BAD_HEADERS);
    refuse("--b\r\n" CD "name=x\rX: y\r\n\r\nx\r\n--b--", MULTIPART_BAD_HEADERS);
    refuse("--b\r\nContent-Type: a\r\nContent-Type: b\r\n" CD "name=x\r\n\r\nx\r\n--b--", MULTIPART_BAD_HEADERS);
    refuse("--b\r\nContent-Transfer-Encoding: base64\r\n" CD "name=x\r\n\r\nx\r\n--b--", MULTIPART_BAD_ENCODING);
}

static void
a_nul_in_a_header_is_refused_and_in_a_value_kept(void **state)
{
    static const char header[] = "--b\r\n" CD "name=x\0y\r\n\r\n1\r\n--b--";
    static const char value[] = "--b\r\n" CD "name=x\r\n\r\n1\0" "2\r\n--b--";
    struct heard h = {0};

    (void)state;
    assert_int_equal(parse_n(&h, "b", header, sizeof header - 1, 7), MULTIPART_BAD_HEADERS);
    assert_int_equal(parse_n(&h, "b", value, sizeof value - 1, 7), MULTIPART_OK);
    assert_int_equal(h.len, strlen("[x|-|-]") + 3 + 1);
    assert_memory_equal(h.text, "[x|-|-]1\0002;", h.len);
}

static void
every_bound_is_held_to_the_byte(void **state)
{
    struct heard h = {0};
    struct multipart m;
    char body[2000] = "";
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 5; i++)
        len += (size_t)snprintf(body + len, sizeof body - len, "--b\r\n" CD "name=x\r\n\r\n%d\r\n", i);
    memcpy(body + len, "--b--", 6);
    assert_int_equal(parse_n(&h, "b", body, strlen(body), 9), MULTIPART_OK);
    snprintf(body + len, sizeof body - len, "--b\r\n" CD "name=x\r\n\r\n5\r\n--b--");
    assert_int_equal(parse_n(&h, "b", body, strlen(body), 9), MULTIPART_TOO_MANY_PARTS);

    for (size_t pad = 0; pad < 400; pad++) {
        len = (size_t)snprintf(body, sizeof body, "--b\r\n" CD "name=x\r\nX: %0*d\r\n\r\n", (int)pad, 0);
        enum multipart_error want = len - 5 > limits.headers_max_len ? MULTIPART_HEADERS_TOO_LONG : MULTIPART_TRUNCATED;
        assert_int_equal(parse_n(&h, "b", body, len, 50), want);
    }
    /* ten thousand parts cost no more than the first of them that is too many */
    multipart_init(&m, "b", &limits, &events, &h);
    h.len = 0;
    static const char one[] = "--b\r\n" CD "name=x\r\n\r\n\r\n";
    for (int i = 0; i < 10000; i++)
        multipart_feed(&m, one, sizeof one - 1);
    assert_int_equal(multipart_finish(&m), MULTIPART_TOO_MANY_PARTS);
}

static void
a_callback_can_stop_it_and_hears_no_more(void **state)
{
    static const char body[] = "--b\r\n" CD "name=x\r\n\r\n1\r\n--b\r\n" CD "name=y\r\n\r\n2\r\n--b--";
    struct heard h = {0};

    (void)state;
    h.stop_at = 1;
    assert_int_equal(parse(&h, body), MULTIPART_STOPPED);
    assert_string_equal(h.text, "[x|-|-]");
    h.stop_at = 2;
    assert_int_equal(parse(&h, body), MULTIPART_STOPPED);
    assert_string_equal(h.text, "[x|-|-]1");
    h.stop_at = 3;
    assert_int_equal(parse(&h, body), MULTIPART_STOPPED);
    assert_string_equal(h.text, "[x|-|-]1;");
}

static void
the_boundary_is_taken_from_the_content_type(void **state)
{
    static const struct {
        const char *value;
        enum multipart_error error;
        const char *boundary;
    } cases[] = {
        {"multipart/form-data; boundary=----WebKitFormBoundaryABC", MULTIPART_OK, "----WebKitFormBoundaryABC"},
        {"Multipart/Form-Data ; charset=utf-8; BOUNDARY=\"a b:c\"", MULTIPART_OK, "a b:c"},
        {"multipart/form-data;boundary=x;", MULTIPART_OK, "x"},
        {"multipart/form-data; boundary=\"x;y\"", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; boundary=\"x \"", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; boundary=x y", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; boundary=x; boundary=x", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; boundary=", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; boundary=\"\"", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; boundary=\"x", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; boundary=x\r\ny", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-data; ", MULTIPART_BAD_BOUNDARY, NULL},
        {"multipart/form-datax; boundary=x", MULTIPART_NOT_FORM_DATA, NULL},
        {"multipart/mixed; boundary=x", MULTIPART_NOT_FORM_DATA, NULL},
        {"application/json", MULTIPART_NOT_FORM_DATA, NULL},
        {"", MULTIPART_NOT_FORM_DATA, NULL},
        {NULL, MULTIPART_NOT_FORM_DATA, NULL},
    };
    char boundary[MULTIPART_BOUNDARY_MAX + 1], type[200];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum multipart_error error = multipart_boundary(cases[i].value, boundary);
        if (error != cases[i].error)
            fail_msg("%s: %s", cases[i].value, multipart_strerror(error));
        if (error == MULTIPART_OK)
            assert_string_equal(boundary, cases[i].boundary);
    }
    snprintf(type, sizeof type, "multipart/form-data; boundary=%070d", 1);
    assert_int_equal(multipart_boundary(type, boundary), MULTIPART_OK);
    snprintf(type, sizeof type, "multipart/form-data; boundary=%071d", 1);
    assert_int_equal(multipart_boundary(type, boundary), MULTIPART_BAD_BOUNDARY);
}

static void
a_boundary_of_full_length_works(void **state)
{
    char boundary[71], body[400];
    struct heard h = {0};

    (void)state;
    memset(boundary, '-', 70);
    boundary[70] = '\0';
    snprintf(body, sizeof body, "--%s\r\n" CD "name=x\r\n\r\n\r\n--%.69s\r\n--%s--", boundary, boundary, boundary);
    assert_int_equal(parse_n(&h, boundary, body, strlen(body), 3), MULTIPART_OK);
    assert_int_equal(h.len, 8 + 2 + 71);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_as_browsers_send_it_comes_out_part_by_part),
        cmocka_unit_test(what_looks_like_a_boundary_is_data_until_it_is_one),
        cmocka_unit_test(preamble_epilogue_and_padding_are_skipped),
        cmocka_unit_test(escapes_of_browsers_and_of_curl_are_undone),
        cmocka_unit_test(a_body_without_its_closing_boundary_is_truncated),
        cmocka_unit_test(malformed_shapes_have_names),
        cmocka_unit_test(a_nul_in_a_header_is_refused_and_in_a_value_kept),
        cmocka_unit_test(every_bound_is_held_to_the_byte),
        cmocka_unit_test(a_callback_can_stop_it_and_hears_no_more),
        cmocka_unit_test(the_boundary_is_taken_from_the_content_type),
        cmocka_unit_test(a_boundary_of_full_length_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
