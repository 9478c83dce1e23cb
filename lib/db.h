/* db -- statements on PostgreSQL, over a pool of kept connections.
 *
 * Two layers.  The lower one (struct db) is a connection and a call that returns an error; the cron
 * utilities, the gateway and the batcher use it.  The upper one is what handlers use: it takes a
 * connection from the pool at the request's first statement, sends the session check in the same
 * round trip, gives it back when the request ends, and never returns on failure: the request is
 * given up with a 401, 403, 500 or 503 (see app.h).
 *
 * A statement is declared beside its user:
 *
 *   SQL(place, "SELECT * FROM place_bid($1, $2, $3)");
 *
 * A condition that stands only when its parameter is given is written {?2 AND b.vendor_id = $2 ?}: each
 * set of given parameters is then a prepared statement of its own with a plan of its own, where
 * ($2 IS NULL OR …) would keep every index away.  Such a parameter is used in its braces only.
 *
 * A statement is prepared on its first use on a connection, planned once, and may not scan a table
 * from end to end (enable_seqscan is off on all our connections): give it an index.  Parameters are text,
 * in PostgreSQL's input syntax, NULL for null.  What comes back is text, too: rows.h. */
#ifndef SELLIKO_DB_H
#define SELLIKO_DB_H

#include "rows.h"

struct db;
struct req;

struct sql {
    const char *name;
    const char *text;
    /* the rest is db's own */
    int id;                  /* given on first use; 0 until then */
    unsigned given;          /* of a variant: which parameters were not null */
    struct sql *variants;    /* made on first use, never freed */
    struct sql *next;
};
#define SQL(name_, text_) static struct sql name_ = { .name = #name_, .text = (text_) }

/* ---- the lower layer ---- */

/* Called once before threads start: where to connect, what the connections are called there (both kept, not copied),
 * how many of them requests share, and how many seconds a statement may take (0: as many as it likes).  The server
 * ends it then (57014); when it does not even say that, the connection is given up (08006) and made anew: nobody
 * waits for ever. */
void db_init(const char *url, const char *application, int pool_size, int timeout_s);

/* A connection of one's own, for one thread at a time; opened at its first use and again after it broke.  Never NULL:
 * without memory the process aborts.  Owned by the caller until db_close; db_close(NULL) does nothing. */
struct db *db_open(void);
void db_close(struct db *db);

/* One statement with N parameters, in ARENA's lifetime.  NULL on failure, see db_sqlstate.  Inside a
 * transaction that the caller began a lost connection is not silently replaced. */
const struct rows *db_query(struct db *db, struct arena *a, struct sql *sql, const char *const *param, int n);
#define db_run(db, a, sql, ...) db_query(db, a, &(sql), DB_PARAMS_(__VA_ARGS__))

/* Plain SQL without parameters or rows (BEGIN, COMMIT, LISTEN).  False on failure. */
bool db_command(struct db *db, const char *text);

/* Another number after each new connection to the database.  What was read before may be of a server that died with
 * what nobody waited for, of a primary that was lost with its last seconds, of a database that was restored since: there
 * another row may have the version (xmin, edition) that one had which was read.  Its connections all ended with it. */
uint64_t db_epoch(void);

/* The last failure: five characters ("08006" when there is no connection), never NULL; and whether
 * trying again later may help. */
const char *db_sqlstate(const struct db *db);
bool db_is_transient(const char *sqlstate);

/* libpq's connection (PGconn *), for LISTEN and asynchronous use; NULL while there is none. */
void *db_pgconn(struct db *db);

/* Wake those who LISTEN on CHANNEL; failing is no harm (they sweep every second). */
void db_wake(struct db *db, const char *channel);

/* Load the keyring from encryption_keys (done at each connection, when a version is unknown, and once
 * a minute while statements are sent). */
bool db_load_keys(struct db *db);

/* crypto_unseal_text with the keyring loaded anew when it lacks the value's key: OUT has LEN + 1 bytes.
 * False, and a line in the log, when it does not open. */
bool db_unseal(const char *field, const char *value, size_t len, char *out, size_t *out_len);

/* ---- the upper layer: within a request; what is returned lives as long as it ---- */

const struct rows *db_rows_(struct req *r, struct sql *sql, const char *const *param, int n);
const struct rows *db_row_(struct req *r, struct sql *sql, const char *const *param, int n, bool must);
int db_queue_(struct req *r, struct sql *sql, const char *const *param, int n);

/* All rows; none or one (NULL for none, more is a bug); exactly one (else a bug). */
#define db_rows(r, sql, ...) db_rows_(r, &(sql), DB_PARAMS_(__VA_ARGS__))
#define db_row(r, sql, ...) db_row_(r, &(sql), DB_PARAMS_(__VA_ARGS__), false)
#define db_the_row(r, sql, ...) db_row_(r, &(sql), DB_PARAMS_(__VA_ARGS__), true)
#define db_exec(r, sql, ...) ((void)db_rows_(r, &(sql), DB_PARAMS_(__VA_ARGS__)))

/* Before crypto_… is used in a handler that has said no statement yet: in a process that has just
 * started the keyring is still empty.  Costs nothing once it is there. */
void db_need_keys(struct req *r);

/* Send a statement together with the next one (a page and its count in one round trip); db_queued
 * gives its rows after that one has returned. */
#define db_queue(r, sql, ...) db_queue_(r, &(sql), DB_PARAMS_(__VA_ARGS__))
const struct rows *db_queued(struct req *r, int ticket);

/* What db_* calls between these two happens together or not at all.  A request that ends before the
 * commit, however it ends, is rolled back.  Without them each round trip is a transaction. */
void db_begin(struct req *r);
void db_commit(struct req *r);

/* Before something long that needs no database (photos): the connection goes back to the pool, where a few serve
 * all of the program's threads; the next statement borrows one again.  Nothing within a transaction. */
void db_let_go(struct req *r);

/* After the request's answer is out and committed: wake the gateway, the sender. */
void db_wake_later(struct req *r, const char *channel);

#define DB_PARAMS_(...) \
    (const char *const[]){ NULL __VA_OPT__(, ) __VA_ARGS__ } + 1, \
    (int)(sizeof((const char *const[]){ NULL __VA_OPT__(, ) __VA_ARGS__ }) / sizeof(char *)) - 1

#endif
