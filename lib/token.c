#include "token.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crypto.h"
#include "encoding.h"
#include "valid.h"

#define SIGNATURE_LEN 43   /* 32 bytes in base64url */
#define JSON_MAX (TOKEN_MAX * 3 / 4)

/* {"alg":"HS256","typ":"JWT"}: ours, and that of most libraries, so it is compared before it is read. */
static const char header[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

static const char *const roles[] = { "CLIENT", "VENDOR", "AGENT", "ADMIN" };

static int key = -1;

void
token_init(const char *secret)
{
    key = crypto_mac_new(secret, strlen(secret));
}

size_t
token_make(const struct token_claims *c, char out[TOKEN_MAX + 1])
{
    char json[JSON_MAX];
    uint8_t signature[32];
    size_t n = sizeof header - 1;

    int json_len = snprintf(json, sizeof json,
                            "{\"userId\":\"%s\",\"phone\":\"%s\",\"role\":\"%s\",\"sessionId\":\"%s\",\"iat\":%" PRId64
                            ",\"exp\":%" PRId64 "}",
                            c->user_id, c->phone, c->role, c->session_id, c->iat, c->exp);
    assert(json_len > 0 && (size_t)json_len < sizeof json / 2);
    memcpy(out, header, n);
    out[n++] = '.';
    n += encoding_b64url(out + n, json, (size_t)json_len);
    crypto_mac(key, out, n, signature);
    out[n++] = '.';
    return n + encoding_b64url(out + n, signature, sizeof signature);
}

/* ---- a reader of flat JSON objects: plain strings and whole numbers, nothing else ---- */

struct reader {
    const char *p, *end;
};

struct value {
    const char *text;   /* NULL: a number */
    size_t len;
    int64_t number;
};

static void
skip_white(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

/* Take the character C, behind any white space; false when another one is next. */
static bool
take(struct reader *r, char c)
{
    skip_white(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

/* A string without escapes: none of our claims needs one, and so each has one spelling. */
static bool
take_string(struct reader *r, const char **text, size_t *len)
{
    if (!take(r, '"'))
        return false;
    *text = r->p;
    while (r->p < r->end && *r->p != '"') {
        if (*r->p < 0x20 || *r->p > 0x7e || *r->p == '\\')
            return false;
        r->p++;
    }
    *len = (size_t)(r->p - *text);
    return take(r, '"');
}

static bool
take_value(struct reader *r, struct value *v)
{
    *v = (struct value){ 0 };
    if (take_string(r, &v->text, &v->len))
        return true;
    if (v->text != NULL)
        return false;
    /* take() has skipped the white space.  Fifteen digits cannot overflow, nor can they be lost in a
     * reader that keeps numbers as doubles. */
    const char *start = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    size_t len = (size_t)(r->p - start);
    return len > 0 && len <= 15 && (len == 1 || *start != '0') && valid_int(start, len, 0, INT64_MAX, &v->number);
}

/* Read the object at R and give each member to TAKE, which says whether it is right. */
static bool
read_object(struct reader r, bool (*member)(void *ctx, const char *name, size_t name_len, const struct value *v), void *ctx)
{
    const char *name;
    size_t name_len;
    struct value v;

    if (!take(&r, '{'))
        return false;
    do {
        if (!take_string(&r, &name, &name_len) || !take(&r, ':') || !take_value(&r, &v) || !member(ctx, name, name_len, &v))
            return false;
    } while (take(&r, ','));
    if (!take(&r, '}'))
        return false;
    skip_white(&r);
    return r.p == r.end;
}

static bool
is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* ---- header ---- */

enum { SEEN_ALG = 1, SEEN_TYP = 2 };

static bool
header_member(void *ctx, const char *name, size_t len, const struct value *v)
{
    unsigned *seen = ctx, this;

    if (v->text == NULL)
        return false;
    if (is(name, len, "alg") && is(v->text, v->len, "HS256"))
        this = SEEN_ALG;
    else if (is(name, len, "typ") && is(v->text, v->len, "JWT"))
        this = SEEN_TYP;
    else
        return false;   /* also crit, which must be understood (RFC 7515 §4.1.11) */
    bool fresh = (*seen & this) == 0;
    *seen |= this;
    return fresh;
}

static bool
header_ok(const char *s, size_t len)
{
    char json[128];
    unsigned seen = 0;

    if (is(s, len, header))
        return true;
    ssize_t n = encoding_b64url_decode(json, sizeof json, s, len);
    return n > 0 && read_object((struct reader){ json, json + n }, header_member, &seen) && (seen & SEEN_ALG) != 0;
}

/* ---- claims ---- */

enum { SEEN_USER = 1, SEEN_PHONE = 2, SEEN_ROLE = 4, SEEN_SESSION = 8, SEEN_IAT = 16, SEEN_EXP = 32, SEEN_ALL = 63 };

struct claims_read {
    struct token_claims claims;
    unsigned seen;
};

/* V as text into TO of SIZE bytes. */
static bool
keep(const struct value *v, char *to, size_t size)
{
    if (v->text == NULL || v->len >= size)
        return false;
    memcpy(to, v->text, v->len);
    to[v->len] = '\0';
    return true;
}

static bool
is_role(const char *role)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

static bool
claim(void *ctx, const char *name, size_t len, const struct value *v)
{
    struct claims_read *r = ctx;
    struct token_claims *c = &r->claims;
    unsigned this;
    bool ok;

    if (is(name, len, "userId")) {
        this = SEEN_USER;
        ok = v->text != NULL && valid_uuid(v->text, v->len, c->user_id);
    } else if (is(name, len, "phone")) {
        this = SEEN_PHONE;
        ok = keep(v, c->phone, sizeof c->phone) && valid_phone(c->phone);
    } else if (is(name, len, "role")) {
        this = SEEN_ROLE;
        ok = keep(v, c->role, sizeof c->role) && is_role(c->role);
    } else if (is(name, len, "sessionId")) {
        this = SEEN_SESSION;
        ok = v->text != NULL && valid_uuid(v->text, v->len, c->session_id);
    } else if (is(name, len, "iat")) {
        this = SEEN_IAT;
        ok = v->text == NULL;
        c->iat = v->number;
    } else if (is(name, len, "exp")) {
        this = SEEN_EXP;
        ok = v->text == NULL;
        c->exp = v->number;
    } else
        return false;
    ok = ok && (r->seen & this) == 0;
    r->seen |= this;
    return ok;
}

enum token_result
token_verify(const char *s, size_t len, int64_t now, struct token_claims *claims)
{
    char json[JSON_MAX];
    uint8_t given[32], expected[32];
    struct claims_read r = { .seen = 0 };

    assert(key >= 0);
    if (len > TOKEN_MAX || len < SIGNATURE_LEN + 2)
        return TOKEN_MALFORMED;
    /* header.claims.signature; what base64url refuses includes a further point. */
    size_t signed_len = len - SIGNATURE_LEN - 1;
    const char *point = memchr(s, '.', signed_len);
    if (point == NULL || s[signed_len] != '.' || !header_ok(s, (size_t)(point - s)))
        return TOKEN_MALFORMED;
    if (encoding_b64url_decode(given, sizeof given, s + signed_len + 1, SIGNATURE_LEN) != sizeof given)
        return TOKEN_MALFORMED;
    crypto_mac(key, s, signed_len, expected);
    if (!crypto_equal(given, expected, sizeof given))
        return TOKEN_BAD_SIGNATURE;

    ssize_t n = encoding_b64url_decode(json, sizeof json, point + 1, signed_len - (size_t)(point + 1 - s));
    if (n < 0 || !read_object((struct reader){ json, json + n }, claim, &r) || r.seen != SEEN_ALL)
        return TOKEN_MALFORMED;
    *claims = r.claims;
    return r.claims.exp > now ? TOKEN_OK : TOKEN_EXPIRED;
}

/* ---- refresh tokens ---- */

void
token_refresh_new(char out[TOKEN_REFRESH_SIZE])
{
    uint8_t random[32];

    crypto_random(random, sizeof random);
    encoding_b64url(out, random, sizeof random);
}

bool
token_refresh_hash(const char *s, size_t len, char out[TOKEN_REFRESH_HASH_SIZE])
{
    uint8_t random[32], hash[32];

    if (len != TOKEN_REFRESH_SIZE - 1 || encoding_b64url_decode(random, sizeof random, s, len) != sizeof random)
        return false;
    /* 256 random bits cannot be guessed from a plain hash: there is nothing to slow down. */
    crypto_sha256(s, len, hash);
    out[0] = '\\';
    out[1] = 'x';
    encoding_hex(out + 2, hash, sizeof hash);
    return true;
}
