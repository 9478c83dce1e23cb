#include "crypto.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>

#include "encoding.h"
#include "log.h"

#define NONCE_LEN 12
#define TAG_LEN 16
#define VERSION_LEN 4
#define KEYS_MAX 256
#define AAD_MAX (CRYPTO_FIELD_MAX + 1 + 36)

/* What OpenSSL refuses here would be refused every time: there is nothing to go on with. */
static void
must(bool ok)
{
    if (!ok) {
        /* LCOV_EXCL_START: OpenSSL has no memory, or the kernel no random bytes */
        log_error("cryptography failed", log_s("detail", ERR_reason_error_string(ERR_peek_last_error())));
        abort();
        /* LCOV_EXCL_STOP */
    }
}

/* ---- OpenSSL's memory ---- */

/* It gets what it asks for, or the program ends and says why.  While OpenSSL makes itself ready, for us, libpq or
 * libcurl, it does not look whether it got memory, and what it could not make then is missing as long as the
 * process lives.  Otherwise these do what its own do. */
static void *
given(void *p)
{
    if (p == NULL) {
        /* LCOV_EXCL_START: no memory; tests/faults/failnth.test.js has it fail */
        log_error("no memory for OpenSSL");
        abort();
        /* LCOV_EXCL_STOP */
    }
    return p;
}

static void *
openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size == 0 ? NULL : given(malloc(size));
}

static void
openssl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static void *
openssl_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size > 0 ? given(realloc(p, size)) : (free(p), NULL);
}

/* Before main, since it is refused once OpenSSL has allocated anything. */
static void __attribute__((constructor))
set_openssl_memory(void)
{
    (void)CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
}

/* ---- a thread's contexts ---- */

/* Fetching an algorithm or setting a key costs more than using it, so each thread keeps its contexts,
 * and for keyed ones remembers which key is set. */
struct contexts {
    EVP_MD_CTX *digest;
    EVP_MAC_CTX *hmac;                    /* for keys that come and go */
    EVP_MAC_CTX *mac[CRYPTO_MACS_MAX];    /* one a registered key, set already */
    EVP_CIPHER_CTX *seal, *unseal;
    uint32_t seal_version, unseal_version;   /* 0: no key is set */
    uint8_t random[512];                  /* random bytes not yet given out, at the end of it */
    size_t random_left;
};

static EVP_MD *sha256_md;
static EVP_MAC *hmac_mac;
static EVP_CIPHER *gcm_cipher;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_thread_end;
static _Thread_local struct contexts *mine;

static void
contexts_free(void *p)
{
    struct contexts *t = p;

    EVP_MD_CTX_free(t->digest);
    EVP_MAC_CTX_free(t->hmac);
    for (size_t i = 0; i < CRYPTO_MACS_MAX; i++)
        EVP_MAC_CTX_free(t->mac[i]);
    EVP_CIPHER_CTX_free(t->seal);
    EVP_CIPHER_CTX_free(t->unseal);
    OPENSSL_clear_free(t, sizeof *t);
}

/* A child must not give out the random bytes that its parent will. */
/* LCOV_EXCL_START: the counters begin anew when fork returns, which is after this (test_crypto.c has the test) */
static void
after_fork(void)
{
    if (mine != NULL)
        mine->random_left = 0;
}
/* LCOV_EXCL_STOP */

static void
fetch(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac_mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    gcm_cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    must(sha256_md != NULL && hmac_mac != NULL && gcm_cipher != NULL);
    must(pthread_key_create(&at_thread_end, contexts_free) == 0);
    must(pthread_atfork(NULL, NULL, after_fork) == 0);
}

static struct contexts *
contexts_make(void)
{
    pthread_once(&once, fetch);
    mine = OPENSSL_zalloc(sizeof *mine);
    must(mine != NULL);
    mine->digest = EVP_MD_CTX_new();
    mine->hmac = EVP_MAC_CTX_new(hmac_mac);
    mine->seal = EVP_CIPHER_CTX_new();
    mine->unseal = EVP_CIPHER_CTX_new();
    must(mine->digest != NULL && mine->hmac != NULL && mine->seal != NULL && mine->unseal != NULL);
    pthread_setspecific(at_thread_end, mine);
    return mine;
}

static inline struct contexts *
contexts(void)
{
    return mine != NULL ? mine : contexts_make();
}

/* ---- random ---- */

