/* A token has one meaning: what is not exactly ours is refused, whoever signed it. */
#include "../../lib/token.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define USER "0191d5b0-0000-7000-8000-00000000000a"
#define SESSION "6f1f2a34-5b6c-4d7e-8f90-a1b2c3d4e5f6"
#define OUR_HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define OUR_CLAIMS                                                                                             \
    "{\"userId\":\"" USER "\",\"phone\":\"+919876543210\",\"role\":\"VENDOR\",\"sessionId\":\"" SESSION "\"," \
    "\"iat\":1795339000,\"exp\":1795425400}"
#define NOW 1795340000

static const struct token_claims ours = {
    .user_id = USER, .phone = "+919876543210", .role = "VENDOR", .session_id = SESSION, .iat = 1795339000, .exp = 1795425400
};

/* A token of any header and claims, rightly signed. */
static const char *
signed_token(const char *head, const char *claims)
{
    static char t[4096];
    uint8_t mac[32];
    size_t n = encoding_b64url(t, head, strlen(head));

    t[n++] = '.';
    n += encoding_b64url(t + n, claims, strlen(claims));
    crypto_hmac(SECRET, strlen(SECRET), t, n, mac);
    t[n++] = '.';
    encoding_b64url(t + n, mac, sizeof mac);
    return t;
}

static enum token_result
verify(const char *t)
{
    struct token_claims c;
    /* In memory of exactly its length: a read beyond it is seen. */
    size_t len = strlen(t);
    char *copy = malloc(len + (len == 0));
    memcpy(copy, t, len);
    enum token_result result = token_verify(copy, len, NOW, &c);
    free(copy);
    return result;
}

static void
what_is_made_is_verified(void **state)
{
    (void)state;
    char t[TOKEN_MAX + 1];
    struct token_claims c = { 0 };
    size_t len = token_make(&ours, t);
    assert_int_equal(strlen(t), len);
    assert_string_equal(t, signed_token(OUR_HEADER, OUR_CLAIMS));
    assert_int_equal(token_verify(t, len, NOW, &c), TOKEN_OK);
    assert_string_equal(c.user_id, USER);
    assert_string_equal(c.phone, "+919876543210");
    assert_string_equal(c.role, "VENDOR");
    assert_string_equal(c.session_id, SESSION);
    assert_int_equal(c.iat, ours.iat);
    assert_int_equal(c.exp, ours.exp);
}

static void
it_ends_with_the_second_that_exp_names(void **state)
{
    (void)state;
    char t[TOKEN_MAX + 1];
    struct token_claims c;
    size_t len = token_make(&ours, t);
    assert_int_equal(token_verify(t, len, ours.exp - 1, &c), TOKEN_OK);
    memset(&c, 0, sizeof c);
    assert_int_equal(token_verify(t, len, ours.exp, &c), TOKEN_EXPIRED);
    assert_string_equal(c.user_id, USER);
}

static void
other_spellings_of_the_same_are_fine(void **state)
{
    (void)state;
    static const char *const headers[] = { "{\"alg\":\"HS256\"}", "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", " { \"alg\" : \"HS256\" } " };
    static const char *const claims[] = {
        "{\"exp\":1795425400,\"iat\":1795339000,\"sessionId\":\"" SESSION "\",\"role\":\"ADMIN\",\"phone\":\"+919876543210\",\"userId\":\"" USER "\"}",
        " { \"userId\" : \"0191D5B0-0000-7000-8000-00000000000A\" , \"phone\":\"+919876543210\",\"role\":\"CLIENT\",\"sessionId\":\"" SESSION
        "\",\n\"iat\":0,\"exp\": 1795425400 }\n",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_int_equal(verify(signed_token(headers[i], OUR_CLAIMS)), TOKEN_OK);
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++)
        assert_int_equal(verify(signed_token(OUR_HEADER, claims[i])), TOKEN_OK);
    struct token_claims c;
    const char *t = signed_token(OUR_HEADER, claims[1]);
    token_verify(t, strlen(t), NOW, &c);
    assert_string_equal(c.user_id, USER);   /* lower case */
}

