/* db_inside -- what the two layers of db, rows and replica share; nobody else includes it. */
#ifndef SELLIKO_DB_INSIDE_H
#define SELLIKO_DB_INSIDE_H

#include "db.h"

#include <libpq-fe.h>
#include <stdatomic.h>

enum { DB_MAX_STATEMENTS = 1024 };

struct db {
    PGconn *conn;
    const char *replica_url;   /* NULL: leads to the primary */
    char sqlstate[6];
    bool in_transaction;
    bool gave_up;       /* no answer came, or none can be read: the connection is of no use any more */
    bool is_prepared[DB_MAX_STATEMENTS];   /* by statement id; forgotten with the connection */
};

/* A statement on its way through a pipeline. */
struct db_call {
    struct sql *sql;
    const char *const *param;
    int n;
    int id;
    bool prepares;
    struct rows *answer;       /* its place in the arena */
    const struct rows *rows;   /* the answer, NULL until then or when it failed */
};

/* Make sure there is a living connection.  False, logged, when there is none: db_sqlstate says "08001". */
bool db_connect(struct db *db);

/* The rows of a SELECT in plain SQL, the caller's to clear; NULL on failure, which costs the connection. */
PGresult *db_ask(struct db *db, const char *text);

/* Send N statements and one Sync, read all answers.  False when any failed.  The arena's handler for no
 * memory is called, if at all, before anything is sent. */
bool db_pipeline(struct db *db, struct arena *a, struct db_call *calls, int n);

/* For PQsetNoticeReceiver: notices quote values, so nobody writes them down. */
void db_ignore_notice(void *ctx, const PGresult *res);

/* How the columns of statement ID are written, from the first answer RES to it; for ever.  NULL when there is no
 * memory.  (rows.c) */
const struct rows_columns *rows_columns(int id, const PGresult *res);

/* The pool: connections that requests borrow. */
void db_pool_init(int size);        /* once, before threads start */
struct db *db_pool_get(void);       /* waits for one; never NULL */
void db_pool_put(struct db *db);    /* what it is in, a transaction say, is the giver's to have ended */

#endif
