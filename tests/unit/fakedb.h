/* fakedb -- a database that says what it is told to: each pipeline's statements are written down, and
 * answered from a script.  To be included before the .c that is tested. */
#ifndef SELLIKO_TEST_FAKEDB_H
#define SELLIKO_TEST_FAKEDB_H

#include "../../lib/req_inside.h"

#include <string.h>

static struct {
    char said[2000];          /* "session,begin,claim|keep,commit|": statements, a bar for each Sync */
    const char *failure;      /* SQLSTATE of the next pipeline, NULL when it succeeds */
    struct { const char *statement, *column[3], *value[3]; int rows; } script[8];
    int n_script;
} fake;

static inline void
fake_clear(void *res)
{
    PQclear(res);
}

/* The rows that the script has for STATEMENT: none, or one of up to three columns of text. */
static inline const struct rows *
fake_rows(struct arena *a, const char *statement)
{
    struct rows *rows = arena_zalloc(a, 1, sizeof *rows);
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    for (int i = 0; i < fake.n_script; i++) {
        if (strcmp(fake.script[i].statement, statement) != 0)
            continue;
        PGresAttDesc desc[3] = { { .name = NULL } };
        int n = 0;
        while (n < 3 && fake.script[i].column[n] != NULL) {
            desc[n].name = arena_strdup(a, fake.script[i].column[n]);
            n++;
        }
        PQsetResultAttrs(res, n, desc);
        for (int k = 0; k < n && fake.script[i].rows > 0; k++) {
            const char *value = fake.script[i].value[k];
            PQsetvalue(res, 0, k, value != NULL ? arena_strdup(a, value) : NULL, value != NULL ? (int)strlen(value) : -1);
        }
        rows->n = fake.script[i].rows;
    }
    rows->res = res;
    arena_own(a, res, fake_clear);
    return rows;
}

static inline bool
fake_pipeline(struct db *db, struct arena *a, struct db_call *calls, int n)
{
    size_t len = strlen(fake.said);
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(fake.said + len, sizeof fake.said - len, "%s%s", i > 0 ? "," : "", calls[i].sql->name);
    snprintf(fake.said + len, sizeof fake.said - len, "|");
    if (fake.failure != NULL) {
        snprintf(db->sqlstate, sizeof db->sqlstate, "%s", fake.failure);
        fake.failure = NULL;
        return false;
    }
    for (int i = 0; i < n; i++)
        calls[i].rows = fake_rows(a, calls[i].sql->name);
    return true;
}

static inline const char *
fake_text(const struct rows *rows, int i, const char *name)
{
    int c = PQfnumber(rows->res, name);
    if (c < 0)
        abort();
    return PQgetisnull(rows->res, i, c) ? NULL : PQgetvalue(rows->res, i, c);
}

static inline void
fake_script(const char *statement, int rows, const char *column, const char *value)
{
    fake.script[fake.n_script].statement = statement;
    fake.script[fake.n_script].rows = rows;
    fake.script[fake.n_script].column[0] = column;
    fake.script[fake.n_script++].value[0] = value;
}

static inline void
fake_reset(void)
{
    memset(&fake, 0, sizeof fake);
}

#define db_pipeline fake_pipeline
#define rows_text fake_text

#endif
