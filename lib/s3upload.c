/* s3upload -- see s3upload.h. */
#include "s3upload.h"

#include "crypto.h"
#include "encoding.h"
#include "log.h"
#include "s3_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART_S = 600, PARTS_MAX = 10000, ID_SIZE = 1024 };

struct s3upload {
    struct s3 *s3;
    const char *key;
    size_t part_bytes, len, n_parts;
    uint8_t *buf;                     /* of S3UPLOAD_PARTS parts */
    char (*etag)[sizeof ((struct s3flight *)NULL)->etag];
    char id[3 * ID_SIZE];             /* as it stands in a query; "" until the first parts are sent */
    struct crypto_sha256 *hash;
    int64_t size;
    enum s3_result result;
};

struct s3upload *
s3upload_begin(struct s3 *s3, const char *key, size_t part_bytes)
{
    struct s3upload *u = calloc(1, sizeof *u);

    if (u == NULL)
        return NULL;
    *u = (struct s3upload){ .s3 = s3, .key = key, .part_bytes = part_bytes, .hash = crypto_sha256_begin(),
                            .buf = malloc(S3UPLOAD_PARTS * part_bytes), .etag = calloc(PARTS_MAX, sizeof *u->etag) };
    if (u->hash != NULL && u->buf != NULL && u->etag != NULL)
        return u;
    (void)s3upload_end(u, false, &u->size, NULL);
    return NULL;
}

/* One call about UPLOAD as a whole.  What was answered is in ANSWER, to be freed by the caller. */
static enum s3_result
ask(struct s3upload *u, int what, const char *query, const char *body, char **answer, size_t *answer_len)
{
    struct s3_call call = { .what = what, .key = u->key };
    struct s3flight f = { .s3 = u->s3, .call = &call, .query = query, .fd = -1 };

    if (body != NULL)
        s3flight_lend(&f, body, strlen(body));
    (void)s3group_fly(u->s3, &f, 1, PART_S, false);
    *answer = f.answer;
    *answer_len = f.answer_len;
    return call.result;
}

static bool
get_id(struct s3upload *u)
{
    char id[ID_SIZE], *answer;
    size_t len;

    u->result = ask(u, S3_POST, "uploads=", "", &answer, &len);
    if (u->result == S3_OK &&
        (!s3list_text(answer, len, "UploadId", id, sizeof id) || sigv4_encode(u->id, sizeof u->id, id, false) == 0)) {
        log_error("the bucket's answer to the beginning of an upload cannot be understood");
        u->result = S3_REFUSED;
    }
    free(answer);
    return u->result == S3_OK;
}

/* Send what is in the buffer. */
static bool
send_parts(struct s3upload *u)
{
    struct s3_call call[S3UPLOAD_PARTS];
    struct s3flight f[S3UPLOAD_PARTS];
    char query[S3UPLOAD_PARTS][sizeof u->id + 64];
    size_t n = 0;

    if (u->id[0] == '\0' && !get_id(u))
        return false;
    for (size_t at = 0; at < u->len; at += u->part_bytes, n++) {
        size_t len = u->len - at < u->part_bytes ? u->len - at : u->part_bytes;
        if (u->n_parts + n == PARTS_MAX) {
            log_error("an upload is longer than its parts allow", log_s("key", u->key));
            u->result = S3_REFUSED;
            return false;
        }
        (void)snprintf(query[n], sizeof query[n], "partNumber=%zu&uploadId=%s", u->n_parts + n + 1, u->id);
        call[n] = (struct s3_call){ .what = S3_PUT, .key = u->key };
        f[n] = (struct s3flight){ .s3 = u->s3, .call = &call[n], .query = query[n], .fd = -1 };
        s3flight_lend(&f[n], u->buf + at, len);
    }
    bool good = s3group_fly(u->s3, f, n, PART_S, true);
    for (size_t i = 0; i < n; i++) {
        memcpy(u->etag[u->n_parts + i], f[i].etag, sizeof f[i].etag);
        free(f[i].answer);
        if (call[i].result != S3_OK && call[i].result != S3_SKIPPED)
            u->result = call[i].result;
    }
    u->n_parts += n;
    u->len = 0;
    return good;
}

bool
s3upload_write(struct s3upload *u, const void *data, size_t len)
{
    const size_t room = S3UPLOAD_PARTS * u->part_bytes;

    crypto_sha256_add(u->hash, data, len);
    u->size += (int64_t)len;
    for (const uint8_t *at = data; len > 0 && u->result == S3_OK;) {
        size_t n = len < room - u->len ? len : room - u->len;
        memcpy(u->buf + u->len, at, n);
        u->len += n;
        at += n;
        len -= n;
        if (u->len == room && !send_parts(u))
            return false;
    }
    return u->result == S3_OK;
}

/* Make one object of the parts.  A try whose answer was lost may have done it: then the id is gone and the object is
 * there. */
static enum s3_result
join_parts(struct s3upload *u)
{
    char query[sizeof u->id + 16], *body = NULL, *answer;
    size_t len;
    FILE *out = open_memstream(&body, &len);

    if (out == NULL)
        return S3_SKIPPED;
    fputs("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", out);
    for (size_t i = 0; i < u->n_parts; i++)
        fprintf(out, "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>", i + 1, u->etag[i]);
    fputs("</CompleteMultipartUpload>", out);
    bool whole = ferror(out) == 0;
    if (fclose(out) != 0 || !whole) {
        free(body);
        return S3_SKIPPED;
    }
    (void)snprintf(query, sizeof query, "uploadId=%s", u->id);
    enum s3_result result = ask(u, S3_POST, query, body, &answer, &len);
    free(answer);
    free(body);
    if (result != S3_OK) {
        struct s3_call head = { .what = S3_HEAD, .key = u->key };
        if (s3_run(u->s3, &head, 1, PART_S, false) && head.size == u->size)
            result = S3_OK;
    }
    return result;
}

enum s3_result
s3upload_end(struct s3upload *u, bool keep, int64_t *size, char sha256[65])
{
    uint8_t hash[32] = { 0 };
    enum s3_result result = u->result;

    if (u->hash != NULL)
        crypto_sha256_end(u->hash, hash);
    if (keep && result == S3_OK && u->id[0] == '\0') {   /* it is small */
        struct s3_call put = { .what = S3_PUT, .key = u->key };
        struct s3flight f = { .s3 = u->s3, .call = &put, .fd = -1 };
        s3flight_lend(&f, u->buf, u->len);
        (void)s3group_fly(u->s3, &f, 1, PART_S, false);
        free(f.answer);
        result = put.result;
    } else if (keep && result == S3_OK) {
        result = u->len == 0 || send_parts(u) ? join_parts(u) : u->result;
    }
    if (u->id[0] != '\0' && (!keep || result != S3_OK)) {
        char query[sizeof u->id + 16], *answer;
        size_t len;
        (void)snprintf(query, sizeof query, "uploadId=%s", u->id);
        (void)ask(u, S3_DELETE, query, NULL, &answer, &len);
        free(answer);
    }
    if (keep && result == S3_OK) {
        *size = u->size;
        (void)encoding_hex(sha256, hash, sizeof hash);
    }
    free(u->buf);
    free(u->etag);
    free(u);
    return result;
}
