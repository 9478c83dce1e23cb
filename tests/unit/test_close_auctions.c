/* When the closer looks again: at the next end, at once while there is more, and not while the database is away. */
#include "fakedb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#undef fail   /* cmocka has one too */

static const struct rows *fake_query(struct db *db, struct arena *a, struct sql *sql, const char *const *param, int n);
static int64_t fake_int(const struct rows *rows, int i, const char *name);
#define db_query fake_query
#define rows_int fake_int
int closer_main(int argc, char **argv);
#define main closer_main
#include "../../cron/selliko-close-auctions.c"
#undef main

#include "arena.h"

static const char *away;   /* the statement that fails */
static struct arena *arena;

static const struct rows *
fake_query(struct db *db, struct arena *a, struct sql *sql, const char *const *param, int n)
{
    (void)db, (void)param, (void)n;
    return away != NULL && strcmp(sql->name, away) == 0 ? NULL : fake_rows(a, sql->name);
}

static int64_t
fake_int(const struct rows *rows, int i, const char *name)
{
    return strtoll(fake_text(rows, i, name), NULL, 10);
}

int
cron_main(const struct cron *cron, int argc, char **argv)
{
    (void)argc, (void)argv;
    return cron->work == close_auctions ? 7 : 0;
}

void
cron_count(const char *what, int64_t n)
{
    (void)what, (void)n;
}

const char *
cron_rules(void)
{
    return "(100,0 minutes,2,5)";
}

/* A round in which CLOSED were closed and the next one ends in MS (NULL: there is none). */
static enum cron_result
round_of(const char *closed, const char *ms, int64_t *next_ms)
{
    fake_reset();
    fake_script("close_due", 1, "closed", closed);
    fake_script("next_end", ms != NULL, "ms", ms);
    arena_reset(arena);
    *next_ms = PAUSE_MS;
    return close_auctions(NULL, arena, next_ms);
}

static void
it_sleeps_until_the_next_end_and_never_long(void **state)
{
    (void)state;
    int64_t next;
    assert_int_equal(round_of("0", NULL, &next), CRON_DONE);
    assert_int_equal(next, PAUSE_MS);
    assert_int_equal(round_of("2", "3600000", &next), CRON_DONE);
    assert_int_equal(next, PAUSE_MS);
    assert_int_equal(round_of("0", "3", &next), CRON_DONE);
    assert_int_equal(next, 3);
}

static void
what_is_due_and_still_open_is_looked_at_again(void **state)
{
    (void)state;
    int64_t next;
    assert_int_equal(round_of("5", "-20", &next), CRON_AGAIN);
    assert_int_equal(next, 0);
    assert_int_equal(round_of("0", "0", &next), CRON_AGAIN);
    assert_int_equal(next, BUSY_MS);
}

static void
a_database_that_is_away_is_told(void **state)
{
    (void)state;
    int64_t next;
    away = "close_due";
    assert_int_equal(round_of("0", NULL, &next), CRON_FAILED);
    away = "next_end";
    assert_int_equal(round_of("1", "5", &next), CRON_FAILED);
    away = NULL;
    assert_int_equal(closer_main(0, NULL), 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_sleeps_until_the_next_end_and_never_long),
        cmocka_unit_test(what_is_due_and_still_open_is_looked_at_again),
        cmocka_unit_test(a_database_that_is_away_is_told),
    };
    arena = arena_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(arena);
    return failed;
}
