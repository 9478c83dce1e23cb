/* crypto -- random things, hashes, and the sealing of personal data.  OpenSSL is used here only.
 *
 * Sealed values are AES-256-GCM under a data key of the keyring:
 *
 *   key version (4 bytes, big endian) | nonce (12) | ciphertext | tag (16)
 *
 * with "table.column:row-uuid" as associated data, so that a value moved to another row or column
 * does not open.  The newest version seals, all versions unseal.  Data keys lie in the database,
 * wrapped under a key derived (HKDF-SHA256, RFC 5869) from ENCRYPTION_KEY; this module knows no
 * database: who loads them calls crypto_keyring_add.
 *
 * Every function may be called from any thread at any time, also while a key is being added: keys are
 * only ever added to the keyring.  Contexts are kept for each thread, so nothing but crypto_sha256_begin
 * allocates after a thread's first call.  Where the random generator or the cipher itself fails, the process
 * aborts: going on would mean weak secrets. */
#ifndef SELLIKO_CRYPTO_H
#define SELLIKO_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- random ---- */

#define CRYPTO_UUID_SIZE 37   /* with the NUL */
#define CRYPTO_OTP_SIZE 7

/* LEN random bytes of OpenSSL's generator, fit for keys. */
void crypto_random(void *buf, size_t len);

/* Six decimal digits, each of the million codes equally likely. */
void crypto_otp(char out[CRYPTO_OTP_SIZE]);

/* RFC 9562, lower case.  Version 7 begins with the time in milliseconds, which is kind to the indexes
 * of rows that are made all day; version 4 (sessions, OTPs) says nothing about its making. */
void crypto_uuid4(char out[CRYPTO_UUID_SIZE]);
void crypto_uuid7(char out[CRYPTO_UUID_SIZE]);

/* ---- hashes ---- */

/* FIPS 180-4. */
void crypto_sha256(const void *data, size_t len, uint8_t out[32]);

/* The same of what comes in pieces.  NULL when there is no memory; owned by the caller until crypto_sha256_end. */
struct crypto_sha256 *crypto_sha256_begin(void);
void crypto_sha256_add(struct crypto_sha256 *s, const void *data, size_t len);
void crypto_sha256_end(struct crypto_sha256 *s, uint8_t out[32]);

/* HMAC-SHA256 (RFC 2104) under a key that is used once. */
void crypto_hmac(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32]);

/* HMAC-SHA256 under a key that stays: register it once (from any thread; it is copied), then use the
 * number for ever.  A third of crypto_hmac's cost.  At most CRYPTO_MACS_MAX keys in a process. */
#define CRYPTO_MACS_MAX 32
#define CRYPTO_MAC_KEY_MAX 64   /* longer ones are hashed first, as HMAC says */
int crypto_mac_new(const void *key, size_t len);
void crypto_mac(int id, const void *data, size_t len, uint8_t out[32]);

/* Equal content, in a time that depends on LEN only. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* ---- keyring ---- */

enum crypto_purpose { CRYPTO_SEAL, CRYPTO_HASH };

#define CRYPTO_KEY_LEN 32
#define CRYPTO_WRAPPED_LEN 60   /* nonce 12 | ciphertext 32 | tag 16 */

/* Add a data key.  VERSION ≥ 1; a version that is there already is left as it is.  False only when
 * the ring is full (256 keys). */
bool crypto_keyring_add(enum crypto_purpose purpose, uint32_t version, const uint8_t key[CRYPTO_KEY_LEN]);

/* Whether VERSION is there. */
bool crypto_keyring_has(enum crypto_purpose purpose, uint32_t version);

/* The highest version, which seals; 0 when there is none. */
uint32_t crypto_keyring_newest(enum crypto_purpose purpose);

/* Wrap a data key for the table encryption_keys, bound to its purpose and version.  MASTER is
 * ENCRYPTION_KEY as it stands in the configuration. */
void crypto_wrap(const char *master, enum crypto_purpose purpose, uint32_t version,
                 const uint8_t key[CRYPTO_KEY_LEN], uint8_t out[CRYPTO_WRAPPED_LEN]);

/* The inverse.  False: another master key, purpose or version, or damage. */
bool crypto_unwrap(const char *master, enum crypto_purpose purpose, uint32_t version, const uint8_t *wrapped,
                   size_t wrapped_len, uint8_t key[CRYPTO_KEY_LEN]);

/* ---- sealed fields ---- */

enum crypto_result {
    CRYPTO_OK,
    CRYPTO_NO_KEY,   /* the keyring lacks this version: load it again and retry */
    CRYPTO_DAMAGED,  /* not a sealed value, altered, or of another field or row */
};

#define CRYPTO_SEAL_OVERHEAD 32
#define CRYPTO_FIELD_MAX 128   /* bytes in "table.column" */

/* Seal LEN bytes for FIELD ("listings.imei1") of the row UUID.  OUT has LEN + CRYPTO_SEAL_OVERHEAD;
 * returns that length, or 0 when the keyring has no key. */
size_t crypto_seal(uint8_t *out, const char *field, const char *uuid, const void *plain, size_t len);

/* Open SEALED (LEN bytes).  OUT has LEN bytes, of which *OUT_LEN are set; nothing is when it fails. */
enum crypto_result crypto_unseal(void *out, size_t *out_len, const char *field, const char *uuid,
                                 const uint8_t *sealed, size_t len);

/* Which key version sealed this; 0 when it cannot be a sealed value. */
uint32_t crypto_sealed_version(const uint8_t *sealed, size_t len);

/* The same in PostgreSQL's text form of bytea (\x and hex), as statements take and give it.
 * OUT has CRYPTO_SEALED_TEXT_SIZE(len); returns the length without the NUL, 0 without a key. */
#define CRYPTO_SEALED_TEXT_SIZE(len) (2 + 2 * ((len) + CRYPTO_SEAL_OVERHEAD) + 1)
size_t crypto_seal_text(char *out, const char *field, const char *uuid, const void *plain, size_t len);

/* Open what SQL hands out as row uuid || sealed::text, `xxxxxxxx-…\x01ab…` (LEN bytes).  A VALUE without
 * \x at position 36 is masked plain text already and is copied.  OUT has LEN + 1 and gets a NUL. */
enum crypto_result crypto_unseal_text(char *out, size_t *out_len, const char *field, const char *value, size_t len);

/* ---- looking up ---- */

/* HMAC-SHA256(hash key, KIND ":" VALUE), KIND "phone", "imei", "otp" …  False when the keyring has no
 * hash key.  The text form is \x and 64 hex digits. */
#define CRYPTO_LOOKUP_TEXT_SIZE 67
bool crypto_lookup(const char *kind, const char *value, uint8_t out[32]);
bool crypto_lookup_text(const char *kind, const char *value, char out[CRYPTO_LOOKUP_TEXT_SIZE]);

#endif
