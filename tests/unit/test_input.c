/* All wrong fields are noted at once, and a value has one meaning wherever it comes from. */
#include "../../lib/input.c"

#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
all_wrong_fields_are_noted_and_none_twice(void **state)
{
    (void)state;
    struct made *m = made_json("{\"brand\":\"  \",\"age\":\"x\",\"id\":\"no\",\"flag\":1,\"kind\":\"c\",\"price\":\"1.234\"}");
    struct req *r = &m->req;
    assert_null(body_text(r, "brand", 1, 10));
    assert_int_equal(body_int(r, "age", 1, 100), 0);
    assert_null(body_uuid(r, "id"));
    assert_false(body_bool(r, "flag"));
    assert_null(body_choice(r, "kind", "a|b"));
    assert_int_equal(body_rupees(r, "price", 1, 1000), 0);
    assert_null(body_text(r, "absent", 1, 10));
    assert_null(body_text(r, "brand", 1, 10));
    assert_true(bad_input(r));
    static const char *const fields[] = { "brand", "age", "id", "flag", "kind", "price", "absent" };
    int n = 0;
    for (const struct req_field *f = m->inside.wrong; f != NULL; f = f->next)
        assert_string_equal(f->name, fields[n++]);
    assert_int_equal(n, 7);
    made_free(m);
}

