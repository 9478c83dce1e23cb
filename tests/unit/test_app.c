/* A path leads to its route, or to an honest refusal. */
#include "../../lib/app.c"

#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct route routes[] = {
    { "GET", "/listings", NULL, ANYONE, 0, NULL },
    { "POST", "/listings", NULL, CLIENT, 0, NULL },
    { "GET", "/listings/{uuid}", NULL, ANYONE, 0, NULL },
    { "PUT", "/listings/{uuid}/approve", NULL, ADMIN, 0, NULL },
    { "GET", "/words/{name}", NULL, ANYONE, 0, NULL },
};

#define UUID "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f"
#define UPPER "0B8A1D7E-7A39-4F7C-9C3F-0A1B2C3D4E5F"

/* The route that METHOD PATH finds, as its place in the table; -1 and the answer's status when none. */
static int
found(const char *method, const char *path, int *status, char arg[101])
{
    struct made *m = made_json("");
    reply refusal = { NULL };
    app.routes = routes;
    app.n_routes = sizeof routes / sizeof routes[0];
    m->req.method = method;
    m->req.path = path;
    const struct route *route = find_route(&m->req, &refusal);
    *status = route == NULL ? reply_status(refusal) : 0;
    snprintf(arg, 101, "%s", m->req.arg[0] != NULL ? m->req.arg[0] : "");
    if (*status == 405)
        snprintf(arg, 101, "%s", m->inside.header[0].value);
    made_free(m);
    return route == NULL ? -1 : (int)(route - routes);
}

static void
a_path_finds_its_route_and_its_arguments(void **state)
{
    (void)state;
    int status;
    char arg[101];
    assert_int_equal(found("GET", "/listings", &status, arg), 0);
    assert_int_equal(found("POST", "/listings", &status, arg), 1);
    assert_int_equal(found("GET", "/listings/" UPPER, &status, arg), 2);
    assert_string_equal(arg, UUID);
    assert_int_equal(found("PUT", "/listings/" UUID "/approve", &status, arg), 3);
    assert_int_equal(found("GET", "/words/x-1", &status, arg), 4);
    assert_string_equal(arg, "x-1");
}

static void
what_no_route_has_is_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = { "/", "", "/listing", "/listings/", "/listings/x", "/listings/" UUID "/", "/listings/" UUID "x",
                                         "/listings/" UUID "/approve/x", "/words/", "/words/a/b", "//listings" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int status;
        char arg[101];
        assert_int_equal(found("GET", paths[i], &status, arg), -1);
        assert_int_equal(status, 404);
    }
}

static void
another_method_hears_which_are_allowed(void **state)
{
    (void)state;
    int status;
    char arg[101];
    assert_int_equal(found("DELETE", "/listings", &status, arg), -1);
    assert_int_equal(status, 405);
    assert_string_equal(arg, "GET, POST, HEAD, OPTIONS");
    assert_int_equal(found("GET", "/listings/" UUID "/approve", &status, arg), -1);
    assert_string_equal(arg, "PUT, OPTIONS");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_finds_its_route_and_its_arguments),
        cmocka_unit_test(what_no_route_has_is_not_found),
        cmocka_unit_test(another_method_hears_which_are_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
