/* check -- is what the database holds sound?  The rules of sql/check.sql, a line each:
 *
 *   ok    the rule
 *   FAIL  the rule: broken by N (the first of them)
 *
 * All of them are asked of one snapshot, in a transaction that cannot write, so it may be run while
 * everybody bids. */
#include "ctl.h"

#include <stdio.h>

/* check [--sql DIR] [--quiet] */
int
cmd_check(int argc, char **argv)
{
    const char *given = take_option(&argc, argv, "sql");
    bool quiet = take_flag(&argc, argv, "quiet");
    int broken = 0;

    want_arguments(argc, argv, 0);
    const char *dir = migrations_dir(given);
    if (dir == NULL)
        die(CTL_PROBLEM, "the folder with check.sql is not found; name it with --sql");
    const char *rules = migrations_text(dir, "check.sql");
    PGconn *pg = pg_open();
    pg_exec(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    PGresult *res = pg_run(pg, rules);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        die(PQstatus(pg) == CONNECTION_OK ? CTL_PROBLEM : CTL_UNAVAILABLE, "check.sql: %s", pg_message(pg));
    pg_exec(pg, "COMMIT");

    for (int i = 0; i < PQntuples(res); i++) {
        if (pg_int(res, i, "broken") > 0) {
            printf("FAIL  %s: broken by %s (%s)\n", pg_text(res, i, "rule"), pg_text(res, i, "broken"), pg_text(res, i, "which"));
            broken++;
        } else if (!quiet) {
            printf("ok    %s\n", pg_text(res, i, "rule"));
        }
    }
    return broken > 0 ? CTL_PROBLEM : CTL_OK;
}
