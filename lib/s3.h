/* s3 -- objects in a bucket of an S3-compatible service, by libcurl.
 *
 * Addressed as https://BUCKET.s3.REGION.amazonaws.com/KEY, or as ENDPOINT/BUCKET/KEY where the service is another
 * one (and where the bucket's name has dots, which TLS certificates do not cover).
 *
 * Calls are made in groups, some at a time, over kept connections.  What may pass by itself (no connection, a
 * timeout, 429, 5xx) is tried again, each time signed anew, at most S3_TRIES times (or as the settings say) and
 * within the group's time.  What does not succeed is logged with the service's own word for it.
 *
 * libcurl and what it brings along are loaded at the first call, not at the start: a program that keeps its
 * files in a folder, or only presigns, never carries them.
 *
 * From any thread at any time, except s3_close: then nothing is under way.  What is sent as a stream: s3upload.h. */
#ifndef SELLIKO_S3_H
#define SELLIKO_S3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3list.h"

enum { S3_TRIES = 4, S3_PATH_SIZE = 6144 };

/* As in the configuration: ENDPOINT and TOKEN may be NULL.  The texts are kept, not copied, until s3_close. */
struct s3_settings {
    const char *bucket, *endpoint, *region, *key_id, *secret, *token;
    int tries;   /* 0 is S3_TRIES */
};

struct s3;

/* Asks the service nothing.  NULL when the settings make no address, errno then being EINVAL, or ENOMEM.  Owned by the
 * caller until s3_close; s3_close(NULL) does nothing. */
struct s3 *s3_open(const struct s3_settings *settings);
void s3_close(struct s3 *s3);

enum s3_result {
    S3_OK,
    S3_ABSENT,        /* there is no such object */
    S3_REFUSED,       /* the service will not do it: rights, credentials, no such bucket, the clock */
    S3_UNREACHABLE,   /* it did not answer in time, or only with errors of its own */
    S3_FILE,          /* the local file could not be read or written; errno is lost */
    S3_SKIPPED,       /* not begun, because another call of the group failed, or for want of memory */
};

/* KEY and FILE are the caller's, and stay until the end of s3_run; from RESULT on it tells. */
struct s3_call {
    enum { S3_PUT, S3_GET, S3_HEAD, S3_DELETE } what;
    const char *key;
    const char *file;      /* PUT reads it; GET makes it (0644; it must not exist) and, when it fails, removes it */
    enum s3_result result;
    int64_t size;          /* of the object; not of DELETE */
    char sha256[65];       /* PUT, GET: of the bytes; HEAD: what PUT noted, "" when it was not us; in hex */
    char noted[65];        /* GET: what PUT noted, "" when it was not us */
};

/* Make the N CALLS within WITHIN_S seconds, and come back when each has its result.  True when all are S3_OK.  After a
 * failure no other call is begun where STOP says so.  A DELETE of what is not there is S3_OK; a PUT is checked by the
 * service against its SHA-256, which stays with the object. */
bool s3_run(struct s3 *s3, struct s3_call *calls, size_t n, int within_s, bool stop);

/* Call EACH for every object whose key begins with PREFIX, in the order of keys, or (FOLDERS) for what
 * is one level below PREFIX, until it returns false.  Each page of a thousand has WITHIN_S seconds.  S3_OK, also when
 * there is none or EACH had enough; S3_REFUSED also for an answer that is no list; S3_UNREACHABLE.  What came before a
 * failure has been told by then. */
enum s3_result s3_list(struct s3 *s3, const char *prefix, bool folders, int within_s,
                       bool (*each)(void *ctx, const struct s3list_entry *entry), void *ctx);

/* The path and query of a GET of KEY that is good for EXPIRES_S seconds from NOW (Unix seconds), encoded; the host is
 * that of the settings.  Asks nobody.  False when it does not fit. */
bool s3_presign(const struct s3 *s3, const char *key, int64_t now, int expires_s, char out[S3_PATH_SIZE]);

/* What went wrong, a static text to follow a name: "is not in the bucket"; S3_OK and S3_SKIPPED: "was not tried". */
const char *s3_problem(enum s3_result result);

#endif
