/* whatsapp: what is posted is what Meta documents, and every answer leads to what its code asks for. */
#include "../../lib/whatsapp.c"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "with_arena.h"

#define body_of(phone, name, button, ...)                                                            \
    whatsapp_body(arena, phone, name, (const char *const[]){ __VA_ARGS__ },                          \
                  sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), button, &(size_t){ 0 })

static void
bodies_are_exact(void **state)
{
    (void)state;
    assert_string_equal(
        body_of("+919876543210", "otp_verification", true, "012345"),
        "{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":\"919876543210\","
        "\"type\":\"template\",\"template\":{\"name\":\"otp_verification\",\"language\":{\"code\":\"en\"},"
        "\"components\":[{\"type\":\"body\",\"parameters\":[{\"type\":\"text\",\"text\":\"012345\"}]},"
        "{\"type\":\"button\",\"sub_type\":\"url\",\"index\":\"0\",\"parameters\":[{\"type\":\"text\",\"text\":\"012345\"}]}]}}");
    assert_string_equal(
        body_of("+919876543210", "otp_verification", false, "012345"),
        "{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":\"919876543210\","
        "\"type\":\"template\",\"template\":{\"name\":\"otp_verification\",\"language\":{\"code\":\"en\"},"
        "\"components\":[{\"type\":\"body\",\"parameters\":[{\"type\":\"text\",\"text\":\"012345\"}]}]}}");
    assert_string_equal(
        body_of("+919876543210", "bid_placed", true, "Apple iPhone \"13\"", "₹1,24,950"),
        "{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":\"919876543210\","
        "\"type\":\"template\",\"template\":{\"name\":\"bid_placed\",\"language\":{\"code\":\"en\"},"
        "\"components\":[{\"type\":\"body\",\"parameters\":[{\"type\":\"text\",\"text\":\"Apple iPhone \\\"13\\\"\"},"
        "{\"type\":\"text\",\"text\":\"₹1,24,950\"}]}]}}");
}

static void
what_is_no_phone_is_not_sent(void **state)
{
    (void)state;
    assert_null(body_of("919876543210", "bid_placed", true, "a", "b"));
    assert_null(body_of("", "bid_placed", true, "a", "b"));
    assert_null(body_of("+91987654321x", "bid_placed", true, "a", "b"));
    assert_null(body_of("+91987654321098765", "bid_placed", true, "a", "b"));
    assert_null(body_of("+919876543210", "x", true, "1", "2", "3", "4", "5", "6", "7", "8", "9"));
}

static void
texts_become_what_meta_takes(void **state)
{
    char longest[2000];

    (void)state;
    assert_non_null(strstr(body_of("+919876543210", "x", true, " a\n\tb     c ", "", "\x7f"),
                           "\"text\":\"a b c\"},{\"type\":\"text\",\"text\":\"-\"},{\"type\":\"text\",\"text\":\"-\"}"));
    /* Cut at a thousand and some bytes, and never within a character of three. */
    for (int shift = 0; shift < 3; shift++) {
        size_t len = 0;

        for (int i = 0; i < shift; i++)
            longest[len++] = 'x';
        while (len + 3 < sizeof longest) {
            memcpy(longest + len, "₹", 3);
            len += 3;
        }
        longest[len] = '\0';
        len = strlen(one_line(arena, longest));
        assert_true(len <= 1024 && len > 1021);
        assert_int_equal(len % 3, shift);
    }
}

static void
parameters_are_texts(void **state)
{
    const char *p[WHATSAPP_PARAMS_MAX];

    (void)state;
    assert_int_equal(whatsapp_params(arena, "[\"a\", \"\\u20b9 b\"]", p), 2);
    assert_string_equal(p[0], "a");
    assert_string_equal(p[1], "₹ b");
    assert_int_equal(whatsapp_params(arena, "[]", p), 0);
    assert_int_equal(whatsapp_params(arena, "[1]", p), -1);
    assert_int_equal(whatsapp_params(arena, "{}", p), -1);
    assert_int_equal(whatsapp_params(arena, "", p), -1);
    assert_int_equal(whatsapp_params(arena, "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]", p), -1);
}

static struct whatsapp_answer
answer(int http, const char *body)
{
    struct whatsapp_answer a;

    whatsapp_answer(&a, http, body, strlen(body));
    return a;
}

static void
an_accepted_message_says_its_id(void **state)
{
    struct whatsapp_answer a =
        answer(200, "{\"messaging_product\":\"whatsapp\",\"contacts\":[{\"input\":\"919876543210\",\"wa_id\":\"919876543210\"}],"
                    "\"messages\":[{\"id\":\"wamid.HBgM\",\"message_status\":\"accepted\"}]}");

    (void)state;
    assert_int_equal(a.outcome, WHATSAPP_SENT);
    assert_string_equal(a.message_id, "wamid.HBgM");
    assert_string_equal(a.error, "");
    /* A 2xx is an acceptance, whatever else it says. */
    assert_int_equal(answer(200, "{}").outcome, WHATSAPP_SENT);
    assert_int_equal(answer(200, "").outcome, WHATSAPP_SENT);
    assert_int_equal(answer(202, "{\"messages\":[{\"id\":7}]}").outcome, WHATSAPP_SENT);
    assert_string_equal(answer(200, "{\"messages\":[{\"id\":\"a b\"}]}").message_id, "");
}

