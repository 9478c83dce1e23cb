/* A total is counted only when the page does not tell it, remembered for two seconds, and counted by one at
 * a time. */
#include "../../lib/totals.c"

#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>
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

static struct req_inside inside;
static struct req reader = { .inside = &inside, .user.id = "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f" }, nobody = { .inside = &inside };

/* Count TOTAL for KEY, as a request that has to. */
static void
count(const char *key, int64_t total)
{
    struct flight f;
    int64_t old;
    assert_false(remembered(&reader, key, &old, &f));
    land(&f, total);
}

static void
age(const char *key, int ms)
{
    slot_of(key)->counted_ms -= ms;
}

static void
a_total_is_remembered_for_its_list_only(void **state)
{
    (void)state;
    int64_t total = 0;
    struct flight f;
    count("market apple", 77);
    assert_true(remembered(&reader, "market apple", &total, &f));
    assert_int_equal(total, 77);
    assert_false(remembered(&reader, "market samsung", &total, &f));
    call_off(&f);
}

/* "a" and "b|-" as two filters, "a|b" and none, "-" and none: with bars between them all would read alike. */
static void
filters_that_differ_have_keys_that_differ(void **state)
{
    (void)state;
    struct made *m = made_query("");
    const char *const pairs[][2] = { { "a", "b|-" }, { "a|b", NULL }, { "a|b|-", NULL }, { NULL, NULL }, { "-", NULL },
                                     { NULL, "-" }, { "1:a", NULL }, { "", NULL } };
    enum { N = sizeof pairs / sizeof pairs[0] };
    const char *key[N];
    for (int i = 0; i < N; i++) {
        key[i] = arena_printf(m->req.arena, "%s|%s", totals_part(&m->req, pairs[i][0]), totals_part(&m->req, pairs[i][1]));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(key[i], key[k]);
    }
    made_free(m);
}

static void
a_total_is_never_two_seconds_old(void **state)
{
    (void)state;
    int64_t total = 0;
    struct flight f;
    count("old", 1);
    age("old", LIFE_MS);
    assert_false(remembered(&reader, "old", &total, &f));
    usleep(20000);
    land(&f, 2);
    age("old", FRESH_MS - 20);   /* it is as old as the beginning of its count */
    assert_false(remembered(&reader, "old", &total, &f));
    call_off(&f);
}

static void
for_who_is_not_signed_in_it_is_counted_anew_soon_because_his_page_is_kept_too(void **state)
{
    (void)state;
    int64_t total = 0;
    struct flight f;
    count("public", 1);
    assert_true(remembered(&nobody, "public", &total, &f));
    age("public", PUBLIC_MS);
    assert_true(remembered(&reader, "public", &total, &f));
    assert_false(remembered(&nobody, "public", &total, &f));
    land(&f, 2);
}

static void
while_one_counts_anew_the_others_take_what_there_is(void **state)
{
    (void)state;
    int64_t total = 0;
    struct flight f, other;
    count("renewed", 1);
    age("renewed", FRESH_MS);
    assert_false(remembered(&reader, "renewed", &total, &f));
    assert_true(remembered(&reader, "renewed", &total, &other));
    assert_int_equal(total, 1);
    land(&f, 2);
    assert_true(remembered(&reader, "renewed", &total, &other));
    assert_int_equal(total, 2);
}

static void
a_page_is_not_denied_by_an_older_total(void **state)
{
    (void)state;
    struct made *m = made_query("");
    struct page second = { .page = 2, .limit = 20 };
    count("grown", 25);
    assert_int_equal(totals_of(&m->req, &second, 20, "grown", NULL, NULL, 0), 40);
    struct page ninth = { .page = 9, .limit = 20 };
    assert_int_equal(totals_of(&m->req, &ninth, 0, "grown", NULL, NULL, 0), 25);   /* behind the end */
    made_free(m);
}

/* ---- many at once ---- */

enum { ASKERS = 16 };
static atomic_int counts, told;
static pthread_barrier_t gate;

