/* keys -- the keyring in the database, and `keygen`.  Data keys are random and lie in encryption_keys
 * wrapped under ENCRYPTION_KEY: a dump without that secret is of no use, and a new secret only means
 * wrapping a few keys anew. */
#include "ctl.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "encoding.h"

static const char *
purpose_name(enum crypto_purpose purpose)
{
    return purpose == CRYPTO_HASH ? "hash" : "seal";
}

bool
keys_load(PGconn *pg, char *why, size_t size)
{
    PGresult *res = pg_query(pg, "SELECT purpose, version, encode(wrapped, 'hex') AS wrapped FROM encryption_keys"
                                 " ORDER BY purpose, version");
    bool good = true;

    for (int i = 0; good && i < PQntuples(res); i++) {
        uint8_t wrapped[CRYPTO_WRAPPED_LEN], key[CRYPTO_KEY_LEN];
        const char *hex = pg_text(res, i, "wrapped");
        enum crypto_purpose purpose = strcmp(pg_text(res, i, "purpose"), "hash") == 0 ? CRYPTO_HASH : CRYPTO_SEAL;
        uint32_t version = (uint32_t)pg_int(res, i, "version");
        ssize_t len = encoding_unhex(wrapped, sizeof wrapped, hex, strlen(hex));
        if (len < 0 || !crypto_unwrap(config()->encryption_key, purpose, version, wrapped, (size_t)len, key)) {
            snprintf(why, size, "the %s key, version %u, does not open under this ENCRYPTION_KEY: "
                                "put back the one under which it was made", purpose_name(purpose), version);
            good = false;
        } else if (!crypto_keyring_add(purpose, version, key)) {
            snprintf(why, size, "there are too many keys in encryption_keys");
            good = false;
        }
        OPENSSL_cleanse(key, sizeof key);
    }
    pg_clear(res);
    if (good && (crypto_keyring_newest(CRYPTO_SEAL) == 0 || crypto_keyring_newest(CRYPTO_HASH) == 0)) {
        snprintf(why, size, "there are no encryption keys yet: run `sellikoctl migrate`");
        good = false;
    }
    return good;
}

void
keys_make(PGconn *pg, enum crypto_purpose purpose, uint32_t version)
{
    uint8_t key[CRYPTO_KEY_LEN], wrapped[CRYPTO_WRAPPED_LEN];
    char text[2 + 2 * CRYPTO_WRAPPED_LEN + 1] = "\\x", number[16];

    crypto_random(key, sizeof key);
    crypto_wrap(config()->encryption_key, purpose, version, key, wrapped);
    encoding_hex(text + 2, wrapped, sizeof wrapped);
    snprintf(number, sizeof number, "%u", version);
    pg_clear(pg_query(pg, "INSERT INTO encryption_keys (purpose, version, wrapped) VALUES ($1, $2, $3)",
                     purpose_name(purpose), number, text));
    if (!crypto_keyring_add(purpose, version, key))
        die(CTL_PROBLEM, "there are too many keys in encryption_keys");
    OPENSSL_cleanse(key, sizeof key);
}

int
keys_ensure(PGconn *pg)
{
    int made = 0;

    for (int i = 0; i < 2; i++) {
        enum crypto_purpose purpose = i == 0 ? CRYPTO_SEAL : CRYPTO_HASH;
        PGresult *res = pg_query(pg, "SELECT 1 FROM encryption_keys WHERE purpose = $1 LIMIT 1", purpose_name(purpose));
        if (PQntuples(res) == 0) {
            keys_make(pg, purpose, 1);
            made++;
        }
        pg_clear(res);
    }
    return made;
}

/* keygen [--conf]: 256 random bits as 43 characters, fit for every secret of the configuration. */
int
cmd_keygen(int argc, char **argv)
{
    static const char *const secrets[] = { "JWT_SECRET", "ENCRYPTION_KEY", "FILE_URL_SECRET" };
    bool conf = take_flag(&argc, argv, "conf");

    want_arguments(argc, argv, 0);
    for (size_t i = 0; i < (conf ? sizeof secrets / sizeof secrets[0] : 1); i++) {
        uint8_t bytes[32];
        char text[ENCODING_B64URL_SIZE(sizeof bytes)];
        crypto_random(bytes, sizeof bytes);
        encoding_b64url(text, bytes, sizeof bytes);
        printf("%s%s%s\n", conf ? secrets[i] : "", conf ? "=" : "", text);
    }
    return CTL_OK;
}
