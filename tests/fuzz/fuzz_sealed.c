/* Any bytes as a sealed value, hex or base64url: no crash and no read outside of them; what is opened was
 * sealed here, and each value has one spelling. */
#include "../../lib/crypto.h"
#include "../../lib/encoding.h"

#include <stdlib.h>
#include <string.h>

#define FIELD "listings.imei1"
#define ROW "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
judge_codings(const char *s, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    char *again = malloc(2 * size + 3);
    ssize_t n;

    if (bytes == NULL || again == NULL)
        abort();
    n = encoding_b64url_decode(bytes, size, s, size);
    if (n >= 0 && (encoding_b64url(again, bytes, (size_t)n) != size || memcmp(again, s, size) != 0))
        abort();
    n = encoding_unhex(bytes, size, s, size);
    if (n >= 0 && (encoding_hex(again, bytes, (size_t)n) != size || strncasecmp(again, s, size) != 0))
        abort();
    free(bytes);
    free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[CRYPTO_KEY_LEN] = { 7 };
    const char *s = (const char *)data;
    size_t len, sealed_len;
    uint8_t master[CRYPTO_KEY_LEN];

    if (crypto_keyring_newest(CRYPTO_SEAL) == 0)
        (void)crypto_keyring_add(CRYPTO_SEAL, 1, key);
    judge_codings(s, size);
    if (crypto_unwrap("0123456789abcdef0123456789abcdef", CRYPTO_SEAL, 1, data, size, master))
        abort();   /* nobody guesses a tag */

    char *out = malloc(size + 1), *sealed = malloc(36 + CRYPTO_SEALED_TEXT_SIZE(size)), *back = malloc(36 + CRYPTO_SEALED_TEXT_SIZE(size));
    if (out == NULL || sealed == NULL || back == NULL)
        abort();
    if (crypto_unseal_text(out, &len, FIELD, s, size) == CRYPTO_OK && (len != size || memcmp(out, s, size) != 0))
        abort();   /* only what was never sealed, and is given back as it is */
    if (crypto_unseal((uint8_t *)out, &len, FIELD, ROW, data, size) == CRYPTO_OK)
        abort();
    (void)crypto_sealed_version(data, size);

    memcpy(sealed, ROW, 36);
    sealed_len = 36 + crypto_seal_text(sealed + 36, FIELD, ROW, data, size);
    if (crypto_unseal_text(back, &len, FIELD, sealed, sealed_len) != CRYPTO_OK || len != size || memcmp(back, data, size) != 0)
        abort();
    /* One byte of it changed, named by the input: it does not open. */
    size_t at = size > 0 ? 38 + data[0] % (sealed_len - 38) : 38;
    sealed[at] = sealed[at] == '0' ? '1' : '0';
    if (crypto_unseal_text(back, &len, FIELD, sealed, sealed_len) == CRYPTO_OK)
        abort();
    free(out);
    free(sealed);
    free(back);
    return 0;
}
