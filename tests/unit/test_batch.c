/* What becomes of bids whose batch failed: each hears what is true of his own, and nothing is tried twice that
 * may have been done. */
#include "fakedb.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail   /* cmocka has one too */

/* What the database says to each call, by how many bids there are in it: SQLSTATE, or NULL for a row each. */
static struct {
    const char *many, *one;
    const char *codes;      /* of the rows, one after another: a bid's code */
    bool no_memory, short_of_a_row;
    int calls, bids;
} said;

/* While it is CLOSED each call waits in the database, until it is let go. */
static struct {
    bool closed;
    sem_t came, go;
    pthread_mutex_t one;
} gate = { .one = PTHREAD_MUTEX_INITIALIZER };

static const struct rows *fake_query(struct db *db, struct arena *a, struct sql *sql, const char *const *param, int n);
static struct db *fake_get(void);
static void fake_put(struct db *db);
static void fake_wake(struct db *db, const char *channel);
static const char *fake_state(const struct db *db);
#define db_query fake_query
#define db_pool_get fake_get
#define db_pool_put fake_put
#define db_wake fake_wake
#define db_sqlstate fake_state
#include "../../cgi-bin/batch.c"

#include "arena.h"
#include "request.h"

static struct db the_db;
static volatile size_t too_many = SIZE_MAX;   /* which the compiler must not see */

static struct db *
fake_get(void)
{
    return &the_db;
}

static void
fake_put(struct db *db)
{
    (void)db;
}

static void
fake_wake(struct db *db, const char *channel)
{
    (void)db;
    (void)channel;
}

static const char *
fake_state(const struct db *db)
{
    return db->sqlstate;
}

static const struct rows *
say(struct db *db, struct arena *a, const char *const *param)
{
    int bids = 1;
    for (const char *s = param[M_LISTING]; *s != '\0'; s++)
        bids += *s == ',';
    said.calls++;
    said.bids += bids;
    if (said.no_memory && bids > 1) {
        pthread_mutex_unlock(&gate.one);   /* it does not come back */
        (void)arena_zalloc(a, too_many, 2);
    }
    const char *state = bids > 1 ? said.many : said.one;
    snprintf(db->sqlstate, sizeof db->sqlstate, "%s", state != NULL ? state : "00000");
    if (state != NULL)
        return NULL;
    fake_reset();
    char code[30];
    snprintf(code, sizeof code, "%.*s", (int)strcspn(said.codes, " "), said.codes);
    said.codes += strlen(code) + (said.codes[strlen(code)] == ' ');
    fake_script("place", 1, "_code", arena_strdup(a, code));
    struct rows *rows = arena_zalloc(a, 1, sizeof *rows);
    *rows = *fake_rows(a, "place");
    for (int i = 1; i < bids; i++)
        (void)PQsetvalue(rows->res, i, 0, code, (int)strlen(code));
    rows->n = said.short_of_a_row ? bids - 1 : bids;
    return rows;
}

static const struct rows *
fake_query(struct db *db, struct arena *a, struct sql *sql, const char *const *param, int n)
{
    (void)sql, (void)n;
    if (gate.closed) {
        sem_post(&gate.came);
        sem_wait(&gate.go);
    }
    pthread_mutex_lock(&gate.one);
    const struct rows *rows = say(db, a, param);
    pthread_mutex_unlock(&gate.one);
    return rows;
}

static struct made *
bidder(struct waiting *w, struct batch_bid *b)
{
    struct made *m = made_json("");
    m->req.user.id = m->req.user.session_id = "1b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f";
    *b = (struct batch_bid){ .listing = "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f", .paise = 100000 };
    *w = (struct waiting){ .r = &m->req, .b = b };
    return m;
}

static struct made *made[3];
static struct batch_bid bid[3];
static struct waiting who[3], *all[3];

static int
three(void **state)
{
    (void)state;
    memset(&said, 0, sizeof said);
    said.codes = "accepted";
    for (int i = 0; i < 3; i++) {
        made[i] = bidder(&who[i], &bid[i]);
        all[i] = &who[i];
    }
    queue.last = &queue.first;
    queue.max = 1;
    return 0;
}

static int
none(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        if (who[i].outcome != NULL)
            outcome_drop(who[i].outcome);
        made_free(made[i]);
    }
    return 0;
}

static void
one_outcome_is_shared_by_all_of_a_batch(void **state)
{
    (void)state;
    place_all(&the_db, all, 3);
    assert_int_equal(said.calls, 1);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(who[i].outcome, who[0].outcome);
        assert_int_equal(bid[i].row, i);
    }
    assert_int_equal(who[0].outcome->users, 3);
}

static void
a_batch_that_the_server_refused_is_tried_bid_by_bid(void **state)
{
    (void)state;
    said.many = "23514";
    place_all(&the_db, all, 3);
    assert_int_equal(said.calls, 4);
    assert_int_equal(said.bids, 6);
    for (int i = 0; i < 3; i++)
        assert_int_equal(who[i].outcome->users, 1);
}

static void
a_batch_that_has_no_memory_is_tried_bid_by_bid(void **state)
{
    (void)state;
    said.no_memory = true;
    place_all(&the_db, all, 3);
    assert_int_equal(said.calls, 4);
    for (int i = 0; i < 3; i++)
        assert_non_null(who[i].outcome);
}