static void *
ask(void *key)
{
    struct flight f;
    int64_t total = 0;
    pthread_barrier_wait(&gate);
    if (!remembered(&reader, key, &total, &f)) {
        counts++;
        usleep(50000);   /* long enough for all to come */
        land(&f, total = 5);
    }
    told += total == 5;
    return NULL;
}

static void
of_many_who_ask_at_once_one_counts(void **state)
{
    (void)state;
    pthread_t thread[ASKERS];
    char key[] = "crowd";
    counts = told = 0;
    pthread_barrier_init(&gate, NULL, ASKERS);
    for (int i = 0; i < ASKERS; i++)
        pthread_create(&thread[i], NULL, ask, key);
    for (int i = 0; i < ASKERS; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&gate);
    assert_int_equal(counts, 1);
    assert_int_equal(told, ASKERS);
}

static void *
ask_alone(void *key)
{
    struct flight f;
    int64_t total = 0;
    if (!remembered(&reader, key, &total, &f)) {
        counts++;
        land(&f, 6);
    }
    return NULL;
}

static void
a_count_that_is_given_up_leaves_it_to_who_waits(void **state)
{
    (void)state;
    struct made *m = made_query("");
    struct flight *f = arena_zalloc(m->req.arena, 1, sizeof *f);
    char key[] = "given up";
    int64_t total = 0;
    pthread_t waiter;
    counts = 0;
    assert_false(remembered(&reader, key, &total, f));
    arena_own(m->req.arena, f, call_off);
    pthread_create(&waiter, NULL, ask_alone, key);
    usleep(50000);
    assert_int_equal(counts, 0);
    uint64_t number = f->number;
    made_free(m);                /* the request ends without a total */
    assert_true(slot_of(key)->flight != number);
    pthread_join(waiter, NULL);
    assert_int_equal(counts, 1);
}

static void
nobody_waits_for_ever_for_a_count(void **state)
{
    (void)state;
    struct flight stuck, f;
    int64_t total = 0;
    assert_false(remembered(&reader, "stuck", &total, &stuck));
    assert_false(remembered(&reader, "stuck", &total, &f));   /* after WAIT_MS */
    land(&f, 7);
    land(&stuck, 1);                                 /* too late to count */
    assert_true(remembered(&reader, "stuck", &total, &f));
    assert_int_equal(total, 7);
}

static void
a_list_that_takes_the_place_of_another_keeps_its_own_total(void **state)
{
    (void)state;
    char a[16], b[16];
    struct flight fa, fb;
    int64_t total = 0;
    snprintf(a, sizeof a, "list a");
    for (int i = 0;; i++) {   /* another key of the same slot */
        snprintf(b, sizeof b, "list b%d", i);
        if (slot_of(a) == slot_of(b))
            break;
    }
    assert_false(remembered(&reader, a, &total, &fa));
    assert_false(remembered(&reader, b, &total, &fb));
    land(&fa, 1);
    land(&fb, 2);
    assert_true(remembered(&reader, b, &total, &fb));
    assert_int_equal(total, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_that_is_not_full_tells_its_total_without_a_count),
        cmocka_unit_test(a_total_is_remembered_for_its_list_only),
        cmocka_unit_test(filters_that_differ_have_keys_that_differ),
        cmocka_unit_test(a_total_is_never_two_seconds_old),
        cmocka_unit_test(for_who_is_not_signed_in_it_is_counted_anew_soon_because_his_page_is_kept_too),
        cmocka_unit_test(while_one_counts_anew_the_others_take_what_there_is),
        cmocka_unit_test(a_page_is_not_denied_by_an_older_total),
        cmocka_unit_test(of_many_who_ask_at_once_one_counts),
        cmocka_unit_test(a_count_that_is_given_up_leaves_it_to_who_waits),
        cmocka_unit_test(nobody_waits_for_ever_for_a_count),
        cmocka_unit_test(a_list_that_takes_the_place_of_another_keeps_its_own_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
