/* A token from anywhere: no crash, and what is accepted is one of ours in form.
 *
 * A fuzzer cannot guess a signature, so the input is judged twice: as it is, and as header.claims
 * (in clear, parted by the first line feed) under the right signature. */
#include "../../lib/token.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/crypto.h"
#include "../../lib/encoding.h"
#include "../../lib/valid.h"

#define SECRET "0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
judge(const char *s, size_t len)
{
    struct token_claims c;
    char again[TOKEN_MAX + 1];
    enum token_result result = token_verify(s, len, 1795340000, &c);

    if (result != TOKEN_OK && result != TOKEN_EXPIRED)
        return;
    if (!valid_uuid(c.user_id, strlen(c.user_id), NULL) || !valid_uuid(c.session_id, strlen(c.session_id), NULL) || !valid_phone(c.phone))
        abort();
    if ((result == TOKEN_OK) != (c.exp > 1795340000))
        abort();
    /* What was understood can be said again and is understood the same. */
    struct token_claims back = { 0 };
    if (token_verify(again, token_make(&c, again), 0, &back) != (c.exp > 0 ? TOKEN_OK : TOKEN_EXPIRED) || back.exp != c.exp || back.iat != c.iat
        || strcmp(back.user_id, c.user_id) != 0 || strcmp(back.role, c.role) != 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int mac = -1;
    char token[8192];
    uint8_t signature[32];

    if (mac < 0) {
        token_init(SECRET);
        mac = crypto_mac_new(SECRET, strlen(SECRET));
    }
    judge((const char *)data, size);

    if (size > 4096)
        return 0;
    const uint8_t *feed = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t head = feed != NULL ? (size_t)(feed - data) : 0;
    size_t claims = feed != NULL ? head + 1 : 0;
    size_t n = feed != NULL ? encoding_b64url(token, data, head) : encoding_b64url(token, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", 27);
    token[n++] = '.';
    n += encoding_b64url(token + n, data + claims, size - claims);
    crypto_mac(mac, token, n, signature);
    token[n++] = '.';
    n += encoding_b64url(token + n, signature, sizeof signature);
    judge(token, n);
    return 0;
}
