/* fragment -- pieces of JSON that read alike for everybody, kept until what they tell of changes.
 *
 * A fragment is the members of a row's object ("\"brand\":\"Apple\",…"), kept under the row's id and
 * edition.  Who finds none makes it and hands it in.  There is no invalidation: a statement that is run
 * now says which edition it wants, and one that is not that edition is not found.
 *
 * Kept in this process alone, a bounded number of them; any thread. */
#ifndef SELLIKO_FRAGMENT_H
#define SELLIKO_FRAGMENT_H

#include "jw.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which fragment: the row ID (a UUID's 36 bytes), the number of its EDITION, the hour (Unix time / 3600)
 * whose signed URLs it holds, and the epoch (db.h) before which it was not read: numbers of editions that were lost are
 * given again. */
struct fragment_key {
    const char *id;
    int64_t edition, hour;
    uint64_t epoch;
};

/* Longer ones are not kept. */
enum { FRAGMENT_MAX = 8192 };

/* Open an object, an element of J's open array, and write the fragment into it; the caller adds what else
 * there is and ends it.  False, and nothing is written, when the fragment is not kept. */
bool fragment_open(struct jw *j, const struct fragment_key *key);

/* Keep a copy of the LEN bytes at MEMBERS, in place of what was least needed. */
void fragment_keep(const struct fragment_key *key, const char *members, size_t len);

#endif
