/* store -- the files that are published: photos, bills, verification photos.
 *
 * A published file has a key, which is also its path in file URLs:
 *
 *     listings/{id}/device/photo1_full.jpg      listings/{id}/bill/bill.pdf
 *     verification/{orderId}/{name}.jpg
 *
 * What is made for a listing is first gathered in a stage, a private folder, and then published as a
 * whole: a reader sees all of it or nothing, whenever power is cut.  A stage that was never published
 * (its program died) is removed by store_purge.  Stages lie in the folder staging/ beside what is
 * published, on the same file system, because publishing is a rename.
 *
 * Keys are made by the programs, never from what a client sent; still every function refuses a key with
 * an empty, "." or ".." member, or outside of listings/ and verification/ (STORE_BAD_KEY).
 *
 * What is published lies in a local folder, or in a bucket (S3) under the same keys; stages are always local,
 * since image workers read and write files.  In a bucket a folder is its objects: it appears and goes object
 * by object, which no reader sees because its URLs are given out after the row that names it was committed.
 *
 * A store may be used by all threads at once; a stage belongs to one thread at a time. */
#ifndef SELLIKO_STORE_H
#define SELLIKO_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_error {
    STORE_OK,
    STORE_EXISTS,  /* something is published under this key */
    STORE_BAD_KEY, /* a bug of the caller */
    STORE_FULL,    /* no space, quota or inode left */
    STORE_FAILED,  /* anything else; errno says what */
};

struct s3;
struct store;
struct store_stage;

/* Open the store in folder ROOT, making it and its folders when missing (0755).  STORE_FULL or STORE_FAILED
 * leave *STORE NULL.  Owned by the caller until store_close; store_close(NULL) does nothing. */
enum store_error store_open(const char *root, struct store **store);
void store_close(struct store *store);

/* The store of the configuration: STATE_DIR/uploads, and the bucket when S3_BUCKET_NAME is set.  When it fails that
 * was said on stderr. */
enum store_error store_open_configured(struct store **store);

/* From now on what is published is in BUCKET, which becomes the store's. */
void store_use_bucket(struct store *store, struct s3 *bucket);

/* ---- stages: what is not published yet ------------------------------------------------------------ */

/* A new empty stage, owned by the caller until store_stage_end.  STORE_FULL or STORE_FAILED leave *STAGE NULL. */
enum store_error store_stage_begin(struct store *store, struct store_stage **stage);

/* Remove the stage with all that is still in it, and free it.  Keeps errno.  store_stage_end(NULL) does
 * nothing. */
void store_stage_end(struct store_stage *stage);

/* The stage's absolute path, valid as long as the stage. */
const char *store_stage_path(const struct store_stage *stage);

/* Make folder NAME ("out/device", parents too, existing ones are fine) in the stage. */
enum store_error store_stage_mkdir(struct store_stage *stage, const char *name);

/* Create file NAME in the stage, for writing; *FD is the caller's to close.  Its folder must exist, it must not. */
enum store_error store_stage_create(struct store_stage *stage, const char *name, int *fd);

/* ---- what is published ------------------------------------------------------------------------------ */

/* Publish folder NAME of the stage, with all in it, under KEY ("listings/{id}"): durable when STORE_OK is
 * returned, and at no time visible in part.  STORE_EXISTS when there is a folder of that key with
 * anything in it.  Afterwards the stage has no folder NAME any more. */
enum store_error store_publish_folder(struct store_stage *stage, const char *name, const char *key);

/* The same for the one file NAME under KEY ("verification/{orderId}/{x}.jpg"), whose folder is made when
 * missing. */
enum store_error store_publish_file(struct store_stage *stage, const char *name, const char *key);

/* Remove what is published under KEY, a folder with all in it or a file.  It is gone for readers at once and as
 * a whole.  STORE_OK also when there is nothing. */
enum store_error store_delete(struct store *store, const char *key);

/* Whether there is a file or a folder under KEY.  store_look says with STORE_FAILED that this cannot be known now,
 * which store_exists takes for a no. */
bool store_exists(struct store *store, const char *key);
enum store_error store_look(struct store *store, const char *key, bool *there);

/* Where clients' GETs of KEY go when the store is in a bucket: a path and query of the bucket's host that is good for
 * EXPIRES_S seconds from NOW.  False for a local store. */
bool store_presign(struct store *store, const char *key, int64_t now, int expires_s, char *out, size_t size);

/* ---- upkeep ------------------------------------------------------------------------------------------- */

/* Remove stages that were not touched for AGE_S seconds, *N of them.  AGE_S must be longer than any upload
 * takes. */
enum store_error store_purge(struct store *store, int64_t age_s, size_t *n);

/* Call EACH for every folder of GROUP ("listings", "verification") that was not changed for AGE_S seconds, with
 * its name (the id), until it returns false.  For finding what has no row in the database: a program may
 * die between publishing and committing.  EACH may delete the folder it is told of.
 *
 * A bucket is not asked for the age of each folder: ask store_is_old before anything is deleted. */
enum store_error store_each(struct store *store, const char *group, int64_t age_s,
                            bool (*each)(void *ctx, const char *id), void *ctx);

/* Whether nothing under KEY was changed for AGE_S seconds; false also when that cannot be known now. */
bool store_is_old(struct store *store, const char *key, int64_t age_s);

/* The percentage of space that is left for the store, 0 to 100; -1 when that is not known. */
int store_free_percent(struct store *store);

#endif
