/* A list is found under its key alone, and is the same only as long as its rows are. */
#include "scarce.h"
#include "../../lib/kept.c"
#undef malloc

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* What rows_version would say of rows whose versions are this text. */
const char *
rows_version(struct arena *a, const struct rows *rows, size_t *len)
{
    *len = strlen(rows->res);
    return arena_strdup(a, rows->res);
}

static uint64_t epoch = 7;
static int64_t now = 3600 * 1000;

uint64_t
db_epoch(void)
{
    return epoch;
}

int64_t
req_now(struct req *r)
{
    (void)r;
    return now;
}

static void
put(const char *key, const char *version, const char *list)
{
    struct arena *a = arena_new();
    struct jw *j = jw_new(a);
    size_t from;
    jw_array(j, NULL);
    (void)jw_text(j, &from);
    jw_raw(j, NULL, list, strlen(list));
    kept_put(a, key, &(struct rows){ .n = 1, .res = (void *)(uintptr_t)version }, j, from);
    arena_free(a);
}

static bool
is(struct arena *a, const char *key, const char *version)
{
    return kept_is(&(struct req){ .arena = a }, key, kept_find(a, key), &(struct rows){ .n = 1, .res = (void *)(uintptr_t)version });
}

/* NAME as the key of a list that is asked for now. */
static const char *
key_now(struct arena *a, const char *name)
{
    return arena_printf(a, "%s%s", name, kept_while(&(struct req){ .arena = a }));
}

static const char *
written(struct arena *a, const struct kept *kept)
{
    struct jw *j = jw_new(a);
    jw_array(j, NULL);
    kept_write(j, kept);
    jw_end(j);
    return jw_text(j, NULL);
}

static void
a_list_is_written_as_it_was(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    assert_null(kept_find(a, "a"));
    put("a", "1", "{\"x\":1},{\"x\":2}");
    assert_null(kept_find(a, "b"));
    assert_string_equal(written(a, kept_find(a, "a")), "[{\"x\":1},{\"x\":2}]");
    put("a", "2", "");
    assert_string_equal(written(a, kept_find(a, "a")), "[]");
    arena_free(a);
}

static void
other_versions_are_another_list(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    const char *v = key_now(a, "v");
    put(v, "12", "1");
    assert_true(is(a, v, "12"));
    assert_false(is(a, v, "13"));
    assert_false(is(a, v, "1"));
    assert_false(is(a, v, "123"));
    arena_free(a);
}

/* Also not when the connection was made, or the hour turned, while the versions were asked for. */
static void
in_another_hour_or_over_a_later_connection_the_same_versions_are_not_believed(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    const char *before = key_now(a, "t");
    put(before, "1", "1");
    assert_true(is(a, before, "1"));
    epoch++;
    assert_false(is(a, before, "1"));
    assert_null(kept_find(a, key_now(a, "t")));
    epoch--;
    now += 3600;
    assert_false(is(a, before, "1"));
    assert_null(kept_find(a, key_now(a, "t")));
    now--;
    assert_true(is(a, before, "1"));
    put("bare", "1", "1");
    assert_false(is(a, "bare", "1"));
    arena_free(a);
}

static void
who_has_found_a_list_has_it_after_it_was_replaced(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    put("r", "1", "\"the first\"");
    const struct kept *first = kept_find(a, "r");
    put("r", "2", "\"the second\"");
    assert_string_equal(written(a, first), "[\"the first\"]");
    assert_string_equal(written(a, kept_find(a, "r")), "[\"the second\"]");
    arena_free(a);
}

static void
of_a_set_the_one_least_asked_for_goes(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    char key[WAYS + 1][20];
    for (int n = 0, i = 0; n < WAYS + 1; i++) {   /* as many keys of one set */
        snprintf(key[n], sizeof key[n], "set %d", i);
        n += set_of(key[n]) == set_of("set 0");
    }
    for (int n = 0; n < WAYS; n++)
        put(key[n], "1", "1");
    assert_non_null(kept_find(a, key[0]));
    put(key[WAYS], "1", "1");
    assert_null(kept_find(a, key[1]));
    for (int n = 0; n <= WAYS; n++)
        if (n != 1)
            assert_non_null(kept_find(a, key[n]));
    arena_free(a);
}

