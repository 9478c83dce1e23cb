/* hook: only what Meta signed is believed, and one bad entry costs the others nothing. */
#include "../../lib/hook.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "with_arena.h"

static void
a_signature_is_over_the_raw_bytes(void **state)
{
    /* RFC 4231, test case 2. */
    static const char right[] = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    const char *body = "what do ya want for nothing?";
    char wrong[sizeof right];

    (void)state;
    assert_true(hook_signed("Jefe", right, body, strlen(body)));
    assert_true(hook_signed("Jefe", "sha256=5BDCC146BF60754E6A042426089575C75A003F089D2739839DEC58B964EC3843", body, strlen(body)));
    assert_false(hook_signed("jefe", right, body, strlen(body)));
    assert_false(hook_signed("Jefe", right, body, strlen(body) - 1));
    assert_false(hook_signed("Jefe", right + 7, body, strlen(body)));
    assert_false(hook_signed("Jefe", NULL, body, strlen(body)));
    assert_false(hook_signed("Jefe", "", body, strlen(body)));
    assert_false(hook_signed("Jefe", "sha256=", body, strlen(body)));
    for (size_t i = 0; i + 1 < sizeof right; i++) {
        memcpy(wrong, right, sizeof right);
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        assert_false(hook_signed("Jefe", wrong, body, strlen(body)));
        wrong[i] = '\0';
        assert_false(hook_signed("Jefe", wrong, body, strlen(body)));
    }
}

static void
a_handshake_needs_the_word(void **state)
{
    (void)state;
    assert_true(hook_is_handshake("word", "subscribe", "word"));
    assert_false(hook_is_handshake("word", "subscribe", "words"));
    assert_false(hook_is_handshake("word", "unsubscribe", "word"));
    assert_false(hook_is_handshake("word", NULL, "word"));
    assert_false(hook_is_handshake("word", "subscribe", NULL));
    assert_false(hook_is_handshake("", "subscribe", ""));
    assert_false(hook_is_handshake(NULL, "subscribe", ""));
}

/* id=status/phone/code … of what is found, or NULL. */
static const char *
found(const char *body)
{
    const struct hook_status *status;
    const char *text = "";
    size_t n;

    if (!hook_statuses(arena, body, strlen(body), &status, &n))
        return NULL;
    for (size_t i = 0; i < n; i++)
        text = arena_printf(arena, "%s%s=%s/%s/%d ", text, status[i].id, status[i].status,
                            status[i].phone == NULL ? "-" : status[i].phone, status[i].code);
    return text;
}

#define CHANGE(statuses) "{\"value\":{\"messaging_product\":\"whatsapp\",\"statuses\":" statuses "},\"field\":\"messages\"}"
#define ENTRY(changes) "{\"id\":\"1\",\"changes\":[" changes "]}"
#define HOOK(entries) "{\"object\":\"whatsapp_business_account\",\"entry\":[" entries "]}"

static void
all_statuses_of_all_entries_are_found(void **state)
{
    (void)state;
    assert_string_equal(found(HOOK(ENTRY(CHANGE("[{\"id\":\"wamid.A\",\"status\":\"sent\",\"timestamp\":\"1\",\"recipient_id\":\"919876543210\"},"
                                                "{\"id\":\"wamid.A\",\"status\":\"delivered\"}]")
                                         "," CHANGE("[{\"id\":\"wamid.B\",\"status\":\"read\"}]")) ","
                                   ENTRY(CHANGE("[{\"id\":\"wamid.C\",\"status\":\"failed\",\"errors\":[{\"code\":131026}]}]")))),
                        "wamid.A=sent/+919876543210/0 wamid.A=delivered/-/0 wamid.B=read/-/0 wamid.C=failed/-/131026 ");
}

static void
what_is_not_as_documented_is_passed_over(void **state)
{
    (void)state;
    assert_string_equal(
        found(HOOK("null,7,{\"changes\":\"x\"},{\"changes\":[null,{\"value\":[]},{\"value\":{\"statuses\":{}}}]}," ENTRY(CHANGE(
            "[null,{},{\"id\":\"\",\"status\":\"sent\"},{\"id\":7,\"status\":\"sent\"},{\"id\":\"a\"},{\"id\":\"b\",\"status\":\"deleted\"},"
            "{\"id\":\"c c\",\"status\":\"sent\"},{\"id\":\"d\",\"status\":\"sent|delivered\"},"
            "{\"id\":\"e\",\"status\":\"failed\",\"errors\":{},\"recipient_id\":\"x\"},{\"id\":\"f\",\"status\":\"failed\",\"errors\":[]}]")))),
        "e=failed/-/0 f=failed/-/0 ");
    assert_string_equal(found("{}"), "");
    assert_string_equal(found("{\"entry\":{}}"), "");
    assert_string_equal(found(HOOK(ENTRY("{\"value\":{\"messages\":[{\"from\":\"1\"}]},\"field\":\"messages\"}"))), "");
    assert_null(found(""));
    assert_null(found("[]"));
    assert_null(found("{\"entry\":["));
    assert_null(found("sent"));
}

static void
three_megabytes_are_read(void **state)
{
    static const char one[] = "{\"id\":\"wamid.A\",\"status\":\"delivered\",\"timestamp\":\"1\",\"recipient_id\":\"919876543210\"},";
    size_t room = 3 << 20, len = 0, n, n_written = 0;
    char *body = arena_alloc(arena, room);
    const struct hook_status *status;

    (void)state;
    len = (size_t)snprintf(body, room, "%s", "{\"entry\":[{\"changes\":[{\"value\":{\"statuses\":[");
    for (; len + sizeof one + 20 < room; n_written++) {
        memcpy(body + len, one, sizeof one - 1);
        len += sizeof one - 1;
    }
    memcpy(body + len, "null]}}]}]}", 11);
    assert_true(hook_statuses(arena, body, len + 11, &status, &n));
    assert_int_equal(n, n_written);
    assert_string_equal(status[n - 1].phone, "+919876543210");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_over_the_raw_bytes),
        cmocka_unit_test(a_handshake_needs_the_word),
        cmocka_unit_test(all_statuses_of_all_entries_are_found),
        cmocka_unit_test(what_is_not_as_documented_is_passed_over),
        cmocka_unit_test(three_megabytes_are_read),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
