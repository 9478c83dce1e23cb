/* rows -- what a statement answered: columns by name, or whole rows as JSON.
 *
 * Column names say how rows_json writes a column where its type does not:
 *   "askingPrice:rupees"                 bigint paise as a JSON number of rupees
 *   "imei1:sealed(listings.imei1)"       row uuid || sealed::text, opened; or plain text that is masked already
 *   "thumbnail:thumbnail"                a listing's id as the signed URL of its first photo in small
 *   "pickupAddress.city"                 consecutive columns with one prefix make a nested object
 *   "_photoCount"                        not written: for the program only
 *   "_version.order"                     not written: which version of a row was read (kept.h)
 * timestamptz becomes ISO 8601, json and jsonb are copied, numbers and booleans bare, the rest strings.
 * A name is asked for without what stands behind its colon.
 *
 * What a function here takes as I is a row that is there; a NAME that no column has is a bug, and ends the process. */
#ifndef SELLIKO_ROWS_H
#define SELLIKO_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct jw;

/* The rows of an answer, owned by the arena that was given with the statement (db.h). */
struct rows {
    int n;
    void *res;                         /* PGresult */
    const struct rows_columns *cols;   /* how to write them */
};

/* Row I's column NAME as PostgreSQL writes it, NULL for null.  Valid as long as the rows. */
const char *rows_text(const struct rows *rows, int i, const char *name);
int64_t rows_int(const struct rows *rows, int i, const char *name);   /* null is 0 */
bool rows_bool(const struct rows *rows, int i, const char *name);     /* null is false */
bool rows_null(const struct rows *rows, int i, const char *name);

/* Row I's sealed column NAME ("phone:sealed(users.phone)" is called phone) in clear, in ARENA; NULL for
 * null, and for a value that does not open (logged). */
const char *rows_sealed(struct arena *a, const struct rows *rows, int i, const char *name);

/* All columns "_version.…" of all rows, *LEN bytes in A: the same bytes for the same versions of the same rows. */
const char *rows_version(struct arena *a, const struct rows *rows, size_t *len);

/* Write row I's columns as members into the open object of J.  False when a sealed value could not be
 * opened (logged): the value is written as null. */
bool rows_members(struct jw *j, const struct rows *rows, int i);

/* All rows, each an object, into the open array of J; the same as an array KEY. */
void rows_elements(struct jw *j, const struct rows *rows);
void rows_json(struct jw *j, const char *key, const struct rows *rows);

#endif
