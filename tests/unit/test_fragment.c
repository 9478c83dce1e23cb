/* A fragment is found in the edition and hour that it was made for, and in no other. */
#include "../../lib/fragment.c"

#include "../../lib/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ID(n) "01a20378-0000-7000-8000-0000000000" #n

static struct fragment_key
key_of(const char *id, int64_t edition, int64_t hour)
{
    return (struct fragment_key){ .id = id, .edition = edition, .hour = hour };
}

static void
keep(const char *id, int64_t edition, int64_t hour, const char *members)
{
    struct fragment_key key = key_of(id, edition, hour);
    fragment_keep(&key, members, strlen(members));
}

/* What is kept, as a whole array; NULL when nothing is. */
static const char *
found(struct arena *a, const char *id, int64_t edition, int64_t hour)
{
    struct fragment_key key = key_of(id, edition, hour);
    struct jw *j = jw_new(a);
    size_t len;
    jw_array(j, NULL);
    if (!fragment_open(j, &key)) {
        assert_string_equal(jw_text(j, &len), "[");
        return NULL;
    }
    jw_int(j, "bids", 3);
    jw_end(j);
    jw_end(j);
    return jw_text(j, &len);
}

static void
a_fragment_is_an_element_to_which_more_is_added(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    assert_null(found(a, ID(01), 1, 100));
    keep(ID(01), 1, 100, "\"brand\":\"Apple\",\"ask\":5");
    assert_string_equal(found(a, ID(01), 1, 100), "[{\"brand\":\"Apple\",\"ask\":5,\"bids\":3}]");
    arena_free(a);
}

static void
what_was_read_over_a_former_connection_is_not_found(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct jw *j = jw_new(a);
    struct fragment_key key = { .id = ID(09), .edition = 1, .hour = 100, .epoch = 3 };
    jw_array(j, NULL);
    fragment_keep(&key, "\"x\":1", 5);
    key.epoch = 4;
    assert_false(fragment_open(j, &key));
    key.epoch = 3;
    assert_true(fragment_open(j, &key));
    arena_free(a);
}

static void
another_edition_or_hour_is_not_found(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    keep(ID(02), 1, 100, "\"x\":1");
    assert_null(found(a, ID(02), 2, 100));
    assert_null(found(a, ID(02), 0, 100));
    assert_null(found(a, ID(02), 1, 101));
    assert_null(found(a, ID(03), 1, 100));
    keep(ID(02), 2, 100, "\"x\":\"longer than before\"");
    assert_string_equal(found(a, ID(02), 2, 100), "[{\"x\":\"longer than before\",\"bids\":3}]");
    assert_null(found(a, ID(02), 1, 100));
    arena_free(a);
}

static void
of_a_set_the_one_least_asked_for_goes(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    char id[WAYS + 1][ID_LEN + 1];
    struct fragment_key first = key_of(ID(10), 1, 1);
    for (int n = 0, i = 0; n < WAYS + 1; i++) {   /* as many ids of one set */
        snprintf(id[n], sizeof id[n], "01a20378-0000-7000-8000-%012d", i);
        struct fragment_key key = key_of(id[n], 1, 1);
        n += set_of(&key) == set_of(&first);
    }
    for (int n = 0; n < WAYS; n++)
        keep(id[n], 1, 1, "\"x\":1");
    assert_non_null(found(a, id[0], 1, 1));
    keep(id[WAYS], 1, 1, "\"x\":1");
    assert_non_null(found(a, id[0], 1, 1));
    assert_null(found(a, id[1], 1, 1));
    for (int n = 2; n <= WAYS; n++)
        assert_non_null(found(a, id[n], 1, 1));
    arena_free(a);
}

static void
what_is_too_long_is_not_kept(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    char *members = arena_zalloc(a, 1, FRAGMENT_MAX + 2);
    memset(members, '1', FRAGMENT_MAX + 1);
    memcpy(members, "\"x\":", 4);
    keep(ID(20), 1, 1, members);
    assert_null(found(a, ID(20), 1, 1));
    members[FRAGMENT_MAX] = '\0';
    keep(ID(20), 1, 1, members);
    assert_non_null(found(a, ID(20), 1, 1));
    arena_free(a);
}

/* Readers find a whole fragment or none while it is written over and over. */
static void *
rewrite(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        char members[1200];
        int len = 200 + i % 900;
        memset(members, 'a' + i % 26, sizeof members);
        members[0] = members[2] = members[4] = members[len - 1] = '"';
        members[3] = ':';
        members[len] = '\0';
        keep(ID(30), i % 2, 1, members);
    }
    return NULL;
}

static void
a_fragment_is_whole_while_it_is_replaced(void **state)
{
    (void)state;
    pthread_t writer;
    pthread_create(&writer, NULL, rewrite, NULL);
    for (int i = 0; i < 20000; i++) {
        struct arena *a = arena_new();
        const char *text = found(a, ID(30), i % 2, 1);
        if (text != NULL) {
            const char *value = strchr(text, ':') + 2, *end = strchr(value, '"');
            assert_string_equal(end, "\",\"bids\":3}]");
            assert_int_equal(strspn(value, (const char[]){ *value, '\0' }), end - value);
        }
        arena_free(a);
    }
    pthread_join(writer, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fragment_is_an_element_to_which_more_is_added),
        cmocka_unit_test(what_was_read_over_a_former_connection_is_not_found),
        cmocka_unit_test(another_edition_or_hour_is_not_found),
        cmocka_unit_test(of_a_set_the_one_least_asked_for_goes),
        cmocka_unit_test(what_is_too_long_is_not_kept),
        cmocka_unit_test(a_fragment_is_whole_while_it_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