void
crypto_random(void *buf, size_t len)
{
    struct contexts *t = contexts();

    /* Small needs (ids, nonces, codes) share one call of the generator. */
    if (len > sizeof t->random / 4) {
        must(RAND_bytes(buf, (int)len) == 1);
        return;
    }
    if (len > t->random_left) {
        must(RAND_bytes(t->random, sizeof t->random) == 1);
        t->random_left = sizeof t->random;
    }
    uint8_t *from = t->random + sizeof t->random - t->random_left;
    memcpy(buf, from, len);
    memset(from, 0, len);   /* given out once */
    t->random_left -= len;
}

void
crypto_otp(char out[CRYPTO_OTP_SIZE])
{
    const uint32_t codes = 1000000;
    const uint32_t fair = UINT32_MAX - UINT32_MAX % codes;   /* above it some codes would come oftener */
    uint32_t n;

    do
        crypto_random(&n, sizeof n);
    while (n >= fair);
    n %= codes;
    for (int i = 5; i >= 0; i--, n /= 10)
        out[i] = (char)('0' + n % 10);
    out[6] = '\0';
}

static const char hex_digits[] = "0123456789abcdef";

static void
uuid_text(uint8_t b[16], uint8_t version, char out[CRYPTO_UUID_SIZE])
{
    b[6] = (uint8_t)((b[6] & 0x0f) | version << 4);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex_digits[b[i] >> 4];
        *out++ = hex_digits[b[i] & 15];
    }
    *out = '\0';
}

void
crypto_uuid4(char out[CRYPTO_UUID_SIZE])
{
    uint8_t b[16];

    crypto_random(b, sizeof b);
    uuid_text(b, 4, out);
}

void
crypto_uuid7(char out[CRYPTO_UUID_SIZE])
{
    struct timespec now;
    uint8_t b[16];

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    crypto_random(b + 6, 10);
    for (int i = 5; i >= 0; i--, ms >>= 8)
        b[i] = (uint8_t)ms;
    uuid_text(b, 7, out);
}

/* ---- hashes ---- */

void
crypto_sha256(const void *data, size_t len, uint8_t out[32])
{
    EVP_MD_CTX *c = contexts()->digest;

    must(EVP_DigestInit_ex2(c, sha256_md, NULL) && EVP_DigestUpdate(c, data, len) && EVP_DigestFinal_ex(c, out, NULL));
}

struct crypto_sha256 {
    EVP_MD_CTX *c;
};

struct crypto_sha256 *
crypto_sha256_begin(void)
{
    struct crypto_sha256 *s = malloc(sizeof *s);

    (void)contexts();   /* makes sha256_md */
    if (s == NULL || (s->c = EVP_MD_CTX_new()) == NULL) {
        free(s);
        return NULL;
    }
    must(EVP_DigestInit_ex2(s->c, sha256_md, NULL));
    return s;
}

void
crypto_sha256_add(struct crypto_sha256 *s, const void *data, size_t len)
{
    must(EVP_DigestUpdate(s->c, data, len));
}

void
crypto_sha256_end(struct crypto_sha256 *s, uint8_t out[32])
{
    must(EVP_DigestFinal_ex(s->c, out, NULL));
    EVP_MD_CTX_free(s->c);
    free(s);
}

static void
hmac_key(EVP_MAC_CTX *c, const void *key, size_t key_len)
{
    char sha256_name[] = "SHA256";
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256_name, 0),
                                  OSSL_PARAM_construct_end() };

    must(EVP_MAC_init(c, key_len > 0 ? key : "", key_len, params));
}

static void
hmac_end(EVP_MAC_CTX *c, uint8_t out[32])
{
    size_t out_len;

    must(EVP_MAC_final(c, out, &out_len, 32));
}

void
crypto_hmac(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32])
{
    EVP_MAC_CTX *c = contexts()->hmac;

    hmac_key(c, key, key_len);
    must(EVP_MAC_update(c, data, len));
    hmac_end(c, out);
}

/* Registered keys, appended only: n_macs is raised when the key is in its place. */
static struct {
    uint8_t key[CRYPTO_MAC_KEY_MAX];
    size_t len;
} mac_keys[CRYPTO_MACS_MAX];
static atomic_int n_macs;
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;

