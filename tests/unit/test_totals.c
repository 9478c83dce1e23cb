/* A total is counted only when the page does not tell it, and remembered for two seconds. */
#include "../../lib/totals.c"

#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
a_page_that_is_not_full_tells_its_total_without_a_count(void **state)
{
    (void)state;
    struct made *m = made_query("");
    struct page first = { .page = 1, .limit = 20 }, third = { .page = 3, .limit = 20 };
    /* No database is behind this request: a count would end it. */
    assert_int_equal(totals_of(&m->req, &first, 0, "k", NULL, NULL, 0), 0);
    assert_int_equal(totals_of(&m->req, &first, 19, "k", NULL, NULL, 0), 19);
    assert_int_equal(totals_of(&m->req, &third, 1, "k", NULL, NULL, 0), 41);
    made_free(m);
}

static void
a_total_is_remembered_for_its_list_only(void **state)
{
    (void)state;
    int64_t total = 0;
    remember("market apple", 77);
    assert_true(remembered("market apple", &total));
    assert_int_equal(total, 77);
    assert_false(remembered("market samsung", &total));
    slot_of("market apple")->until_ms = now_ms();   /* two seconds later */
    assert_false(remembered("market apple", &total));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_that_is_not_full_tells_its_total_without_a_count),
        cmocka_unit_test(a_total_is_remembered_for_its_list_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
