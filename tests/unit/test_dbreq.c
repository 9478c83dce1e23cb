/* A request's statements: the session is judged with the first of them, and our trouble never reaches
 * the handler. */
#include "fakedb.h"

#include "../../lib/replica.h"
static struct db *fake_replica(void);
static bool fake_replica_wanted(void);
static void fake_replica_put(struct db *db);
#define replica_get fake_replica
#define replica_wanted fake_replica_wanted
#define replica_put fake_replica_put
#define replica_failed fake_replica_put
#include "../../lib/dbreq.c"

#include "request.h"

#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail   /* cmocka has one too */

static struct {
    bool wanted, current;
    int taken, put;
} replica;

static struct db *
fake_replica(void)
{
    struct db *db = replica.current ? db_open() : NULL;
    if (db == NULL)
        return NULL;
    db->replica_url = "";
    replica.taken++;
    return db;
}

static bool
fake_replica_wanted(void)
{
    return replica.wanted;
}

static void
fake_replica_put(struct db *db)
{
    replica.put++;
    db_close(db);
}

SQL(one, "SELECT 1");
SQL(two, "SELECT 2");

static struct made *
signed_in(unsigned who)
{
    struct made *m = made_json("");
    fake_reset();
    fake_script("session", 1, "role", "VENDOR");
    fake_script("one", 1, "x", "7");
    m->route.who = who;
    m->inside.has_token = true;
    snprintf(m->inside.claims.user_id, sizeof m->inside.claims.user_id, "user");
    snprintf(m->inside.claims.session_id, sizeof m->inside.claims.session_id, "session");
    m->req.user.id = m->inside.claims.user_id;
    if (pool.size == 0)
        db_pool_init(2);
    return m;
}

static void
done(struct made *m)
{
    req_db_end(&m->req, true);
    made_free(m);
}

static void
the_session_check_travels_before_the_first_statement_and_once(void **state)
{
    (void)state;
    struct made *m = signed_in(SIGNED_IN);
    assert_string_equal(rows_text(db_the_row(&m->req, one), 0, "x"), "7");
    assert_null(db_row(&m->req, two));
    assert_string_equal(fake.said, "session,one|two|");
    assert_int_equal(m->req.user.role, ROLE_VENDOR);
    done(m);
}

static void
who_has_no_token_is_not_checked(void **state)
{
    (void)state;
    struct made *m = signed_in(ANYONE);
    m->inside.has_token = false;
    (void)db_the_row(&m->req, one);
    assert_null(req_user(&m->req)->session_id);
    assert_string_equal(fake.said, "one|");
    done(m);
}

static void
asking_for_the_user_alone_costs_one_check(void **state)
{
    (void)state;
    struct made *m = signed_in(SIGNED_IN);
    assert_int_equal(req_user(&m->req)->role, ROLE_VENDOR);
    (void)req_user(&m->req);
    assert_string_equal(fake.said, "session|");
    done(m);
}

static void
what_is_queued_travels_with_the_next_statement(void **state)
{
    (void)state;
    struct made *m = signed_in(SIGNED_IN);
    int ticket = db_queue(&m->req, one);
    (void)db_rows(&m->req, two);
    assert_string_equal(fake_text(db_queued(&m->req, ticket), 0, "x"), "7");
    db_begin(&m->req);
    (void)db_rows(&m->req, two);
    db_commit(&m->req);
    assert_string_equal(fake.said, "session,one,two|begin,two|commit|");
    done(m);
}

static void
only_the_roles_of_the_route_are_asked_for(void **state)
{
    (void)state;
    struct made *m = signed_in(CLIENT | ADMIN);
    assert_string_equal(roles_param(&m->req), "{CLIENT,ADMIN}");
    m->route.who = SIGNED_IN;
    assert_null(roles_param(&m->req));
    m->route.who = ANYONE;
    assert_null(roles_param(&m->req));
    done(m);
}

static void
ask(struct req *r)
{
    (void)db_the_row(r, one);
}

static void
a_failure_ends_the_request_with_the_right_answer(void **state)
{
    (void)state;
    static const struct { const char *sqlstate; enum error error; } cases[] = {
        { "SK401", ERR_UNAUTHENTICATED }, { "SK403", ERR_ACCOUNT_DISABLED }, { "SK40F", ERR_FORBIDDEN },
        { "08006", ERR_UNAVAILABLE }, { "57P01", ERR_UNAVAILABLE }, { "40P01", ERR_UNAVAILABLE }, { "23505", ERR_INTERNAL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made *m = signed_in(SIGNED_IN);
        fake.failure = cases[i].sqlstate;
        assert_false(made_run(m, ask));
        assert_int_equal(m->inside.answer.error, cases[i].error);
        done(m);
    }
}

static void
must_have_row(struct req *r)
{
    (void)db_the_row(r, two);
}

static void
a_row_that_must_be_there_and_is_not_is_our_trouble(void **state)
{
    (void)state;
    struct made *m = signed_in(SIGNED_IN);
    assert_false(made_run(m, must_have_row));
    assert_int_equal(m->inside.answer.error, ERR_INTERNAL);
    done(m);
}

static void
need_keys(struct req *r)
{
    db_need_keys(r);
}

static void
without_keys_and_without_a_database_a_request_is_given_up(void **state)
{
    (void)state;
    struct made *m = made_json("");
    db_init("host=/nowhere", "test", 2, 1);
    assert_false(made_run(m, need_keys));
    assert_int_equal(m->inside.answer.error, ERR_UNAVAILABLE);
    static const uint8_t key[CRYPTO_KEY_LEN];
    assert_true(crypto_keyring_add(CRYPTO_HASH, 1, key));
    assert_true(made_run(m, need_keys));
    made_free(m);
}

static void
a_connection_comes_back_to_the_pool(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct made *m = signed_in(SIGNED_IN);
        (void)db_the_row(&m->req, one);
        done(m);
    }
    assert_true(pool.n_open <= pool.size);
    assert_int_equal(pool.n_idle, pool.n_open);
    struct db *a = db_pool_get(), *b = db_pool_get();
    assert_ptr_not_equal(a, b);
    db_pool_put(a);
    db_pool_put(b);
}

