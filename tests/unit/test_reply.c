/* Every refusal has one shape. */
#include "../../lib/reply.c"

#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#undef fail   /* cmocka has one too */

#define ID "0123456789abcdef0123456789abcdef"

static void
a_refusal_says_what_it_is_for_people_and_programs(void **state)
{
    (void)state;
    struct made *m = made_json("");
    reply no = fail(&m->req, ERR_FORBIDDEN);
    assert_int_equal(reply_status(no), 403);
    assert_string_equal(no.made->body, "{\"success\":false,\"error\":\"Insufficient permissions\",\"code\":\"forbidden\",\"requestId\":\"" ID "\"}");
    made_free(m);
}

static void
wrong_fields_are_listed_and_one_alone_is_the_sentence(void **state)
{
    (void)state;
    struct made *m = made_json("");
    wrong(&m->req, "a", "must be a number");
    assert_string_equal(refuse_input(&m->req).made->body,
        "{\"success\":false,\"error\":\"a must be a number.\",\"code\":\"validation_failed\",\"details\":[{\"field\":\"a\",\"message\":\"must be a number\"}],"
        "\"requestId\":\"" ID "\"}");
    wrong(&m->req, "b", "is required");
    assert_non_null(strstr(refuse_input(&m->req).made->body, "\"error\":\"Some fields are not right.\""));
    made_free(m);
}

static void
what_goes_beside_an_error_is_written_beside_it(void **state)
{
    (void)state;
    struct made *m = made_json("");
    jw_rupees(error_extra(&m->req), "minimumBid", 2510000);
    assert_string_equal(fail(&m->req, ERR_BID_TOO_LOW).made->body,
        "{\"success\":false,\"error\":\"The bid is too low.\",\"code\":\"bid_too_low\",\"minimumBid\":25100,\"requestId\":\"" ID "\"}");
    made_free(m);
}

static void
pages_are_counted(void **state)
{
    (void)state;
    static const struct { int64_t page, limit, total; const char *json; } cases[] = {
        { 1, 20, 0, "{\"page\":1,\"limit\":20,\"total\":0,\"totalPages\":0,\"hasNext\":false,\"hasPrev\":false}" },
        { 1, 20, 20, "{\"page\":1,\"limit\":20,\"total\":20,\"totalPages\":1,\"hasNext\":false,\"hasPrev\":false}" },
        { 2, 20, 41, "{\"page\":2,\"limit\":20,\"total\":41,\"totalPages\":3,\"hasNext\":true,\"hasPrev\":true}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made *m = made_json("");
        answer_pagination(&m->req, &(struct page){ .page = cases[i].page, .limit = cases[i].limit }, cases[i].total);
        assert_non_null(strstr(ok(&m->req).made->body, cases[i].json));
        made_free(m);
    }
}

static void
a_header_is_given_once(void **state)
{
    (void)state;
    struct made *m = made_json("");
    header(&m->req, "Retry-After", "2");
    header(&m->req, "Retry-After", "5");
    assert_int_equal(m->inside.n_headers, 1);
    assert_string_equal(m->inside.header[0].value, "5");
    made_free(m);
}

static void
leave(struct req *r)
{
    wrong(r, "a", "is private");
    give_up(r, ERR_UNAVAILABLE);
}

static void
giving_up_tells_nothing_of_the_inside(void **state)
{
    (void)state;
    struct made *m = made_json("");
    assert_false(made_run(m, leave));
    assert_int_equal(m->inside.answer.status, 503);
    assert_null(strstr(m->inside.answer.body, "private"));
    assert_string_equal(m->inside.header[0].name, "Retry-After");
    made_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_says_what_it_is_for_people_and_programs),
        cmocka_unit_test(wrong_fields_are_listed_and_one_alone_is_the_sentence),
        cmocka_unit_test(what_goes_beside_an_error_is_written_beside_it),
        cmocka_unit_test(pages_are_counted),
        cmocka_unit_test(a_header_is_given_once),
        cmocka_unit_test(giving_up_tells_nothing_of_the_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