/* While ADDING is held. */
static int
mac_add(const void *key, size_t len)
{
    int id = atomic_load(&n_macs);

    must(id < CRYPTO_MACS_MAX);
    if (len > CRYPTO_MAC_KEY_MAX) {
        /* What HMAC itself does with a key longer than a block (RFC 2104 §2). */
        crypto_sha256(key, len, mac_keys[id].key);
        len = 32;
    } else
        memcpy(mac_keys[id].key, key, len);
    mac_keys[id].len = len;
    atomic_store(&n_macs, id + 1);
    return id;
}

int
crypto_mac_new(const void *key, size_t len)
{
    pthread_mutex_lock(&adding);
    int id = mac_add(key, len);
    pthread_mutex_unlock(&adding);
    return id;
}

/* This thread's context for the key ID, ready for text. */
static EVP_MAC_CTX *
mac_begin(int id)
{
    struct contexts *t = contexts();

    assert(id >= 0 && id < atomic_load(&n_macs));
    if (t->mac[id] == NULL) {
        t->mac[id] = EVP_MAC_CTX_new(hmac_mac);
        must(t->mac[id] != NULL);
        hmac_key(t->mac[id], mac_keys[id].key, mac_keys[id].len);
    } else
        must(EVP_MAC_init(t->mac[id], NULL, 0, NULL));   /* begin again under the same key */
    return t->mac[id];
}

void
crypto_mac(int id, const void *data, size_t len, uint8_t out[32])
{
    EVP_MAC_CTX *c = mac_begin(id);

    must(EVP_MAC_update(c, data, len));
    hmac_end(c, out);
}

bool
crypto_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

/* ---- keyring ---- */

/* Appended only, so readers need no lock: n is raised when the key is in its place. */
struct ring {
    struct {
        uint32_t version;
        uint8_t key[CRYPTO_KEY_LEN];
        int mac;   /* of a hash key */
    } keys[KEYS_MAX];
    atomic_size_t n;
    atomic_size_t newest;   /* its place plus one */
};
static struct ring rings[2];

/* The place of VERSION, -1 when it is not there. */
static int
ring_find(const struct ring *r, uint32_t version)
{
    for (size_t i = atomic_load(&r->n); i-- > 0;)
        if (r->keys[i].version == version)
            return (int)i;
    return -1;
}

bool
crypto_keyring_add(enum crypto_purpose purpose, uint32_t version, const uint8_t key[CRYPTO_KEY_LEN])
{
    struct ring *r = &rings[purpose];

    assert(version > 0);
    pthread_mutex_lock(&adding);
    size_t n = atomic_load(&r->n), newest = atomic_load(&r->newest);
    bool there = ring_find(r, version) >= 0, room = n < KEYS_MAX;
    if (!there && room) {
        r->keys[n].version = version;
        r->keys[n].mac = purpose == CRYPTO_HASH ? mac_add(key, CRYPTO_KEY_LEN) : -1;
        memcpy(r->keys[n].key, key, CRYPTO_KEY_LEN);
        atomic_store(&r->n, n + 1);
        if (newest == 0 || version > r->keys[newest - 1].version)
            atomic_store(&r->newest, n + 1);
    }
    pthread_mutex_unlock(&adding);
    return there || room;
}

bool
crypto_keyring_has(enum crypto_purpose purpose, uint32_t version)
{
    return ring_find(&rings[purpose], version) >= 0;
}

uint32_t
crypto_keyring_newest(enum crypto_purpose purpose)
{
    const struct ring *r = &rings[purpose];
    size_t newest = atomic_load(&r->newest);

    return newest == 0 ? 0 : r->keys[newest - 1].version;
}

/* ---- AES-256-GCM ---- */

/* nonce | ciphertext | tag at OUT.  KEY NULL: the one that is set already. */
static void
gcm_seal(EVP_CIPHER_CTX *c, const uint8_t *key, const void *aad, size_t aad_len, const void *plain, size_t len, uint8_t *out)
{
    int n;

    crypto_random(out, NONCE_LEN);
    must(EVP_EncryptInit_ex2(c, key != NULL ? gcm_cipher : NULL, key, out, NULL)
         && EVP_EncryptUpdate(c, NULL, &n, aad, (int)aad_len)
         && EVP_EncryptUpdate(c, out + NONCE_LEN, &n, plain, (int)len)
         && EVP_EncryptFinal_ex(c, out + NONCE_LEN + len, &n)
         && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + NONCE_LEN + len));
}

