/* replica -- a streaming standby (DATABASE_REPLICA_URL) for what may be a little old: public pages.
 *
 * How old is not hoped for but known. The primary is asked now and then how far its log reaches (a mark), and the
 * standby serves a request only when it has replayed at least as far as a mark that is no older than
 * REPLICA_OLDEST_MS. A standby that is down, slow, behind, paused, promoted or another cluster's is left alone for a
 * while and the primary serves, so nobody hears of it, and nobody waits for a connection to be made.
 *
 * replica_init once before threads start, behind db_init; the rest from any thread. */
#ifndef SELLIKO_REPLICA_H
#define SELLIKO_REPLICA_H

#include <stdbool.h>

struct db;

/* LIMIT: an answer that takes longer is not waited for. */
enum { REPLICA_OLDEST_MS = 200, REPLICA_LIMIT_MS = 1000 };

/* The standby's URL (kept, not copied); NULL or "": there is none. */
void replica_init(const char *url);

/* Whether there is one to be asked at all. */
bool replica_wanted(void);

/* A connection whose next statement sees all that was committed REPLICA_OLDEST_MS ago, to be given to one of the two
 * below; NULL: ask the primary. */
struct db *replica_get(void);

/* Give it back. */
void replica_put(struct db *db);

/* The same when a statement failed on it: it is closed, and the standby left alone for a while. */
void replica_failed(struct db *db);

#endif
