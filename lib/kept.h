/* kept -- lists of one reader that were answered before, and are answered again as long as they read the same.
 *
 * What takes time in a list is not finding its rows but writing out their columns: in the database as text, here as
 * JSON.  So a list that was written is kept, with the versions of the rows that it was made of.  Who is asked
 * for it again has the database name the rows of this moment and their versions, nothing else, and sends what is
 * kept when it is those.
 *
 *     const struct kept *kept = kept_find(a, key);
 *     const struct rows *rows = kept != NULL ? db_rows(r, versions, …) : NULL;
 *     if (rows == NULL || !kept_is(r, key, kept, rows))
 *         … all columns, written, kept_put
 *
 * A row's version is its xmin, the transaction that wrote it: nobody has to count versions, so nobody can
 * forget to.  A statement names all rows that it reads so, in columns called "_version.…" (db.h).  What is committed
 * never has two contents under one xmin: a transaction that writes a row twice leaves its last, subtransactions have
 * numbers of their own, who only locks a row leaves its xmin, and VACUUM, which freezes it, too.  Numbers are given
 * again after four thousand million, therefore the hour is part of a key, as it is for the signed URLs in a list; and
 * by a server that lost its last transactions, therefore so is the epoch of the database's connections (db.h).
 *
 * Kept in this process alone, a bounded number of lists and of bytes; any thread. */
#ifndef SELLIKO_KEPT_H
#define SELLIKO_KEPT_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct jw;
struct req;
struct rows;

/* Longer keys, and lists, are not kept. */
enum { KEPT_KEY_MAX = 200, KEPT_LIST_MAX = 65536 };

struct kept;

/* What every key ends with: how long what is kept may be believed.  To be asked for before the database is. */
const char *kept_while(struct req *r);

/* The list under KEY (who reads it, all that he asked for, kept_while), NULL when there is none.  Valid as long as
 * ARENA's contents, whatever other threads put. */
const struct kept *kept_find(struct arena *a, const char *key);

/* Whether ROWS, read since KEY was made, have the versions that KEPT was made of, and KEY's time is not over. */
bool kept_is(struct req *r, const char *key, const struct kept *kept, const struct rows *rows);

/* Its elements, into the open array of J. */
void kept_write(struct jw *j, const struct kept *kept);

/* Keep the LEN bytes of J from FROM on, the elements that were written of ROWS, in place of what was least needed. */
void kept_put(struct arena *a, const char *key, const struct rows *rows, struct jw *j, size_t from);

#endif