static void
errors_are_judged_by_their_code(void **state)
{
    static const struct {
        int code;
        enum whatsapp_outcome outcome;
    } table[] = {
        { 0, WHATSAPP_STOP },        { 190, WHATSAPP_STOP },      { 3, WHATSAPP_STOP },       { 10, WHATSAPP_STOP },
        { 200, WHATSAPP_STOP },      { 299, WHATSAPP_STOP },      { 131031, WHATSAPP_STOP },  { 131042, WHATSAPP_STOP },
        { 131048, WHATSAPP_STOP },   { 368, WHATSAPP_STOP },      { 4, WHATSAPP_THROTTLED },  { 80007, WHATSAPP_THROTTLED },
        { 130429, WHATSAPP_THROTTLED }, { 131056, WHATSAPP_PACED }, { 1, WHATSAPP_RETRY },    { 2, WHATSAPP_RETRY },
        { 131000, WHATSAPP_RETRY },  { 131016, WHATSAPP_RETRY },  { 131057, WHATSAPP_RETRY }, { 131026, WHATSAPP_FAILED },
        { 131047, WHATSAPP_FAILED }, { 131049, WHATSAPP_FAILED }, { 130472, WHATSAPP_FAILED }, { 131051, WHATSAPP_FAILED },
        { 132000, WHATSAPP_FAILED }, { 132001, WHATSAPP_FAILED }, { 132012, WHATSAPP_FAILED }, { 132015, WHATSAPP_FAILED },
        { 132016, WHATSAPP_FAILED }, { 100, WHATSAPP_FAILED },    { 131009, WHATSAPP_FAILED }, { 999999, WHATSAPP_FAILED },
    };
    char body[200];

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct whatsapp_answer a;

        snprintf(body, sizeof body,
                 "{\"error\":{\"message\":\"(#%d) Some words\",\"type\":\"OAuthException\",\"code\":%d,"
                 "\"error_data\":{\"messaging_product\":\"whatsapp\",\"details\":\"More words\"},\"fbtrace_id\":\"A\"}}",
                 table[i].code, table[i].code);
        a = answer(400, body);
        if (a.outcome != table[i].outcome)
            fail_msg("code %d: %s", table[i].code, whatsapp_outcome_name(a.outcome));
        assert_int_equal(a.code, table[i].code);
        assert_non_null(strstr(a.error, ": More words"));
    }
    assert_int_equal(answer(500, "{\"error\":{\"code\":999999}}").outcome, WHATSAPP_RETRY);
    assert_int_equal(answer(400, "{\"error\":{\"code\":999999,\"is_transient\":true}}").outcome, WHATSAPP_RETRY);
    assert_int_equal(answer(400, "{\"error\":{\"code\":100,\"error_subcode\":33}}").outcome, WHATSAPP_STOP);
    assert_int_equal(answer(200, "{\"error\":{\"code\":131000}}").outcome, WHATSAPP_RETRY);
}

static void
what_is_not_the_apis_answer_is_judged_by_status(void **state)
{
    (void)state;
    assert_int_equal(answer(500, "<html>").outcome, WHATSAPP_RETRY);
    assert_int_equal(answer(502, "").outcome, WHATSAPP_RETRY);
    assert_int_equal(answer(429, "").outcome, WHATSAPP_THROTTLED);
    assert_int_equal(answer(401, "no").outcome, WHATSAPP_STOP);
    assert_int_equal(answer(403, "{\"error\":\"no\"}").outcome, WHATSAPP_STOP);
    assert_int_equal(answer(404, "{\"error\":{}}").outcome, WHATSAPP_RETRY);
    assert_int_equal(answer(301, "").outcome, WHATSAPP_RETRY);
}

static void
what_is_kept_of_an_error_shows_nobody(void **state)
{
    struct whatsapp_answer a =
        answer(400, "{\"error\":{\"code\":131026,\"message\":\"919876543210 is\\nnot on WhatsApp, +1 555 0100\"}}");
    char body[2048];
    size_t len = 0;

    (void)state;
    assert_string_equal(a.error, "the message cannot be delivered to this number: *** is not on WhatsApp, +1 555 0100");
    len = (size_t)snprintf(body, sizeof body, "{\"error\":{\"code\":1,\"message\":\"");
    while (len < 1500) {
        memcpy(body + len, "₹", 3);
        len += 3;
    }
    memcpy(body + len, "\"}}", 4);
    a = answer(500, body);
    assert_int_equal((strlen(a.error) - strlen("a temporary error of the API: ")) % 3, 0);
    assert_true(strlen(a.error) > 250);
}

static void
delays_grow_and_end_growing(void **state)
{
    (void)state;
    assert_true(fabs(whatsapp_delay(WHATSAPP_RETRY, 1, 0, 0) - 1) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_RETRY, 4, 0, 0) - 8) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_RETRY, 4, 0, 1) - 12) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_RETRY, 1000000, 0, 0) - 300) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_PACED, 1, 0, 0) - 4) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_PACED, 3, 0, 0) - 64) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_THROTTLED, 9, 0, 0) - 60) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_THROTTLED, 1, 30, 0) - 30) < 1e-9);
    assert_true(fabs(whatsapp_delay(WHATSAPP_THROTTLED, 1, 1e9, 0) - 3600) < 1e-9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_exact),
        cmocka_unit_test(what_is_no_phone_is_not_sent),
        cmocka_unit_test(texts_become_what_meta_takes),
        cmocka_unit_test(parameters_are_texts),
        cmocka_unit_test(an_accepted_message_says_its_id),
        cmocka_unit_test(errors_are_judged_by_their_code),
        cmocka_unit_test(what_is_not_the_apis_answer_is_judged_by_status),
        cmocka_unit_test(what_is_kept_of_an_error_shows_nobody),
        cmocka_unit_test(delays_grow_and_end_growing),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
