/* The first answer again, or an honest refusal; never somebody else's. */
#include "fakedb.h"

static const struct rows *fake_row(struct req *r, struct sql *sql, const char *const *param, int n, bool must);
static const struct rows *fake_exec(struct req *r, struct sql *sql, const char *const *param, int n);
static void fake_begin(struct req *r);
static void fake_commit(struct req *r);
#define db_row_ fake_row
#define db_rows_ fake_exec
#define db_begin fake_begin
#define db_commit fake_commit

static bool
fake_bool(const struct rows *rows, int i, const char *name)
{
    const char *text = fake_text(rows, i, name);
    return text != NULL && text[0] == 't';
}

static int64_t
fake_int(const struct rows *rows, int i, const char *name)
{
    const char *text = fake_text(rows, i, name);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}
#define rows_bool fake_bool
#define rows_int fake_int

#include "../../lib/idempotency.c"

#include "request.h"
#include "crypto.h"

#include <stdarg.h>
#include <cmocka.h>
#undef fail   /* cmocka has one too */

#define USER "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f"

static char kept[4000];   /* the sealed answer of the last keep */

static const struct rows *
fake_row(struct req *r, struct sql *sql, const char *const *param, int n, bool must)
{
    (void)param, (void)n, (void)must;
    strncat(fake.said, sql->name, 20);
    strncat(fake.said, "|", 2);
    const struct rows *rows = fake_rows(r->arena, sql->name);
    return rows->n == 1 ? rows : NULL;
}

static const struct rows *
fake_exec(struct req *r, struct sql *sql, const char *const *param, int n)
{
    assert_int_equal(n, 6);
    snprintf(kept, sizeof kept, "%s%s", USER, param[5]);
    return fake_row(r, sql, param, n, false);
}

static void
fake_begin(struct req *r)
{
    (void)r;
    strncat(fake.said, "begin|", 8);
}

static void
fake_commit(struct req *r)
{
    (void)r;
    strncat(fake.said, "commit|", 8);
}

static struct made *
keyed(void)
{
    struct made *m = made_json("");
    fake_reset();
    m->req.user.id = USER;
    m->req.idempotency_key = "key-1";
    (void)crypto_keyring_add(CRYPTO_SEAL, 1, (const uint8_t *)"0123456789abcdef0123456789abcdef");
    return m;
}

static void
remember(const char *other, const char *status, const char *sealed)
{
    fake.script[0].statement = "claim";
    fake.script[0].rows = 1;
    fake.script[0].column[0] = "other";
    fake.script[0].column[1] = "status";
    fake.script[0].column[2] = "answer";
    fake.script[0].value[0] = other;
    fake.script[0].value[1] = status;
    fake.script[0].value[2] = sealed;
    fake.n_script = 1;
}

static void
a_refusal_is_kept_sealed_and_comes_again_to_the_letter(void **state)
{
    (void)state;
    struct made *m = keyed();
    wrong(&m->req, "amount", "is required");
    reply first = idempotency_refusal(&m->req, "POST /bids", "\\x01", refuse_input(&m->req));
    assert_int_equal(reply_status(first), 400);
    assert_string_equal(fake.said, "begin|claim|keep|commit|");
    assert_null(strstr(kept, "amount"));
    char body[1000];
    snprintf(body, sizeof body, "%s", first.made->body);
    made_free(m);

    m = keyed();
    m->req.id = "ffffffffffffffffffffffffffffffff";
    remember("f", "400", kept);
    reply again = idempotency_refusal(&m->req, "POST /bids", "\\x01", fail(&m->req, ERR_VALIDATION_FAILED));
    assert_int_equal(reply_status(again), 400);
    assert_string_equal(again.made->body, body);
    assert_string_equal(fake.said, "begin|claim|commit|");
    made_free(m);
}

static void
the_same_key_for_another_body_is_refused(void **state)
{
    (void)state;
    struct made *m = keyed();
    remember("t", "201", kept);
    reply answered = { NULL };
    assert_false(idempotency_claim(&m->req, "POST /listings", "\\x02", &answered));
    assert_int_equal(m->inside.answer.error, ERR_IDEMPOTENCY_KEY_REUSED);
    made_free(m);
}

static void
a_new_key_is_claimed(void **state)
{
    (void)state;
    struct made *m = keyed();
    reply answered = { NULL };
    assert_true(idempotency_claim(&m->req, "POST /listings", "\\x02", &answered));
    made_free(m);
}

static void
without_a_key_or_for_our_own_trouble_nothing_is_kept(void **state)
{
    (void)state;
    struct made *m = keyed();
    m->req.idempotency_key = NULL;
    (void)idempotency_refusal(&m->req, "POST /bids", "\\x01", fail(&m->req, ERR_VALIDATION_FAILED));
    m->req.idempotency_key = "key-1";
    (void)idempotency_refusal(&m->req, "POST /bids", "\\x01", fail(&m->req, ERR_UNAVAILABLE));
    assert_string_equal(fake.said, "");
    made_free(m);
}

static void
refuse_once(struct req *r)
{
    (void)idempotency_refusal(r, "POST /bids", "\\x01", fail(r, ERR_VALIDATION_FAILED));
}

static void
without_a_key_to_seal_nothing_is_answered_that_could_not_be_repeated(void **state)
{
    (void)state;
    struct made *m = made_json("");
    fake_reset();
    m->req.user.id = USER;
    m->req.idempotency_key = "key-1";
    assert_false(made_run(m, refuse_once));
    assert_int_equal(m->inside.answer.error, ERR_UNAVAILABLE);
    assert_null(strstr(fake.said, "keep"));
    made_free(m);
}

static void
an_answer_that_does_not_open_is_our_trouble(void **state)
{
    (void)state;
    struct made *m = keyed();
    remember("f", "400", USER "\\x0000000100");
    assert_false(made_run(m, refuse_once));
    assert_int_equal(m->inside.answer.error, ERR_INTERNAL);
    made_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_key_to_seal_nothing_is_answered_that_could_not_be_repeated),   /* first: no key yet */
        cmocka_unit_test(a_refusal_is_kept_sealed_and_comes_again_to_the_letter),
        cmocka_unit_test(the_same_key_for_another_body_is_refused),
        cmocka_unit_test(a_new_key_is_claimed),
        cmocka_unit_test(an_answer_that_does_not_open_is_our_trouble),
        cmocka_unit_test(without_a_key_or_for_our_own_trouble_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