static void
after_a_lost_connection_or_a_timeout_nothing_is_tried_again(void **state)
{
    (void)state;
    static const char *const states[] = { "08006", "08001", "57014" };
    for (size_t k = 0; k < 3; k++) {
        said.calls = 0;
        said.many = states[k];
        place_all(&the_db, all, 3);
        assert_int_equal(said.calls, 1);
        for (int i = 0; i < 3; i++) {
            assert_null(who[i].outcome);
            assert_string_equal(who[i].sqlstate, states[k]);
        }
    }
}

static void
after_another_number_of_answers_than_bids_nothing_is_tried_again(void **state)
{
    (void)state;
    said.short_of_a_row = true;
    place_all(&the_db, all, 3);
    assert_int_equal(said.calls, 1);   /* it was committed: bids tried again would be bids of their own */
    for (int i = 0; i < 3; i++)
        assert_null(who[i].outcome);
}

static void
place_first(struct req *r)
{
    batch_place(r, &bid[0]);
}

static void
a_bid_that_failed_ends_its_request(void **state)
{
    (void)state;
    static const struct { const char *sqlstate; enum error error; } cases[] = {
        { "08006", ERR_UNAVAILABLE }, { "53300", ERR_UNAVAILABLE }, { "23514", ERR_INTERNAL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        said.one = cases[i].sqlstate;
        assert_false(made_run(made[0], place_first));
        assert_int_equal(made[0]->inside.answer.error, cases[i].error);
        assert_int_equal(queue.under_way, 0);
    }
}

static void
a_bid_that_waits_for_its_twin_is_asked_again(void **state)
{
    (void)state;
    said.codes = "again accepted";
    assert_true(made_run(made[0], place_first));
    assert_int_equal(said.calls, 2);
    assert_string_equal(fake_text(bid[0].rows, 0, "_code"), "accepted");
    assert_true(made[0]->inside.checked);
}

/* ---- side by side ---- */

enum { CROWD = 5 };
static struct batch_bid crowd_bid[CROWD];
static bool placed[CROWD];
static pthread_t thread[CROWD];

static void
place_it(struct req *r)
{
    batch_place(r, &crowd_bid[r->ip[0] - '0']);
}

static void *
one_of_the_crowd(void *number)
{
    int i = *(const char *)number - '0';
    struct waiting unused;
    struct made *m = bidder(&unused, &crowd_bid[i]);
    m->req.ip = number;
    placed[i] = made_run(m, place_it) && crowd_bid[i].rows->n > crowd_bid[i].row;
    made_free(m);
    return NULL;
}

/* Bid I comes, and waits: as the N-th that does. */
static void
come(int i, int n)
{
    static char number[CROWD][2] = { "0", "1", "2", "3", "4" };
    pthread_create(&thread[i], NULL, one_of_the_crowd, number[i]);
    for (bool there = n == 0; !there;) {
        usleep(1000);
        pthread_mutex_lock(&queue.lock);
        there = queue.n_waiting == n;
        pthread_mutex_unlock(&queue.lock);
    }
}

static void
bids_that_came_while_one_was_under_way_go_together_and_who_comes_then_soon_goes_alone(void **state)
{
    (void)state;
    sem_init(&gate.came, 0, 0);
    sem_init(&gate.go, 0, 0);
    gate.closed = true;
    memset(placed, 0, sizeof placed);

    come(0, 0);
    sem_wait(&gate.came);
    for (int i = 1; i < 4; i++)
        come(i, i);
    assert_int_equal(said.calls, 0);
    sem_post(&gate.go);
    sem_wait(&gate.came);              /* three in one */
    pthread_mutex_lock(&queue.lock);
    assert_int_equal(queue.travelling, 3);
    assert_int_equal(queue.n_waiting, 0);
    queue.max = 2;                     /* there is room for a second batch, but one bid is not worth it at once */
    pthread_mutex_unlock(&queue.lock);
    come(4, 0);
    sem_wait(&gate.came);              /* it went before they were back */
    sem_post(&gate.go);
    sem_post(&gate.go);
    for (int i = 0; i < CROWD; i++) {
        pthread_join(thread[i], NULL);
        assert_true(placed[i]);
    }
    assert_int_equal(said.calls, 3);
    assert_int_equal(said.bids, CROWD);
    assert_int_equal(queue.under_way, 0);
    assert_int_equal(queue.travelling, 0);
    gate.closed = false;
    sem_destroy(&gate.came);
    sem_destroy(&gate.go);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_outcome_is_shared_by_all_of_a_batch, three, none),
        cmocka_unit_test_setup_teardown(a_batch_that_the_server_refused_is_tried_bid_by_bid, three, none),
        cmocka_unit_test_setup_teardown(a_batch_that_has_no_memory_is_tried_bid_by_bid, three, none),
        cmocka_unit_test_setup_teardown(after_a_lost_connection_or_a_timeout_nothing_is_tried_again, three, none),
        cmocka_unit_test_setup_teardown(after_another_number_of_answers_than_bids_nothing_is_tried_again, three, none),
        cmocka_unit_test_setup_teardown(a_bid_that_failed_ends_its_request, three, none),
        cmocka_unit_test_setup_teardown(a_bid_that_waits_for_its_twin_is_asked_again, three, none),
        cmocka_unit_test_setup_teardown(bids_that_came_while_one_was_under_way_go_together_and_who_comes_then_soon_goes_alone, three, none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
