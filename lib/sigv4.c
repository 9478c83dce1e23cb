/* sigv4 -- see sigv4.h. */
#include "sigv4.h"

#include "crypto.h"
#include "encoding.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { REQUEST_MAX = 8192, HEX_SIZE = 65 };

/* Text that grows in a given room; once it did not fit it stays marked so. */
struct text {
    char *at;
    size_t len, size;
    bool full;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
put(struct text *t, const char *fmt, ...)
{
    va_list args;

    if (t->full)
        return;
    va_start(args, fmt);
    int n = vsnprintf(t->at + t->len, t->size - t->len, fmt, args);
    va_end(args);
    t->full = n < 0 || (size_t)n >= t->size - t->len;
    t->len += t->full ? 0 : (size_t)n;
}

static void
put_encoded(struct text *t, const char *s)
{
    if (t->full)
        return;
    size_t n = sigv4_encode(t->at + t->len, t->size - t->len, s, false);
    t->full = n == 0 && *s != '\0';
    t->len += n;
}

void
sigv4_date(int64_t now, char out[SIGV4_DATE_SIZE])
{
    time_t t = (time_t)now;
    struct tm tm;

    gmtime_r(&t, &tm);
    size_t n = strftime(out, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
    assert(n == SIGV4_DATE_SIZE - 1);
}

size_t
sigv4_encode(char *out, size_t size, const char *text, bool slash)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    for (const char *s = text; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                     c == '_' || c == '~' || (c == '/' && slash);
        if (n + (plain ? 1 : 3) >= size)
            return 0;
        if (plain) {
            out[n++] = *s;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    if (size > 0)
        out[n] = '\0';
    return n;
}

/* The signature over the canonical request in REQUEST, in hex. */
static void
sign(const struct sigv4 *s, const char date[SIGV4_DATE_SIZE], const char *scope, const struct text *request,
     char signature[HEX_SIZE])
{
    char secret[4 + 256], hex[HEX_SIZE], room[512];
    struct text string = { .at = room, .size = sizeof room };
    uint8_t key[32];

    crypto_sha256(request->at, request->len, key);
    (void)encoding_hex(hex, key, sizeof key);
    put(&string, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, hex);
    int n = snprintf(secret, sizeof secret, "AWS4%s", s->secret);
    assert(!string.full && n > 0 && (size_t)n < sizeof secret);

    crypto_hmac(secret, (size_t)n, date, 8, key);
    crypto_hmac(key, sizeof key, s->region, strlen(s->region), key);
    crypto_hmac(key, sizeof key, s->service, strlen(s->service), key);
    crypto_hmac(key, sizeof key, "aws4_request", 12, key);
    crypto_hmac(key, sizeof key, string.at, string.len, key);
    (void)encoding_hex(signature, key, sizeof key);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(key, sizeof key);
}

/* "20130524/us-east-1/s3/aws4_request"; false when these settings are longer than any are. */
static bool
scope_of(const struct sigv4 *s, const char *date, struct text *scope)
{
    put(scope, "%.8s/%s/%s/aws4_request", date, s->region, s->service);
    return !scope->full && strlen(s->secret) < 256;
}

bool
sigv4_authorization(const struct sigv4 *s, int64_t now, const char *method, const char *path, const char *query,
                    const struct sigv4_header *headers, size_t n, const char *payload, char *out, size_t size)
{
    char room[REQUEST_MAX], scope_room[160], date[SIGV4_DATE_SIZE], signature[HEX_SIZE];
    struct text request = { .at = room, .size = sizeof room }, scope = { .at = scope_room, .size = sizeof scope_room };
    struct text t = { .at = out, .size = size };

    sigv4_date(now, date);
    put(&request, "%s\n%s\n%s\n", method, path, query);
    for (size_t i = 0; i < n; i++) {
        assert(i == 0 || strcmp(headers[i - 1].name, headers[i].name) < 0);
        put(&request, "%s:%s\n", headers[i].name, headers[i].value);
    }
    put(&request, "\n");
    for (size_t i = 0; i < n; i++)
        put(&request, "%s%s", i > 0 ? ";" : "", headers[i].name);
    put(&request, "\n%s", payload);
    if (request.full || !scope_of(s, date, &scope))
        return false;
    sign(s, date, scope.at, &request, signature);

    put(&t, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", s->key_id, scope.at);
    for (size_t i = 0; i < n; i++)
        put(&t, "%s%s", i > 0 ? ";" : "", headers[i].name);
    put(&t, ", Signature=%s", signature);
    return !t.full;
}

bool
sigv4_presign(const struct sigv4 *s, int64_t now, int expires_s, const char *host, const char *path, char *out, size_t size)
{
    char room[REQUEST_MAX], scope_room[160], date[SIGV4_DATE_SIZE], signature[HEX_SIZE];
    struct text request = { .at = room, .size = sizeof room }, scope = { .at = scope_room, .size = sizeof scope_room };
    struct text t = { .at = out, .size = size };

    sigv4_date(now, date);
    if (!scope_of(s, date, &scope))
        return false;
    /* in the order of the names, as the canonical request wants them */
    put(&t, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=");
    put_encoded(&t, s->key_id);
    put(&t, "%%2F");
    put_encoded(&t, scope.at);
    put(&t, "&X-Amz-Date=%s&X-Amz-Expires=%d", date, expires_s);
    if (s->token != NULL) {
        put(&t, "&X-Amz-Security-Token=");
        put_encoded(&t, s->token);
    }
    put(&t, "&X-Amz-SignedHeaders=host");
    if (t.full)
        return false;
    put(&request, "GET\n%s\n%s\nhost:%s\n\nhost\nUNSIGNED-PAYLOAD", path, out, host);
    if (request.full)
        return false;
    sign(s, date, scope.at, &request, signature);
    put(&t, "&X-Amz-Signature=%s", signature);
    return !t.full;
}