static void
all_lists_together_are_bounded_and_the_newest_is_there(void **state)
{
    (void)state;
    char *text = test_malloc(KEPT_LIST_MAX + 1), key[20];
    memset(text, '1', KEPT_LIST_MAX);
    text[KEPT_LIST_MAX] = '\0';
    for (int i = 0; i < 4 * BYTES / KEPT_LIST_MAX; i++) {
        struct arena *a = arena_new();
        snprintf(key, sizeof key, "much %d", i);
        put(key, "1", text);
        assert_non_null(kept_find(a, key));
        arena_free(a);
    }
    size_t bytes = 0;
    for (int i = 0; i < SETS * WAYS; i++)
        bytes += size_of(table.slot[i / WAYS][i % WAYS].kept);
    assert_in_range(bytes, BYTES - 2 * KEPT_LIST_MAX, BYTES);
    assert_int_equal(bytes, table.bytes);
    test_free(text);
}

static void
what_is_too_long_is_not_kept(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    char *text = arena_zalloc(a, 1, KEPT_LIST_MAX + 2);
    memset(text, '1', KEPT_LIST_MAX + 1);
    put("long", "1", text);
    assert_null(kept_find(a, "long"));
    text[KEPT_LIST_MAX] = '\0';
    put("long", "1", text);
    assert_non_null(kept_find(a, "long"));
    text[KEPT_KEY_MAX] = '\0';
    put(text, "1", "1");
    assert_null(kept_find(a, text));
    text[KEPT_KEY_MAX - 1] = '\0';
    put(text, "1", "1");
    assert_non_null(kept_find(a, text));
    arena_free(a);
}

static void
what_there_is_no_memory_for_is_not_kept_and_the_former_stays(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    const char *scarce = key_now(a, "scarce");
    put(scarce, "1", "\"the first\"");
    no_memory = true;
    put(scarce, "2", "\"the second\"");
    no_memory = false;
    assert_string_equal(written(a, kept_find(a, scarce)), "[\"the first\"]");
    assert_true(is(a, scarce, "1"));
    arena_free(a);
}

/* Readers find a whole list while it is replaced over and over. */
static void *
replace(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5000; i++) {
        char list[1200];
        int len = 200 + i % 900;
        memset(list, 'a' + i % 26, (size_t)len);
        list[0] = list[len - 1] = '"';
        list[len] = '\0';
        put("busy", "1", list);
    }
    return NULL;
}

static void
a_list_is_whole_while_it_is_replaced(void **state)
{
    (void)state;
    pthread_t writer;
    put("busy", "1", "\"aaa\"");
    pthread_create(&writer, NULL, replace, NULL);
    for (int i = 0; i < 5000; i++) {
        struct arena *a = arena_new();
        const char *text = written(a, kept_find(a, "busy")) + 2, *end = strchr(text, '"');
        assert_string_equal(end, "\"]");
        assert_int_equal(strspn(text, (const char[]){ *text, '\0' }), end - text);
        arena_free(a);
    }
    pthread_join(writer, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_written_as_it_was),
        cmocka_unit_test(other_versions_are_another_list),
        cmocka_unit_test(in_another_hour_or_over_a_later_connection_the_same_versions_are_not_believed),
        cmocka_unit_test(who_has_found_a_list_has_it_after_it_was_replaced),
        cmocka_unit_test(of_a_set_the_one_least_asked_for_goes),
        cmocka_unit_test(all_lists_together_are_bounded_and_the_newest_is_there),
        cmocka_unit_test(what_is_too_long_is_not_kept),
        cmocka_unit_test(what_there_is_no_memory_for_is_not_kept_and_the_former_stays),
        cmocka_unit_test(a_list_is_whole_while_it_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
