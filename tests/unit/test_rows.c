/* How columns become JSON, by their names and types. */
#include "../../lib/rows.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
clear(void *what)
{
    struct rows *rows = what;
    PQclear(rows->res);
}

struct cell { const char *name; Oid type; const char *value; };

/* One row of CELLS, as libpq would give it. */
static const struct rows *
row_of(struct arena *a, int id, const struct cell *cell, int n)
{
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc *desc = arena_zalloc(a, (size_t)n, sizeof *desc);
    for (int i = 0; i < n; i++) {
        desc[i].name = arena_strdup(a, cell[i].name);
        desc[i].typid = cell[i].type;
    }
    assert_true(PQsetResultAttrs(res, n, desc));
    for (int i = 0; i < n; i++) {
        char *value = cell[i].value != NULL ? arena_strdup(a, cell[i].value) : NULL;
        assert_true(PQsetvalue(res, 0, i, value, value != NULL ? (int)strlen(value) : -1));
    }
    struct rows *rows = arena_alloc(a, sizeof *rows);
    *rows = (struct rows){ .n = 1, .res = res, .cols = rows_columns(id, res) };
    arena_own(a, rows, clear);
    return rows;
}

static void
a_column_says_by_name_and_type_how_it_is_written(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    const struct cell cells[] = {
        { "id", 2950, "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f" }, { "askingPrice:rupees", 20, "2500050" },
        { "isActive", 16, "t" }, { "isRead", 16, "f" }, { "views", 20, "7" }, { "rate", 1700, "2.5" },
        { "createdAt", 1184, "2026-11-22 10:11:12.5+00" }, { "metadata", 3802, "{\"a\": 1}" },
        { "address.city", 25, "Kochi" }, { "address.pincode", 25, "682001" }, { "note", 25, NULL }, { "_secret", 25, "x" },
        { "imei1:sealed(listings.imei1)", 25, "***********2345" },
    };
    const struct rows *rows = row_of(a, 900, cells, sizeof cells / sizeof cells[0]);
    struct jw *j = jw_new(a);
    rows_json(j, NULL, rows);
    assert_string_equal(jw_text(j, NULL),
        "[{\"id\":\"0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f\",\"askingPrice\":25000.5,\"isActive\":true,\"isRead\":false,\"views\":7,"
        "\"rate\":2.5,\"createdAt\":\"2026-11-22T10:11:12.500Z\",\"metadata\":{\"a\": 1},\"address\":{\"city\":\"Kochi\","
        "\"pincode\":\"682001\"},\"note\":null,\"imei1\":\"***********2345\"}]");
    assert_string_equal(rows_text(rows, 0, "_secret"), "x");
    assert_int_equal(rows_int(rows, 0, "askingPrice"), 2500050);
    assert_true(rows_bool(rows, 0, "isActive"));
    assert_true(rows_null(rows, 0, "note"));
    arena_free(a);
}

static void
two_nested_objects_in_a_row_are_two_objects(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    const struct cell cells[] = { { "a.x", 23, "1" }, { "b.x", 23, "2" } };
    struct jw *j = jw_new(a);
    jw_object(j, NULL);
    assert_true(rows_members(j, row_of(a, 901, cells, 2), 0));
    jw_end(j);
    assert_string_equal(jw_text(j, NULL), "{\"a\":{\"x\":1},\"b\":{\"x\":2}}");
    arena_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_says_by_name_and_type_how_it_is_written),
        cmocka_unit_test(two_nested_objects_in_a_row_are_two_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