static void
any_other_header_is_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"none\"}", "{\"alg\":\"HS512\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"hs256\"}", "{\"typ\":\"JWT\"}", "{}", "",
        "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{\"alg\":\"HS256\",\"alg\":\"none\"}", "{\"alg\":\"none\",\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWE\"}", "{\"alg\":\"HS256\",\"kid\":\"1\"}", "{\"alg\":\"HS256\",\"crit\":[\"b64\"]}",
        "{\"alg\":\"HS256\",\"b64\":false}", "{\"\\u0061lg\":\"HS256\"}", "{\"alg\":\"HS256\"}x", "[\"HS256\"]", "{\"alg\":\"HS256\",}",
        "{\"alg\":256}", "{\"alg\":\"HS256\"", "\"HS256\"",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_int_equal(verify(signed_token(headers[i], OUR_CLAIMS)), TOKEN_MALFORMED);
}

static void
any_other_claims_are_refused(void **state)
{
    (void)state;
#define BEGIN "{\"userId\":\"" USER "\",\"phone\":\"+919876543210\",\"role\":\"VENDOR\",\"sessionId\":\"" SESSION "\""
    static const char *const claims[] = {
        "", "{}", "null", "[]", "{", "}", BEGIN "}", BEGIN ",\"iat\":1795339000}", BEGIN ",\"exp\":1795425400}",
        OUR_CLAIMS "x", OUR_CLAIMS OUR_CLAIMS, "x" OUR_CLAIMS,
        BEGIN ",\"iat\":1795339000,\"exp\":1795425400,\"admin\":1}",
        BEGIN ",\"iat\":1795339000,\"exp\":1795425400,\"exp\":1895425400}",
        BEGIN ",\"iat\":1795339000,\"exp\":\"1795425400\"}",
        BEGIN ",\"iat\":1795339000,\"exp\":1795425400.5}", BEGIN ",\"iat\":1795339000,\"exp\":1e12}",
        BEGIN ",\"iat\":1795339000,\"exp\":-1}", BEGIN ",\"iat\":1795339000,\"exp\":01795425400}",
        BEGIN ",\"iat\":1795339000,\"exp\":99999999999999999999}", BEGIN ",\"iat\":1795339000,\"exp\":9999999999999999}",
        BEGIN ",\"iat\":1795339000,\"exp\":null}", BEGIN ",\"iat\":1795339000,\"exp\":true}", BEGIN ",\"iat\":1795339000,\"exp\":}",
        BEGIN ",\"iat\":1795339000,\"exp\":1795425400,}", BEGIN " \"iat\":1795339000,\"exp\":1795425400}",
        "{\"userId\":\"x\",\"phone\":\"+919876543210\",\"role\":\"VENDOR\",\"sessionId\":\"" SESSION "\",\"iat\":1,\"exp\":1795425400}",
        "{\"userId\":\"" USER "\",\"phone\":\"+915876543210\",\"role\":\"VENDOR\",\"sessionId\":\"" SESSION "\",\"iat\":1,\"exp\":1795425400}",
        "{\"userId\":\"" USER "\",\"phone\":\"+919876543210\",\"role\":\"ROOT\",\"sessionId\":\"" SESSION "\",\"iat\":1,\"exp\":1795425400}",
        "{\"userId\":\"" USER "\",\"phone\":\"+919876543210\",\"role\":\"VENDORVENDOR\",\"sessionId\":\"" SESSION "\",\"iat\":1,\"exp\":1795425400}",
        "{\"userId\":\"" USER "\",\"phone\":\"+919876543210\",\"role\":\"VEN\\u0044OR\",\"sessionId\":\"" SESSION "\",\"iat\":1,\"exp\":1795425400}",
        "{\"userId\":[\"" USER "\"],\"phone\":\"+919876543210\",\"role\":\"VENDOR\",\"sessionId\":\"" SESSION "\",\"iat\":1,\"exp\":1795425400}",
    };
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++)
        assert_int_equal(verify(signed_token(OUR_HEADER, claims[i])), TOKEN_MALFORMED);
    /* A NUL behind the object, which no C string can hold. */
    static const char with_nul[] = OUR_CLAIMS;
    char t[TOKEN_MAX + 1];
    uint8_t mac[32];
    size_t n = (size_t)snprintf(t, sizeof t, "%s.", header);
    n += encoding_b64url(t + n, with_nul, sizeof with_nul);
    crypto_hmac(SECRET, strlen(SECRET), t, n, mac);
    t[n++] = '.';
    encoding_b64url(t + n, mac, sizeof mac);
    assert_int_equal(verify(t), TOKEN_MALFORMED);
}