/* LEN bytes of nonce | ciphertext | tag.  What was decrypted before the tag failed is wiped. */
static bool
gcm_open(EVP_CIPHER_CTX *c, const uint8_t *key, const void *aad, size_t aad_len, const uint8_t *sealed, size_t len, void *out)
{
    size_t plain_len = len - NONCE_LEN - TAG_LEN;
    uint8_t tag[TAG_LEN];
    int n;

    memcpy(tag, sealed + len - TAG_LEN, TAG_LEN);
    must(EVP_DecryptInit_ex2(c, key != NULL ? gcm_cipher : NULL, key, sealed, NULL)
         && EVP_DecryptUpdate(c, NULL, &n, aad, (int)aad_len)
         && EVP_DecryptUpdate(c, out, &n, sealed + NONCE_LEN, (int)plain_len)
         && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag));
    if (EVP_DecryptFinal_ex(c, tag, &n) == 1)
        return true;
    OPENSSL_cleanse(out, plain_len);
    return false;
}

/* ---- wrapping data keys ---- */

static size_t
wrap_aad(enum crypto_purpose purpose, uint32_t version, char out[64])
{
    return (size_t)snprintf(out, 64, "data key:%s:%u", purpose == CRYPTO_SEAL ? "seal" : "hash", version);
}

/* The key that wraps, HKDF-SHA256 of ENCRYPTION_KEY, which may be any text. */
static void
wrapping_key(const char *master, uint8_t out[CRYPTO_KEY_LEN])
{
    char sha256_name[] = "SHA256", info[] = "selliko key wrapping 1";
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);
    union { const char *in; char *out; } ikm = { .in = master };   /* OSSL_PARAM knows no const */
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256_name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm.out, strlen(master)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(info)),
        OSSL_PARAM_construct_end(),
    };

    must(c != NULL && EVP_KDF_derive(c, out, CRYPTO_KEY_LEN, params));
    EVP_KDF_CTX_free(c);
    EVP_KDF_free(kdf);
}

void
crypto_wrap(const char *master, enum crypto_purpose purpose, uint32_t version, const uint8_t key[CRYPTO_KEY_LEN],
            uint8_t out[CRYPTO_WRAPPED_LEN])
{
    struct contexts *t = contexts();
    uint8_t wrapping[CRYPTO_KEY_LEN];
    char aad[64];

    wrapping_key(master, wrapping);
    t->seal_version = 0;
    gcm_seal(t->seal, wrapping, aad, wrap_aad(purpose, version, aad), key, CRYPTO_KEY_LEN, out);
    OPENSSL_cleanse(wrapping, sizeof wrapping);
}

bool
crypto_unwrap(const char *master, enum crypto_purpose purpose, uint32_t version, const uint8_t *wrapped, size_t wrapped_len,
              uint8_t key[CRYPTO_KEY_LEN])
{
    struct contexts *t = contexts();
    uint8_t wrapping[CRYPTO_KEY_LEN];
    char aad[64];

    if (wrapped_len != CRYPTO_WRAPPED_LEN)
        return false;
    wrapping_key(master, wrapping);
    t->unseal_version = 0;
    bool ok = gcm_open(t->unseal, wrapping, aad, wrap_aad(purpose, version, aad), wrapped, wrapped_len, key);
    OPENSSL_cleanse(wrapping, sizeof wrapping);
    return ok;
}

/* ---- sealed fields ---- */

/* "table.column:row-uuid". */
static size_t
field_aad(const char *field, const char *uuid, char out[AAD_MAX])
{
    size_t n = strlen(field);

    assert(n <= CRYPTO_FIELD_MAX);
    memcpy(out, field, n);
    out[n++] = ':';
    memcpy(out + n, uuid, 36);
    return n + 36;
}

size_t
crypto_seal(uint8_t *out, const char *field, const char *uuid, const void *plain, size_t len)
{
    const struct ring *r = &rings[CRYPTO_SEAL];
    struct contexts *t = contexts();
    size_t newest = atomic_load(&r->newest);
    char aad[AAD_MAX];

    if (newest == 0)
        return 0;
    uint32_t version = r->keys[newest - 1].version;
    const uint8_t *key = t->seal_version == version ? NULL : r->keys[newest - 1].key;
    t->seal_version = version;
    for (int i = 0; i < VERSION_LEN; i++)
        out[i] = (uint8_t)(version >> (24 - 8 * i));
    gcm_seal(t->seal, key, aad, field_aad(field, uuid, aad), plain, len, out + VERSION_LEN);
    return len + CRYPTO_SEAL_OVERHEAD;
}