static void
a_number_may_come_as_a_number_or_as_digits(void **state)
{
    (void)state;
    static const struct { const char *json; int64_t paise; bool good; } cases[] = {
        { "{\"v\":25000}", 2500000, true }, { "{\"v\":\"25000\"}", 2500000, true }, { "{\"v\":25000.5}", 2500050, true },
        { "{\"v\":\"25000.50\"}", 2500050, true }, { "{\"v\":0.29}", 29, true }, { "{\"v\":25000.505}", 0, false },
        { "{\"v\":\" 25000\"}", 0, false }, { "{\"v\":\"+25000\"}", 0, false }, { "{\"v\":-1}", 0, false }, { "{\"v\":1e3}", 100000, true },
        { "{\"v\":2.5E3}", 250000, true }, { "{\"v\":2500050e-2}", 2500050, true }, { "{\"v\":12e-2}", 12, true }, { "{\"v\":1e-2}", 1, true },
        { "{\"v\":1.25e+1}", 1250, true }, { "{\"v\":0e9}", 0, true }, { "{\"v\":1e-3}", 0, false }, { "{\"v\":25000.505e0}", 0, false },
        { "{\"v\":-1e0}", 0, false }, { "{\"v\":1e40}", 0, false }, { "{\"v\":1e400}", 0, false }, { "{\"v\":1e-400}", 0, false },
        { "{\"v\":\"1e3\"}", 0, false },
        { "{\"v\":true}", 0, false }, { "{\"v\":[1]}", 0, false }, { "{\"v\":\"1\\u0000\"}", 0, false }, { "{\"v\":null}", 0, false },
        { "{\"v\":99999999999999999999}", 0, false }, { "{\"v\":\"\"}", 0, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made *m = made_json(cases[i].json);
        assert_int_equal(body_rupees(&m->req, "v", 0, INT64_C(10000000000)), cases[i].paise);
        assert_int_equal(!bad_input(&m->req), cases[i].good);
        made_free(m);
    }
}

static void
text_is_trimmed_counted_in_characters_and_free_of_controls(void **state)
{
    (void)state;
    struct made *m = made_json("{\"a\":\"\\u00a0 മല \\ufeff\",\"b\":\"x\\u0000y\",\"c\":\"two\\nlines\",\"d\":5}");
    struct req *r = &m->req;
    assert_string_equal(body_text(r, "a", 2, 2), "മല");
    assert_null(body_text(r, "b", 1, 10));
    assert_null(body_text(r, "c", 1, 20));
    assert_null(body_text(r, "d", 1, 20));
    assert_string_equal(body_text(r, "none", 0, 5), "");
    made_free(m);
    m = made_json("{\"c\":\"two\\nlines\"}");
    assert_string_equal(body_lines(&m->req, "c", 1, 20), "two\nlines");
    assert_false(bad_input(&m->req));
    made_free(m);
}

static void
a_query_is_decoded_and_an_empty_value_is_of_no_type(void **state)
{
    (void)state;
    struct made *m = made_query("search=gal%61xy+s23&brand=&page=2&limit=500&x=%zz");
    struct req *r = &m->req;
    assert_string_equal(query_text(r, "search", 0, 100), "galaxy s23");
    assert_string_equal(query_text(r, "brand", 0, 100), "");
    assert_true(bad_input(r));   /* %zz */
    assert_non_null(made_wrong(m, "query"));
    struct page page = in_page(r);
    assert_int_equal(page.page, 2);
    assert_int_equal(page.limit, 100);
    assert_string_equal(page.offset_text, "100");
    made_free(m);
    m = made_query("page=9007199254740991&limit=9007199254740991");   /* above 100 it is 100, however far */
    page = in_page(&m->req);
    assert_false(bad_input(&m->req));
    assert_int_equal(page.limit, 100);
    assert_string_equal(page.offset_text, "900719925474099000");
    made_free(m);
    static const char *const bad[] = { "page=0", "page=-1", "page=1.5", "page=", "page=x", "page=1&page=2", "limit=0", "page=%31%00" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        m = made_query(bad[i]);
        (void)in_page(&m->req);
        assert_true(bad_input(&m->req));
        made_free(m);
    }
}

static void
read_field(struct req *r)
{
    (void)body_has(r, "x");
}

static void
what_is_no_json_object_ends_the_request(void **state)
{
    (void)state;
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    static const struct { const char *body; size_t len; enum error error; } cases[] = {
        { "{", 1, ERR_MALFORMED_JSON }, { "{}x", 3, ERR_MALFORMED_JSON }, { "{\"a\":\"\xff\"}", 9, ERR_MALFORMED_JSON },
        { "{\"a\":{\"b\":\"\xc0\x80\"}}", 16, ERR_MALFORMED_JSON }, { "{\"\xed\xa0\x80\":1}", 9, ERR_MALFORMED_JSON },
        { "{\"a\":1}\0", 8, ERR_MALFORMED_JSON }, { "{\"a\":NaN}", 9, ERR_MALFORMED_JSON }, { "{'a':1}", 7, ERR_MALFORMED_JSON },
        { "[]", 2, ERR_VALIDATION_FAILED }, { "5", 1, ERR_VALIDATION_FAILED }, { "{\"a\":1,}", 8, ERR_MALFORMED_JSON },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made *m = made_new("application/json", cases[i].body, cases[i].len, "");
        assert_false(made_run(m, read_field));
        assert_int_equal(m->inside.answer.error, cases[i].error);
        made_free(m);
    }
    struct made *m = made_new("application/json", deep, sizeof deep, "");
    assert_false(made_run(m, read_field));
    made_free(m);
    m = made_new("text/plain", "{}", 2, "");
    assert_false(made_run(m, read_field));
    assert_int_equal(m->inside.answer.error, ERR_UNSUPPORTED_MEDIA_TYPE);
    made_free(m);
    static const struct { const char *type; bool good; } types[] = {
        { "application/json; charset=utf-8", true }, { "Application/JSON;Charset=\"UTF-8\"; x=y", true },
        { "application/json; charset=utf-16", false }, { "application/json;charset=latin1", false },
        { "application/json; charset=", false }, { "application/jsonp", false },
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        m = made_new(types[i].type, "{}", 2, "");
        assert_int_equal(made_run(m, read_field), types[i].good);
        assert_int_equal(m->inside.answer.error == ERR_UNSUPPORTED_MEDIA_TYPE, !types[i].good);
        made_free(m);
    }
    m = made_new("", "", 0, "");   /* no body is an empty object */
    assert_true(made_run(m, read_field));
    made_free(m);
}

static void
an_empty_form_field_is_as_if_left_out(void **state)
{
    (void)state;
    struct made *m = made_new("multipart/form-data", "", 0, "");
    struct req *r = &m->req;
    req_form_field(r, "landmark", "  ", 2);
    req_form_field(r, "city", " Kochi ", 7);
    req_form_field(r, "bad", "\xff", 1);
    req_form_field(r, "hasWarranty", "true", 4);
    assert_false(body_has(r, "landmark"));
    assert_string_equal(body_text(r, "city", 1, 10), "Kochi");
    assert_true(body_bool(r, "hasWarranty"));
    assert_false(bad_input(r));
    assert_null(body_text(r, "bad", 1, 10));
    assert_true(bad_input(r));
    made_free(m);
}

static void
objects_are_bounded_and_hold_no_nul(void **state)
{
    (void)state;
    struct made *m = made_json("{\"o\":{\"a\":[1.10,\"x\"]},\"nul\":{\"a\":[\"\\u0000\"]},\"list\":[],"
                               "\"far\":{\"n\":[9007199254740993,-9007199254740993,18446744073709551614]},"
                               "\"too\":{\"n\":100000000000000000000},\"low\":{\"n\":-100000000000000000000}}");
    struct req *r = &m->req;
    assert_string_equal(body_object(r, "o", 100), "{\"a\":[1.10,\"x\"]}");
    assert_false(bad_input(r));
    assert_string_equal(body_object(r, "far", 100), "{\"n\":[9007199254740993,-9007199254740993,18446744073709551614]}");
    assert_false(bad_input(r));
    assert_null(body_object(r, "too", 100));   /* nothing is rounded in silence */
    assert_null(body_object(r, "low", 100));
    assert_non_null(made_wrong(m, "low"));
    assert_null(body_object(r, "o", 5));
    assert_null(body_object(r, "nul", 100));
    assert_null(body_object(r, "list", 100));
    made_free(m);
}

static void
a_switch_in_broken_utf_8_is_wrong_and_nothing_behind_it_is_read(void **state)
{
    (void)state;
    struct made *m = made_query("long=fals%ff&word=%66alse&short=%ff");
    struct req *r = &m->req;
    assert_false(query_bool(r, "word"));
    assert_false(bad_input(r));
    assert_false(query_bool(r, "long"));
    assert_false(query_bool(r, "short"));
    assert_non_null(made_wrong(m, "long"));
    assert_non_null(made_wrong(m, "short"));
    made_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_wrong_fields_are_noted_and_none_twice),
        cmocka_unit_test(a_number_may_come_as_a_number_or_as_digits),
        cmocka_unit_test(text_is_trimmed_counted_in_characters_and_free_of_controls),
        cmocka_unit_test(a_query_is_decoded_and_an_empty_value_is_of_no_type),
        cmocka_unit_test(what_is_no_json_object_ends_the_request),
        cmocka_unit_test(an_empty_form_field_is_as_if_left_out),
        cmocka_unit_test(objects_are_bounded_and_hold_no_nul),
        cmocka_unit_test(a_switch_in_broken_utf_8_is_wrong_and_nothing_behind_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
