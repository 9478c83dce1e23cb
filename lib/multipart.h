/* multipart -- a form's parts out of a stream of bytes (RFC 7578, RFC 2046 section 5.1).
 *
 * Bytes go in as they arrive, in pieces of any size; parts come out through three callbacks.  It knows
 * nothing of HTTP, of files or of what a form means, keeps nothing of a part but its headers (in a
 * buffer of its own, so there is nothing to free) and does a fixed amount of work per byte, whatever
 * the bytes are.  One parser serves one body and belongs to one thread at a time.
 *
 * It is strict: what is not a form as browsers, phones and curl send it is an error, and the first
 * error is final.  Text is not judged: values and names may hold any bytes, also NUL or broken UTF-8.
 *
 *     char boundary[MULTIPART_BOUNDARY_MAX + 1];
 *     struct multipart m;
 *     if (multipart_boundary(content_type, boundary) == MULTIPART_OK) {
 *         multipart_init(&m, boundary, &limits, &events, ctx);
 *         while (... more ...)
 *             if (multipart_feed(&m, bytes, len) != MULTIPART_OK)
 *                 break;
 *         error = multipart_finish(&m);
 *     }
 */
#ifndef SELLIKO_MULTIPART_H
#define SELLIKO_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#define MULTIPART_BOUNDARY_MAX 70 /* RFC 2046 section 5.1.1 */
#define MULTIPART_HEADERS_MAX 8192

/* What can be wrong; multipart_strerror has a sentence for the log. */
#define MULTIPART_ERRORS(X)                                                             \
    X(OK, "no error")                                                                   \
    X(NOT_FORM_DATA, "the content type is not multipart/form-data")                     \
    X(BAD_BOUNDARY, "the content type has no boundary, two of them or an invalid one")  \
    X(BAD_DELIMITER, "something else than a line's end follows a boundary")             \
    X(TRUNCATED, "the closing boundary is missing")                                     \
    X(TOO_MANY_PARTS, "there are too many parts")                                       \
    X(HEADERS_TOO_LONG, "a part's headers are too long")                                \
    X(BAD_HEADERS, "a part's headers are malformed")                                    \
    X(BAD_DISPOSITION, "a part has no form-data disposition, two of them or a malformed one") \
    X(NO_NAME, "a part has no name")                                                    \
    X(NAME_TOO_LONG, "a part's name is too long")                                       \
    X(BAD_ENCODING, "a part is base64 or quoted-printable")                             \
    X(STOPPED, "a callback asked to stop")

enum multipart_error {
#define X(code, sentence) MULTIPART_##code,
    MULTIPART_ERRORS(X)
#undef X
};

/* A part's headers.  The strings live until the part_begin that is given them returns.  %22, %0D, %0A
 * and backslashes are undone, so a name may hold quotes and line ends; it cannot hold a NUL. */
struct multipart_part {
    const char *name;         /* never empty */
    const char *filename;     /* NULL: the part is a field; may be empty (a file input left empty) */
    const char *content_type; /* as sent, without the spaces around it; NULL when not sent */
};

/* Called in the order begin, data (any number of times, never with 0 bytes), end.  Each returns true to
 * go on and false to stop, after which nothing more is called. */
struct multipart_events {
    bool (*part_begin)(void *ctx, const struct multipart_part *part);
    bool (*part_data)(void *ctx, const void *bytes, size_t len);
    bool (*part_end)(void *ctx);
};

struct multipart_limits {
    size_t parts_max;       /* a part more is MULTIPART_TOO_MANY_PARTS */
    size_t headers_max_len; /* of one part, in bytes; at most MULTIPART_HEADERS_MAX */
    size_t name_max_len;    /* of the decoded name, in bytes */
};

/* The fields are multipart.c's own. */
struct multipart {
    struct multipart_limits limits;
    const struct multipart_events *events;
    void *ctx;
    enum multipart_error error;
    enum { MP_PREAMBLE, MP_DELIMITED, MP_DELIMITED_CR, MP_CLOSING, MP_HEADERS, MP_BODY, MP_EPILOGUE } state;
    size_t n_parts;
    size_t delimiter_len; /* of delimiter: CR LF - - boundary */
    size_t matched;       /* bytes of delimiter seen */
    size_t implied;       /* of those, how many were not in this part's data */
    size_t headers_len;
    char delimiter[4 + MULTIPART_BOUNDARY_MAX + 1];
    char headers[MULTIPART_HEADERS_MAX + 1];
};

/* Take the boundary, unquoted, out of a Content-Type header's value, which may be NULL.
 * MULTIPART_OK, MULTIPART_NOT_FORM_DATA or MULTIPART_BAD_BOUNDARY. */
enum multipart_error multipart_boundary(const char *content_type, char boundary[MULTIPART_BOUNDARY_MAX + 1]);

/* Begin.  BOUNDARY comes from multipart_boundary; it and LIMITS are copied, EVENTS and CTX must live as
 * long as M does. */
void multipart_init(struct multipart *m, const char *boundary, const struct multipart_limits *limits,
                    const struct multipart_events *events, void *ctx);

/* The next LEN bytes.  The first error is remembered: further calls return it and do nothing. */
enum multipart_error multipart_feed(struct multipart *m, const void *bytes, size_t len);

/* The body is over: MULTIPART_OK when the closing boundary was seen, MULTIPART_TRUNCATED when not, or the
 * error that feeding met.  A form without a part is no error. */
enum multipart_error multipart_finish(struct multipart *m);

/* A sentence for the log. */
const char *multipart_strerror(enum multipart_error error);

#endif