static void *
get_one(void *got)
{
    *(struct db **)got = db_pool_get();
    return NULL;
}

static void
who_finds_all_connections_taken_waits_for_one(void **state)
{
    (void)state;
    struct db *a = db_pool_get(), *b = db_pool_get(), *got = NULL;
    pthread_t waiter;
    pthread_create(&waiter, NULL, get_one, &got);
    usleep(50000);   /* time to come, and to take what it must not */
    db_pool_put(a);
    pthread_join(waiter, NULL);
    assert_ptr_equal(got, a);
    assert_int_equal(pool.n_open, pool.size);
    db_pool_put(b);
    db_pool_put(got);
}

static void
the_role_is_the_one_that_the_database_says(void **state)
{
    (void)state;
    static const struct { const char *name; enum role role; } roles[] = {
        { "CLIENT", ROLE_CLIENT }, { "VENDOR", ROLE_VENDOR }, { "AGENT", ROLE_AGENT }, { "ADMIN", ROLE_ADMIN },
    };
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        struct made *m = signed_in(SIGNED_IN);
        fake_reset();
        fake_script("session", 1, "role", roles[i].name);
        assert_int_equal(req_user(&m->req)->role, roles[i].role);
        done(m);
    }
}

/* A public page's two statements, asked by nobody or by somebody; the first may fail where it is asked first. */
static const struct { bool current, token, fails; unsigned flags; int taken; bool stays, dated; const char *said; } pages[] = {
    { .current = true, .flags = CACHEABLE, .taken = 2, .stays = true, .dated = true, .said = "one|one|" },
    { .current = true, .flags = CACHEABLE, .fails = true, .taken = 2, .dated = true, .said = "one|one|one|" },
    { .current = false, .flags = CACHEABLE, .dated = true, .said = "one|one|" },
    { .current = true, .flags = CACHEABLE, .token = true, .said = "session,one|one|" },
    { .current = true, .flags = 0, .said = "one|one|" },
};

static void
a_public_page_comes_from_the_replica_or_else_from_the_primary(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        struct made *m = signed_in(ANYONE);
        m->route.flags = pages[i].flags;
        m->inside.has_token = pages[i].token;
        memset(&replica, 0, sizeof replica);
        replica.wanted = true;
        replica.current = pages[i].current;
        fake.failure = pages[i].fails ? "57P01" : NULL;
        assert_string_equal(rows_text(db_the_row(&m->req, one), 0, "x"), "7");
        assert_int_equal(m->inside.db->replica_url != NULL, pages[i].stays);
        db_let_go(&m->req);
        assert_string_equal(rows_text(db_the_row(&m->req, one), 0, "x"), "7");
        assert_string_equal(fake.said, pages[i].said);
        assert_int_equal(m->inside.public_since != 0, pages[i].dated);
        done(m);
        assert_int_equal(replica.taken, pages[i].taken);
        assert_int_equal(replica.put, pages[i].taken);
        assert_int_equal(pool.n_idle, pool.n_open);
    }
    replica.wanted = false;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_keys_and_without_a_database_a_request_is_given_up),   /* first: it makes the pool */
        cmocka_unit_test(the_session_check_travels_before_the_first_statement_and_once),
        cmocka_unit_test(who_has_no_token_is_not_checked),
        cmocka_unit_test(asking_for_the_user_alone_costs_one_check),
        cmocka_unit_test(what_is_queued_travels_with_the_next_statement),
        cmocka_unit_test(only_the_roles_of_the_route_are_asked_for),
        cmocka_unit_test(a_failure_ends_the_request_with_the_right_answer),
        cmocka_unit_test(a_row_that_must_be_there_and_is_not_is_our_trouble),
        cmocka_unit_test(a_connection_comes_back_to_the_pool),
        cmocka_unit_test(who_finds_all_connections_taken_waits_for_one),
        cmocka_unit_test(the_role_is_the_one_that_the_database_says),
        cmocka_unit_test(a_public_page_comes_from_the_replica_or_else_from_the_primary),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    while (pool.n_idle > 0)
        db_close(pool.idle[--pool.n_idle]);
    free(pool.idle);
    return failed;
}
