/* replica -- a streaming standby (DATABASE_REPLICA_URL) for what may be a little old: public pages.
 *
 * How old is not hoped for but known. The primary is asked now and then how far its log reaches (a mark), and the
 * standby serves a request only when it has replayed at least as far as a mark that is no older than
 * REPLICA_OLDEST_MS. A standby that is down, slow, behind, paused, promoted or another cluster's is left alone for a
 * while and the primary serves, so nobody hears of it, and nobody waits for a connection to be made. */
#ifndef SELLIKO_REPLICA_H
#define SELLIKO_REPLICA_H

#include <stdbool.h>

struct db;

/* LIMIT: an answer that takes longer is not waited for. */
enum { REPLICA_OLDEST_MS = 200, REPLICA_LIMIT_MS = 1000 };

/* Called once before threads start; URL "": there is none. */
void replica_init(const char *url);
bool replica_wanted(void);

/* A connection whose next statement sees all that was committed REPLICA_OLDEST_MS ago; NULL: ask the primary. */
struct db *replica_get(void);
void replica_put(struct db *db);

/* A statement failed on it. */
void replica_failed(struct db *db);

#endif