static void
every_changed_character_is_seen(void **state)
{
    (void)state;
    char t[TOKEN_MAX + 1];
    size_t len = token_make(&ours, t);
    for (size_t i = 0; i < len; i++) {
        char was = t[i];
        t[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(verify(t), TOKEN_OK);
        t[i] = was;
    }
    for (size_t cut = 0; cut < len; cut++) {
        char was = t[cut];
        t[cut] = '\0';
        assert_int_not_equal(verify(t), TOKEN_OK);
        t[cut] = was;
    }
    assert_int_equal(verify(t), TOKEN_OK);
}

static void
nothing_stands_before_or_behind(void **state)
{
    (void)state;
    char t[TOKEN_MAX + 1], other[TOKEN_MAX + 64];
    token_make(&ours, t);
    static const char *const forms[] = { "%s ", " %s", "%s.", ".%s", "%s\n", "%s=", "%s.x", "Bearer %s", "%s%%00" };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const char *mark = strstr(forms[i], "%s");
        snprintf(other, sizeof other, "%.*s%s%s", (int)(mark - forms[i]), forms[i], t, mark + 2);
        assert_int_not_equal(verify(other), TOKEN_OK);
    }
    /* Stray bits in the last character spell the same bytes: one spelling only. */
    size_t len = strlen(t);
    t[len - 1]++;
    assert_int_equal(verify(t), TOKEN_MALFORMED);
}

static void
another_key_is_another_signature(void **state)
{
    (void)state;
    char t[TOKEN_MAX + 1];
    token_make(&ours, t);
    int was = key;
    key = crypto_mac_new("another secret of thirty-two bytes", 34);
    assert_int_equal(verify(t), TOKEN_BAD_SIGNATURE);
    key = was;
    assert_int_equal(verify(t), TOKEN_OK);
}

static void
rubbish_is_malformed(void **state)
{
    (void)state;
    char much[3000];
    memset(much, 'A', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    assert_int_equal(verify(""), TOKEN_MALFORMED);
    assert_int_equal(verify("."), TOKEN_MALFORMED);
    assert_int_equal(verify(".."), TOKEN_MALFORMED);
    assert_int_equal(verify("a.b.c"), TOKEN_MALFORMED);
    assert_int_equal(verify(much), TOKEN_MALFORMED);
    much[100] = much[200] = '.';
    assert_int_equal(verify(much), TOKEN_MALFORMED);
}

static void
refresh_tokens_are_random_and_only_their_form_is_hashed(void **state)
{
    (void)state;
    char a[TOKEN_REFRESH_SIZE], b[TOKEN_REFRESH_SIZE], h[TOKEN_REFRESH_HASH_SIZE], h2[TOKEN_REFRESH_HASH_SIZE];
    uint8_t raw[32];
    token_refresh_new(a);
    token_refresh_new(b);
    assert_string_not_equal(a, b);
    assert_int_equal(encoding_b64url_decode(raw, sizeof raw, a, strlen(a)), 32);
    assert_true(token_refresh_hash(a, strlen(a), h));
    assert_int_equal(strlen(h), 66);
    assert_memory_equal(h, "\\x", 2);
    assert_true(token_refresh_hash(a, strlen(a), h2));
    assert_string_equal(h, h2);
    assert_false(token_refresh_hash(a, strlen(a) - 1, h));
    assert_false(token_refresh_hash("", 0, h));
    a[10] = '!';
    assert_false(token_refresh_hash(a, strlen(a), h));
}

static int
group_setup(void **state)
{
    (void)state;
    token_init(SECRET);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_made_is_verified),
        cmocka_unit_test(it_ends_with_the_second_that_exp_names),
        cmocka_unit_test(other_spellings_of_the_same_are_fine),
        cmocka_unit_test(any_other_header_is_refused),
        cmocka_unit_test(any_other_claims_are_refused),
        cmocka_unit_test(every_changed_character_is_seen),
        cmocka_unit_test(nothing_stands_before_or_behind),
        cmocka_unit_test(another_key_is_another_signature),
        cmocka_unit_test(rubbish_is_malformed),
        cmocka_unit_test(refresh_tokens_are_random_and_only_their_form_is_hashed),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
