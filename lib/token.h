/* token -- access tokens (JWT, RFC 7519, HS256) and opaque refresh tokens.
 *
 * An access token carries the claims of struct token_claims and no others.  That its signature is
 * right says who the caller was when he signed in; whether the session still stands is the
 * database's to say (session_check), on every request.
 *
 * Verification is strict so that a token has one meaning: alg is HS256 (typ, if there, JWT), every
 * claim is there once and nothing else, strings are plain ASCII without escapes, base64url is
 * canonical, and there is nothing before or behind.
 *
 * token_init once before threads start; the rest from any thread. */
#ifndef SELLIKO_TOKEN_H
#define SELLIKO_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_MAX 1024   /* no token of ours is longer (they have about 330 bytes) */

struct token_claims {
    char user_id[37];      /* UUID, lower case */
    char phone[14];        /* +919876543210 */
    char role[8];          /* CLIENT, VENDOR, AGENT, ADMIN */
    char session_id[37];   /* UUID, lower case */
    int64_t iat, exp;      /* Unix seconds */
};

enum token_result {
    TOKEN_OK,
    TOKEN_MALFORMED,       /* not a token of this service in form */
    TOKEN_BAD_SIGNATURE,
    TOKEN_EXPIRED,         /* right in everything, but exp <= now */
};

/* SECRET is JWT_SECRET; kept, not copied. */
void token_init(const char *secret);

/* Write the token of CLAIMS with a NUL into OUT (JWS compact serialization, RFC 7515 §7.1); its length.  Claims that
 * do not fit are a bug. */
size_t token_make(const struct token_claims *claims, char out[TOKEN_MAX + 1]);

/* Judge the LEN bytes at S at the time NOW (Unix seconds).  CLAIMS are set for TOKEN_OK and
 * TOKEN_EXPIRED, otherwise untouched. */
enum token_result token_verify(const char *s, size_t len, int64_t now, struct token_claims *claims);

/* ---- refresh tokens: 256 random bits, base64url; the database keeps their SHA-256 only ---- */

#define TOKEN_REFRESH_SIZE 44        /* with the NUL */
#define TOKEN_REFRESH_HASH_SIZE 67   /* \x, 64 hex digits (bytea's text form), NUL */

/* A new one, with its NUL. */
void token_refresh_new(char out[TOKEN_REFRESH_SIZE]);

/* What the database keeps of the LEN bytes at S.  False, and OUT is not set, when they cannot be a refresh token of
 * ours. */
bool token_refresh_hash(const char *s, size_t len, char out[TOKEN_REFRESH_HASH_SIZE]);

#endif
