/* sigv4 -- AWS signature version 4: who asks an S3-compatible service, and for what.
 *
 *   canonical request = method, path, sorted query, sorted headers, their names, hash of the body
 *   string to sign    = AWS4-HMAC-SHA256, time, scope (date/region/service/aws4_request), its hash
 *   key               = HMAC over date, region, service and "aws4_request", one inside the other
 *
 * as described in "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference and
 * in the IAM user guide.  Either as a header, or in the query of a URL that is good for a while (presigned).
 *
 * Pure functions, for any thread; nothing is allocated. */
#ifndef SELLIKO_SIGV4_H
#define SELLIKO_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose signature, and where it is good.  TOKEN (of temporary credentials) may be NULL. */
struct sigv4 {
    const char *key_id, *secret, *token, *region, *service;
};

/* Name in lower case; value without white space around it. */
struct sigv4_header {
    const char *name, *value;
};

#define SIGV4_DATE_SIZE 17        /* 20130524T000000Z, with its NUL */
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* NOW (Unix seconds) as the header x-amz-date has it. */
void sigv4_date(int64_t now, char out[SIGV4_DATE_SIZE]);

/* TEXT percent-encoded (RFC 3986 unreserved characters stay, and "/" where SLASH says so).  Returns its
 * length, or 0 when it does not fit in SIZE. */
size_t sigv4_encode(char *out, size_t size, const char *text, bool slash);

/* The value of the header Authorization.  PATH and QUERY are encoded already and the query is sorted ("" for
 * none); the N HEADERS are sorted by name, have host and x-amz-date, and are all that is signed.
 * PAYLOAD is the body's SHA-256 in hex.  False when SIZE is too small or the request too long (8 KiB). */
bool sigv4_authorization(const struct sigv4 *s, int64_t now, const char *method, const char *path, const char *query,
                         const struct sigv4_header *headers, size_t n, const char *payload, char *out, size_t size);

/* The query that makes a GET of PATH (encoded) from HOST good for EXPIRES_S seconds, without "?".  False when it
 * does not fit. */
bool sigv4_presign(const struct sigv4 *s, int64_t now, int expires_s, const char *host, const char *path, char *out,
                   size_t size);

#endif
