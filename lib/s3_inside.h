/* s3_inside -- what the modules behind s3.h share: the bucket (s3.c), a call on its way (s3flight.c), and groups of
 * them over kept connections (s3group.c).  s3upload.c makes calls of its own of these. */
#ifndef SELLIKO_S3_INSIDE_H
#define SELLIKO_S3_INSIDE_H

#include "s3.h"
#include "s3curl.h"
#include "sigv4.h"

#include <pthread.h>

enum { S3_PARALLEL = 8, S3_HOST_SIZE = 320 };

struct s3 {
    struct sigv4 who;
    int tries;
    char origin[S3_HOST_SIZE + 8];   /* https://host:port */
    const char *host;                /* in it */
    char prefix[256];                /* what stands before "/KEY" in paths: "/bucket", or nothing */
    pthread_mutex_t lock;            /* of what follows */
    struct s3session *idle;          /* s3group.c's */
};

/* Did snprintf, which returned N, write something that fits in SIZE bytes? */
static inline bool
s3_fits(int n, size_t size)
{
    return n > 0 && (size_t)n < size;
}

/* The encoded path of KEY ("" for the bucket itself).  False when it does not fit. */
bool s3_path(const struct s3 *s, const char *key, char *out, size_t size);

/* ---- s3flight: one call, from its first try to its end ---- */

/* Not a call for others: the beginning and the end of an upload in parts. */
enum { S3_POST = S3_DELETE + 1 };

/* It waits (for its turn, or for the next try), flies, and is judged: done, or waiting again. */
struct s3flight {
    /* Set by who makes it; the rest begins as zero. */
    struct s3 *s3;
    struct s3_call *call;           /* its file is not looked at where there are lent bytes or a query */
    const char *query;              /* of a list or a part, sorted and encoded: then the answer is kept; or NULL */
    int fd;                         /* what is got; -1 when there is none, and at first */

    enum { WAITING, FLYING, DONE } state;
    int tries;
    int64_t not_before_ms;          /* by clock_ms */
    CURL *easy;
    struct curl_slist *headers;
    const uint8_t *bytes;           /* what is sent: a mapped file's, or (LENT) the caller's */
    bool lent;
    size_t sent;
    char etag[128];                 /* of a part */
    bool broken;                    /* the file could not be written */
    char *answer;                   /* of a list, or of an error: to be freed by who made the flight */
    size_t answer_len, answer_room;
};

/* F carries the LEN bytes at DATA in place of a file.  They stay the caller's, and are there until its end. */
void s3flight_lend(struct s3flight *f, const void *data, size_t len);

/* Take off, LEFT_MS before it must be down; S3_OK when F flies.  S3_FILE, S3_REFUSED (it makes no address or no
 * signature, or there is no memory) or S3_UNREACHABLE (libcurl) when not: to be told to s3flight_end. */
enum s3_result s3flight_begin(struct s3flight *f, CURLM *multi, int64_t left_ms);

/* What came of F, which libcurl ended with CODE: true when it is worth another try, after DELAY_MS; else RESULT is
 * for s3flight_end, and what went wrong is logged. */
bool s3flight_judge(struct s3flight *f, CURLcode code, enum s3_result *result, int64_t *delay_ms);

/* The call is over with RESULT, or with S3_FILE when what was got cannot be read again.  Everything but the answer is
 * released. */
void s3flight_end(struct s3flight *f, enum s3_result result);

/* ---- s3group: many of them ---- */

/* Let the N FLIGHTS fly, S3_PARALLEL at a time, until each is done, WITHIN_S seconds at the most; STOP and the result
 * are those of s3_run.  Each call has its result. */
bool s3group_fly(struct s3 *s, struct s3flight *flights, size_t n, int within_s, bool stop);

/* Close the connections that S keeps; nothing flies any more. */
void s3group_close(struct s3 *s);

#endif
