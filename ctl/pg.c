/* pg -- the tool's own thin layer over libpq.  The programs' db layer logs for machines and never says
 * why a statement failed, since its callers are strangers; here an administrator sits before the
 * screen and needs PostgreSQL's own words. */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

/* What is open: cleared when the process ends, from wherever it does, so that a leak checker finds
 * nothing and no path has to think of it. */
static struct {
    PGconn *conn[4];
    PGresult **result;
    size_t n_conns, n_results, cap;
} held;

static void
release_all(void)
{
    for (size_t i = 0; i < held.n_results; i++)
        PQclear(held.result[i]);
    free(held.result);
    for (size_t i = 0; i < held.n_conns; i++)
        PQfinish(held.conn[i]);
    held.n_results = held.n_conns = 0;
}

static PGresult *
hold(PGresult *res)
{
    if (held.n_results == held.cap) {
        held.cap = held.cap * 2 + 16;
        held.result = reallocarray(held.result, held.cap, sizeof *held.result);
        if (held.result == NULL)
            abort();
    }
    return held.result[held.n_results++] = res;
}

void
pg_clear(PGresult *res)
{
    for (size_t i = held.n_results; i-- > 0;)
        if (held.result[i] == res) {
            held.result[i] = held.result[--held.n_results];
            PQclear(res);
            return;
        }
}

const char *
pg_message(PGconn *pg)
{
    static char text[1024];

    snprintf(text, sizeof text, "%s", PQerrorMessage(pg));
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    if (PQstatus(pg) != CONNECTION_OK)   /* several hints, a line each; a statement's error keeps its picture */
        for (char *s = text; *s != '\0'; s++)
            if (*s == '\n' || *s == '\t')
                *s = ' ';
    return text;
}

static void
ignore_notice(void *ctx, const PGresult *res)
{
    (void)ctx;
    (void)res;
}

PGconn *
pg_try_open_at(const char *url, char *why, size_t size)
{
    static const char *const keys[] = { "dbname", "fallback_application_name", "connect_timeout", "client_encoding", NULL };
    const char *const values[] = { url, "sellikoctl", "5", "UTF8", NULL };
    PGconn *pg = PQconnectdbParams(keys, values, 1);

    if (pg != NULL && PQstatus(pg) == CONNECTION_OK) {
        PQsetNoticeReceiver(pg, ignore_notice, NULL);
        if (held.n_conns == 0)
            atexit(release_all);
        if (held.n_conns == sizeof held.conn / sizeof held.conn[0])
            abort();
        held.conn[held.n_conns++] = pg;
        /* not as options of the connection, which PgBouncer refuses */
        pg_exec(pg, "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET client_min_messages = 'warning'");
        return pg;
    }
    snprintf(why, size, "%s", pg != NULL ? pg_message(pg) : "out of memory");
    PQfinish(pg);
    return NULL;
}

PGconn *
pg_try_open(char *why, size_t size)
{
    return pg_try_open_at(config()->database_url, why, size);
}

PGconn *
pg_open(void)
{
    char why[1024];
    PGconn *pg = pg_try_open(why, sizeof why);

    if (pg == NULL)
        die(CTL_UNAVAILABLE, "no database: %s", why);
    return pg;
}

PGresult *
pg_query_(PGconn *pg, const char *sql, const char *const *param, int n)
{
    PGresult *res = hold(PQexecParams(pg, sql, n, NULL, param, NULL, NULL, 0));

    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
        die(PQstatus(pg) == CONNECTION_OK ? CTL_PROBLEM : CTL_UNAVAILABLE, "%s", pg_message(pg));
    return res;
}

PGresult *
pg_run(PGconn *pg, const char *sql)
{
    return hold(PQexec(pg, sql));
}

void
pg_exec(PGconn *pg, const char *sql)
{
    PGresult *res = pg_run(pg, sql);

    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
        die(PQstatus(pg) == CONNECTION_OK ? CTL_PROBLEM : CTL_UNAVAILABLE, "%s", pg_message(pg));
    pg_clear(res);
}

const char *
pg_text(const PGresult *res, int i, const char *name)
{
    int column = PQfnumber(res, name);

    if (column < 0)
        abort();
    return PQgetisnull(res, i, column) ? NULL : PQgetvalue(res, i, column);
}

int64_t
pg_int(const PGresult *res, int i, const char *name)
{
    const char *text = pg_text(res, i, name);

    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

bool
pg_is(const PGresult *res, int i, const char *name)
{
    const char *text = pg_text(res, i, name);

    return text != NULL && text[0] == 't';
}

const char *
pg_value(const PGresult *res)
{
    return PQntuples(res) > 0 && PQnfields(res) > 0 && !PQgetisnull(res, 0, 0) ? PQgetvalue(res, 0, 0) : NULL;
}
