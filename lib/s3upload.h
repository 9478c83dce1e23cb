/* s3upload -- an object of unknown size, sent to a bucket as a stream.
 *
 * It goes in parts of PART_BYTES (at least 5 MiB, at most 10,000 of them, the service says: Amazon S3, "Uploading and
 * copying objects using multipart upload"), S3UPLOAD_PARTS of which are in memory and under way at a time; what is
 * shorter than those goes as a whole.  Until the end there is no object of that key, and what was there before stays.
 *
 * An upload is one thread's. */
#ifndef SELLIKO_S3UPLOAD_H
#define SELLIKO_S3UPLOAD_H

#include "s3.h"

enum { S3UPLOAD_PARTS = 3 };

struct s3upload;

/* NULL when there is no memory.  S3 and KEY are kept, not copied.  Owned by the caller until s3upload_end. */
struct s3upload *s3upload_begin(struct s3 *s3, const char *key, size_t part_bytes);

/* False, logged, when the service does not take it, or not so much: then only s3upload_end(…, false, …) is of use. */
bool s3upload_write(struct s3upload *upload, const void *data, size_t len);

/* KEEP makes the object of all that was written and, with S3_OK, tells its size and hash; otherwise what was sent is
 * forgotten by the service, and the two are not looked at.  S3_SKIPPED: there was no memory.  UPLOAD is freed. */
enum s3_result s3upload_end(struct s3upload *upload, bool keep, int64_t *size, char sha256[65]);

#endif