uint32_t
crypto_sealed_version(const uint8_t *sealed, size_t len)
{
    if (len < CRYPTO_SEAL_OVERHEAD)
        return 0;
    return (uint32_t)sealed[0] << 24 | (uint32_t)sealed[1] << 16 | (uint32_t)sealed[2] << 8 | sealed[3];
}

enum crypto_result
crypto_unseal(void *out, size_t *out_len, const char *field, const char *uuid, const uint8_t *sealed, size_t len)
{
    const struct ring *r = &rings[CRYPTO_SEAL];
    struct contexts *t = contexts();
    uint32_t version = crypto_sealed_version(sealed, len);
    char aad[AAD_MAX];

    if (version == 0)
        return CRYPTO_DAMAGED;
    int at = ring_find(r, version);
    if (at < 0)
        return CRYPTO_NO_KEY;
    const uint8_t *key = t->unseal_version == version ? NULL : r->keys[at].key;
    t->unseal_version = version;
    if (!gcm_open(t->unseal, key, aad, field_aad(field, uuid, aad), sealed + VERSION_LEN, len - VERSION_LEN, out))
        return CRYPTO_DAMAGED;
    *out_len = len - CRYPTO_SEAL_OVERHEAD;
    return CRYPTO_OK;
}

size_t
crypto_seal_text(char *out, const char *field, const char *uuid, const void *plain, size_t len)
{
    /* The bytes are made in the upper half of OUT and spread from its beginning: hex of byte i goes to
     * 2 + 2 i, which stays below where byte i lies until the last one. */
    size_t sealed_len = len + CRYPTO_SEAL_OVERHEAD;
    char *raw = out + 2 + sealed_len;

    if (crypto_seal((uint8_t *)raw, field, uuid, plain, len) == 0)
        return 0;
    for (size_t i = 0; i < sealed_len; i++) {
        uint8_t b = (uint8_t)raw[i];
        out[2 + 2 * i] = hex_digits[b >> 4];
        out[3 + 2 * i] = hex_digits[b & 15];
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2 + 2 * sealed_len] = '\0';
    return 2 + 2 * sealed_len;
}

enum crypto_result
crypto_unseal_text(char *out, size_t *out_len, const char *field, const char *value, size_t len)
{
    const size_t uuid_len = 36;

    if (len < uuid_len + 2 || value[uuid_len] != '\\' || value[uuid_len + 1] != 'x') {
        memcpy(out, value, len);
        out[len] = '\0';
        *out_len = len;
        return CRYPTO_OK;
    }
    /* The hex is read into OUT and opened where it lies, which GCM can do. */
    uint8_t *raw = (uint8_t *)out;
    ssize_t n = encoding_unhex(raw, len, value + uuid_len + 2, len - uuid_len - 2);
    if (n < 0)
        return CRYPTO_DAMAGED;
    enum crypto_result result = crypto_unseal(raw + VERSION_LEN + NONCE_LEN, out_len, field, value, raw, (size_t)n);
    if (result == CRYPTO_OK) {
        memmove(out, raw + VERSION_LEN + NONCE_LEN, *out_len);
        out[*out_len] = '\0';
    }
    return result;
}

/* ---- looking up ---- */

bool
crypto_lookup(const char *kind, const char *value, uint8_t out[32])
{
    const struct ring *r = &rings[CRYPTO_HASH];
    size_t newest = atomic_load(&r->newest);

    if (newest == 0)
        return false;
    EVP_MAC_CTX *c = mac_begin(r->keys[newest - 1].mac);
    must(EVP_MAC_update(c, (const uint8_t *)kind, strlen(kind)) && EVP_MAC_update(c, (const uint8_t *)":", 1)
         && EVP_MAC_update(c, (const uint8_t *)value, strlen(value)));
    hmac_end(c, out);
    return true;
}

bool
crypto_lookup_text(const char *kind, const char *value, char out[CRYPTO_LOOKUP_TEXT_SIZE])
{
    uint8_t hash[32];

    if (!crypto_lookup(kind, value, hash))
        return false;
    out[0] = '\\';
    out[1] = 'x';
    encoding_hex(out + 2, hash, sizeof hash);
    return true;
}
