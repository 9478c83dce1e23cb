/* Sealed values open only where they belong, and codes are fair. */
#include "scarce.h"
#include "../../lib/crypto.c"
#undef malloc

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define UUID_A "0191d5b0-0000-7000-8000-00000000000a"
#define UUID_B "0191d5b0-0000-7000-8000-00000000000b"

static const uint8_t key_1[32] = { 1 }, key_2[32] = { 2 }, hash_key[32] = { 3 };

static int
no_keys(void **state)
{
    (void)state;
    memset(rings, 0, sizeof rings);
    if (mine != NULL)
        mine->seal_version = mine->unseal_version = 0;
    return 0;
}

static void
assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    char text[256];

    encoding_hex(text, data, len);
    assert_string_equal(text, hex);
}

/* ---- hashes: the published vectors ---- */

static void
sha256_is_fips_180(void **state)
{
    (void)state;
    uint8_t h[32];
    for (int i = 0; i < 2; i++) {
        crypto_sha256("abc", 3, h);
        assert_hex(h, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        crypto_sha256("", 0, h);
        assert_hex(h, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
    struct crypto_sha256 *pieces = crypto_sha256_begin();
    assert_non_null(pieces);
    crypto_sha256_add(pieces, "a", 1);
    crypto_sha256_add(pieces, "", 0);
    crypto_sha256_add(pieces, "bc", 2);
    crypto_sha256_end(pieces, h);
    assert_hex(h, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void
a_hash_in_pieces_that_has_no_memory_is_not_begun(void **state)
{
    (void)state;
    no_memory = true;
    struct crypto_sha256 *pieces = crypto_sha256_begin();
    no_memory = false;
    assert_null(pieces);
}

static void
hmac_is_rfc_4231_by_both_ways(void **state)
{
    (void)state;
    uint8_t long_key[131], k1[20], h[32];
    memset(long_key, 0xaa, sizeof long_key);
    memset(k1, 0x0b, sizeof k1);
    const struct { const void *key; size_t key_len; const char *data, *hex; } cases[] = {
        { k1, 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
        { "Jefe", 4, "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { long_key, 131, "Test Using Larger Than Block-Size Key - Hash Key First",
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
    };
    int id[3];
    for (int i = 0; i < 3; i++)
        id[i] = crypto_mac_new(cases[i].key, cases[i].key_len);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++) {
            crypto_hmac(cases[i].key, cases[i].key_len, cases[i].data, strlen(cases[i].data), h);
            assert_hex(h, 32, cases[i].hex);
            crypto_mac(id[i], cases[i].data, strlen(cases[i].data), h);
            assert_hex(h, 32, cases[i].hex);
        }
}

static void
comparing_sees_every_byte(void **state)
{
    (void)state;
    char a[32] = "same", b[32] = "same";
    assert_true(crypto_equal(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 1;
        assert_false(crypto_equal(a, b, sizeof a));
        b[i] ^= 1;
    }
}

/* ---- random ---- */

static void
uuids_have_their_version_and_are_all_different(void **state)
{
    (void)state;
    char previous[CRYPTO_UUID_SIZE] = "", id[CRYPTO_UUID_SIZE];
    for (int i = 0; i < 1000; i++) {
        crypto_uuid4(id);
        assert_int_equal(strlen(id), 36);
        assert_int_equal(id[14], '4');
        assert_non_null(strchr("89ab", id[19]));
        for (int k = 0; k < 36; k++)
            assert_true(k == 8 || k == 13 || k == 18 || k == 23 ? id[k] == '-' : isxdigit((unsigned char)id[k]) && !isupper((unsigned char)id[k]));
        assert_string_not_equal(id, previous);
        memcpy(previous, id, sizeof id);
    }
    memset(previous, 0, sizeof previous);
    for (int i = 0; i < 1000; i++) {
        crypto_uuid7(id);
        assert_int_equal(id[14], '7');
        assert_non_null(strchr("89ab", id[19]));
        assert_true(memcmp(id, previous, 13) >= 0);   /* rises with the time */
        assert_string_not_equal(id, previous);
        memcpy(previous, id, sizeof id);
    }
}

static void
otps_are_six_fair_digits(void **state)
{
    (void)state;
    int seen[6][10] = { { 0 } };
    char otp[CRYPTO_OTP_SIZE];
    for (int i = 0; i < 60000; i++) {
        crypto_otp(otp);
        assert_int_equal(strlen(otp), 6);
        for (int k = 0; k < 6; k++) {
            assert_true(otp[k] >= '0' && otp[k] <= '9');
            seen[k][otp[k] - '0']++;
        }
    }
    /* 6000 expected, standard deviation 73: eight of them on either side. */
    for (int k = 0; k < 6; k++)
        for (int d = 0; d < 10; d++)
            assert_in_range(seen[k][d], 5400, 6600);
}

static void
random_bytes_come_in_any_length_and_are_not_given_twice(void **state)
{
    (void)state;
    uint8_t big[2000] = { 0 };
    crypto_random(big, sizeof big);
    int zeros = 0;
    for (size_t i = 0; i < sizeof big; i++)
        zeros += big[i] == 0;
    assert_in_range(zeros, 0, 40);
    crypto_random(big, 0);

    /* A child of fork has other bytes than its parent. */
    int fds[2];
    uint8_t ours[16], its[16];
    assert_int_equal(pipe(fds), 0);
    crypto_random(ours, sizeof ours);
    pid_t child = fork();
    if (child == 0) {
        crypto_random(its, sizeof its);
        _exit(write(fds[1], its, sizeof its) == sizeof its ? 0 : 1);
    }
    crypto_random(ours, sizeof ours);
    assert_int_equal(read(fds[0], its, sizeof its), sizeof its);
    assert_memory_not_equal(ours, its, sizeof its);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(fds[0]);
    close(fds[1]);
}

/* ---- sealing ---- */

static void
without_a_key_nothing_is_sealed_or_looked_up(void **state)
{
    (void)state;
    uint8_t out[64];
    assert_int_equal(crypto_keyring_newest(CRYPTO_SEAL), 0);
    assert_int_equal(crypto_seal(out, "users.phone", UUID_A, "x", 1), 0);
    assert_false(crypto_lookup("phone", "x", out));
    char text[CRYPTO_SEALED_TEXT_SIZE(1)], hash[CRYPTO_LOOKUP_TEXT_SIZE];
    assert_int_equal(crypto_seal_text(text, "users.phone", UUID_A, "x", 1), 0);
    assert_false(crypto_lookup_text("phone", "x", hash));
}

static void
a_child_is_not_given_the_random_bytes_of_its_parent(void **state)
{
    (void)state;
    uint8_t ours[64], theirs[64];
    int ends[2], status;
    crypto_random(ours, 1);   /* there is a store of them, which the child inherits */
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        crypto_random(theirs, sizeof theirs);
        exit(write(ends[1], theirs, sizeof theirs) != sizeof theirs);
    }
    crypto_random(ours, sizeof ours);
    assert_int_equal(read(ends[0], theirs, sizeof theirs), sizeof theirs);
    assert_memory_not_equal(ours, theirs, sizeof ours);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    close(ends[1]);
}

static void
a_sealed_value_opens_in_its_field_and_row_only(void **state)
{
    (void)state;
    uint8_t sealed[64], out[64];
    size_t len, n;
    assert_true(crypto_keyring_add(CRYPTO_SEAL, 1, key_1));
    len = crypto_seal(sealed, "users.phone", UUID_A, "+919876543210", 13);
    assert_int_equal(len, 13 + CRYPTO_SEAL_OVERHEAD);
    assert_hex(sealed, 4, "00000001");
    assert_int_equal(crypto_unseal(out, &n, "users.phone", UUID_A, sealed, len), CRYPTO_OK);
    assert_int_equal(n, 13);
    assert_memory_equal(out, "+919876543210", 13);
    assert_int_equal(crypto_unseal(out, &n, "users.phone", UUID_B, sealed, len), CRYPTO_DAMAGED);
    assert_int_equal(crypto_unseal(out, &n, "users.phones", UUID_A, sealed, len), CRYPTO_DAMAGED);
    /* Any bit turned over, anything cut off. */
    for (size_t i = 4; i < len; i++) {
        sealed[i] ^= 0x10;
        assert_int_equal(crypto_unseal(out, &n, "users.phone", UUID_A, sealed, len), CRYPTO_DAMAGED);
        sealed[i] ^= 0x10;
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(crypto_unseal(out, &n, "users.phone", UUID_A, sealed, cut), CRYPTO_DAMAGED);
    assert_int_equal(crypto_unseal(out, &n, "users.phone", UUID_A, sealed, len), CRYPTO_OK);
}

static void
equal_values_are_sealed_differently_and_empty_ones_too(void **state)
{
    (void)state;
    uint8_t a[64], b[64];
    size_t n;
    crypto_keyring_add(CRYPTO_SEAL, 1, key_1);
    crypto_seal(a, "t.c", UUID_A, "same", 4);
    crypto_seal(b, "t.c", UUID_A, "same", 4);
    assert_memory_not_equal(a + 4, b + 4, 12);
    assert_memory_not_equal(a + 16, b + 16, 4);
    assert_int_equal(crypto_seal(a, "t.c", UUID_A, "", 0), CRYPTO_SEAL_OVERHEAD);
    assert_int_equal(crypto_unseal(b, &n, "t.c", UUID_A, a, CRYPTO_SEAL_OVERHEAD), CRYPTO_OK);
    assert_int_equal(n, 0);
}

static void
the_newest_version_seals_and_all_unseal(void **state)
{
    (void)state;
    uint8_t old[64], new[64], out[64];
    size_t n;
    crypto_keyring_add(CRYPTO_SEAL, 1, key_1);
    size_t len = crypto_seal(old, "t.c", UUID_A, "value", 5);
    crypto_keyring_add(CRYPTO_SEAL, 70000, key_2);
    crypto_keyring_add(CRYPTO_SEAL, 69999, key_1);   /* later, but older */
    assert_int_equal(crypto_keyring_newest(CRYPTO_SEAL), 70000);
    crypto_seal(new, "t.c", UUID_A, "value", 5);
    assert_int_equal(crypto_sealed_version(new, len), 70000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(crypto_unseal(out, &n, "t.c", UUID_A, old, len), CRYPTO_OK);
        assert_int_equal(crypto_unseal(out, &n, "t.c", UUID_A, new, len), CRYPTO_OK);
        assert_memory_equal(out, "value", 5);
    }
    new[3] ^= 1;
    assert_int_equal(crypto_unseal(out, &n, "t.c", UUID_A, new, len), CRYPTO_NO_KEY);
    assert_true(crypto_keyring_has(CRYPTO_SEAL, 69999));
    assert_false(crypto_keyring_has(CRYPTO_SEAL, 2));
}

static void
a_key_that_is_there_is_not_replaced_and_the_ring_has_an_end(void **state)
{
    (void)state;
    uint8_t sealed[64], out[64];
    size_t n;
    crypto_keyring_add(CRYPTO_SEAL, 1, key_1);
    size_t len = crypto_seal(sealed, "t.c", UUID_A, "v", 1);
    assert_true(crypto_keyring_add(CRYPTO_SEAL, 1, key_2));
    assert_int_equal(crypto_unseal(out, &n, "t.c", UUID_A, sealed, len), CRYPTO_OK);
    for (uint32_t v = 2; v <= KEYS_MAX; v++)
        assert_true(crypto_keyring_add(CRYPTO_SEAL, v, key_1));
    assert_false(crypto_keyring_add(CRYPTO_SEAL, KEYS_MAX + 1, key_1));
    assert_true(crypto_keyring_add(CRYPTO_SEAL, 1, key_1));
}

static void
the_text_form_is_bytea_and_comes_back_with_its_row(void **state)
{
    (void)state;
    static const char *const plains[] = { "", "x", "+919876543210", "12 MG Road, near the \xe2\x82\xb9 shop, second floor, Kochi" };
    crypto_keyring_add(CRYPTO_SEAL, 1, key_1);
    for (size_t i = 0; i < sizeof plains / sizeof plains[0]; i++) {
        size_t plain_len = strlen(plains[i]), n;
        char *text = malloc(CRYPTO_SEALED_TEXT_SIZE(plain_len));
        size_t len = crypto_seal_text(text, "listings.imei1", UUID_A, plains[i], plain_len);
        assert_int_equal(len, CRYPTO_SEALED_TEXT_SIZE(plain_len) - 1);
        assert_int_equal(strlen(text), len);
        assert_memory_equal(text, "\\x00000001", 10);
        char *value = malloc(36 + len + 1), *out = malloc(36 + len + 1);
        snprintf(value, 36 + len + 1, "%s%s", UUID_A, text);
        assert_int_equal(crypto_unseal_text(out, &n, "listings.imei1", value, 36 + len), CRYPTO_OK);
        assert_int_equal(n, plain_len);
        assert_string_equal(out, plains[i]);
        value[35] = 'b';
        assert_int_equal(crypto_unseal_text(out, &n, "listings.imei1", value, 36 + len), CRYPTO_DAMAGED);
        value[35] = 'a';
        assert_int_equal(crypto_unseal_text(out, &n, "listings.imei1", value, 36 + len - 1), CRYPTO_DAMAGED);
        free(text);
        free(value);
        free(out);
    }
}

static void
masked_text_is_handed_on(void **state)
{
    (void)state;
    static const char *const masked[] = { "", "***********2345", "+91******3210", UUID_A, UUID_A "\\", UUID_A "+91******3210" };
    char out[128];
    size_t n;
    for (size_t i = 0; i < sizeof masked / sizeof masked[0]; i++) {
        assert_int_equal(crypto_unseal_text(out, &n, "users.phone", masked[i], strlen(masked[i])), CRYPTO_OK);
        assert_string_equal(out, masked[i]);
    }
}

/* ---- keys ---- */

static void
a_wrapped_key_opens_under_its_master_purpose_and_version(void **state)
{
    (void)state;
    const char *master = "0123456789abcdef0123456789abcdef";
    uint8_t wrapped[CRYPTO_WRAPPED_LEN], key[32];
    crypto_keyring_add(CRYPTO_SEAL, 1, key_1);
    uint8_t sealed[64], out[64];
    size_t n, len = crypto_seal(sealed, "t.c", UUID_A, "v", 1);

    crypto_wrap(master, CRYPTO_SEAL, 3, key_2, wrapped);
    assert_true(crypto_unwrap(master, CRYPTO_SEAL, 3, wrapped, sizeof wrapped, key));
    assert_memory_equal(key, key_2, 32);
    assert_false(crypto_unwrap("0123456789abcdef0123456789abcdeF", CRYPTO_SEAL, 3, wrapped, sizeof wrapped, key));
    assert_false(crypto_unwrap(master, CRYPTO_HASH, 3, wrapped, sizeof wrapped, key));
    assert_false(crypto_unwrap(master, CRYPTO_SEAL, 4, wrapped, sizeof wrapped, key));
    assert_false(crypto_unwrap(master, CRYPTO_SEAL, 3, wrapped, sizeof wrapped - 1, key));
    wrapped[20] ^= 1;
    assert_false(crypto_unwrap(master, CRYPTO_SEAL, 3, wrapped, sizeof wrapped, key));

    /* The thread's contexts are then set to the data key again. */
    assert_int_equal(crypto_unseal(out, &n, "t.c", UUID_A, sealed, len), CRYPTO_OK);
    len = crypto_seal(sealed, "t.c", UUID_A, "v", 1);
    assert_int_equal(crypto_unseal(out, &n, "t.c", UUID_A, sealed, len), CRYPTO_OK);
}

static void
a_lookup_hash_is_hmac_over_kind_and_value(void **state)
{
    (void)state;
    uint8_t expected[32], h[32];
    char text[CRYPTO_LOOKUP_TEXT_SIZE];
    crypto_keyring_add(CRYPTO_HASH, 1, hash_key);
    crypto_hmac(hash_key, 32, "phone:+919876543210", 19, expected);
    assert_true(crypto_lookup("phone", "+919876543210", h));
    assert_memory_equal(h, expected, 32);
    assert_true(crypto_lookup_text("phone", "+919876543210", text));
    assert_memory_equal(text, "\\x", 2);
    assert_hex(expected, 32, text + 2);
    crypto_lookup("imei", "+919876543210", h);
    assert_memory_not_equal(h, expected, 32);
}

/* ---- threads ---- */

static void *
work(void *arg)
{
    uint8_t sealed[64], out[64];
    size_t n;
    bool *ok = arg;

    for (int i = 0; i < 2000; i++) {
        size_t len = crypto_seal(sealed, "t.c", UUID_A, "value", 5);
        *ok = *ok && len > 0 && crypto_unseal(out, &n, "t.c", UUID_A, sealed, len) == CRYPTO_OK && crypto_lookup("phone", "x", out);
    }
    return NULL;
}

static void
keys_may_be_added_while_threads_seal(void **state)
{
    (void)state;
    pthread_t threads[4];
    bool ok[4];
    crypto_keyring_add(CRYPTO_SEAL, 1, key_1);
    crypto_keyring_add(CRYPTO_HASH, 1, hash_key);
    for (int i = 0; i < 4; i++) {
        ok[i] = true;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &ok[i]), 0);
    }
    for (uint32_t v = 2; v < 100; v++)
        crypto_keyring_add(CRYPTO_SEAL, v, v % 2 ? key_1 : key_2);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(ok[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_is_fips_180),
        cmocka_unit_test(a_hash_in_pieces_that_has_no_memory_is_not_begun),
        cmocka_unit_test(hmac_is_rfc_4231_by_both_ways),
        cmocka_unit_test(comparing_sees_every_byte),
        cmocka_unit_test(uuids_have_their_version_and_are_all_different),
        cmocka_unit_test(otps_are_six_fair_digits),
        cmocka_unit_test(random_bytes_come_in_any_length_and_are_not_given_twice),
        cmocka_unit_test(a_child_is_not_given_the_random_bytes_of_its_parent),
        cmocka_unit_test_setup(without_a_key_nothing_is_sealed_or_looked_up, no_keys),
        cmocka_unit_test_setup(a_sealed_value_opens_in_its_field_and_row_only, no_keys),
        cmocka_unit_test_setup(equal_values_are_sealed_differently_and_empty_ones_too, no_keys),
        cmocka_unit_test_setup(the_newest_version_seals_and_all_unseal, no_keys),
        cmocka_unit_test_setup(a_key_that_is_there_is_not_replaced_and_the_ring_has_an_end, no_keys),
        cmocka_unit_test_setup(the_text_form_is_bytea_and_comes_back_with_its_row, no_keys),
        cmocka_unit_test_setup(masked_text_is_handed_on, no_keys),
        cmocka_unit_test_setup(a_wrapped_key_opens_under_its_master_purpose_and_version, no_keys),
        cmocka_unit_test_setup(a_lookup_hash_is_hmac_over_kind_and_value, no_keys),
        cmocka_unit_test_setup(keys_may_be_added_while_threads_seal, no_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
