/* store_s3 -- the published part of a store in a bucket; what store.h says of the functions without _s3 holds.
 * Keys were checked by store.c, the only one who calls these. */
#ifndef SELLIKO_STORE_S3_H
#define SELLIKO_STORE_S3_H

#include "store.h"

/* NAME, a file or a folder in the folder STAGE, goes to KEY.  STORE_EXISTS, or STORE_FAILED (logged): what had arrived
 * is deleted again. */
enum store_error store_s3_publish(struct s3 *bucket, const char *stage, const char *name, const char *key);

/* As store_delete, store_look, store_each (whatever the folders' age) and store_is_old; STORE_FAILED when the bucket
 * does not do it, which is logged. */
enum store_error store_s3_delete(struct s3 *bucket, const char *key);
enum store_error store_s3_look(struct s3 *bucket, const char *key, bool *there);
enum store_error store_s3_each(struct s3 *bucket, const char *group, bool (*each)(void *ctx, const char *id), void *ctx);
bool store_s3_is_old(struct s3 *bucket, const char *key, int64_t age_s);

/* The bucket of the configuration, the caller's to close; NULL, with errno, when its settings make no address. */
struct s3 *store_s3_open(void);

#endif
