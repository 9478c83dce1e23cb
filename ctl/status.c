/* status -- how much of everything there is just now, for a person: no personal data, no judgement
 * (that is doctor's). */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "config.h"

static void row(const char *what, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
row(const char *what, const char *fmt, ...)
{
    va_list ap;

    printf("%-12s  ", what);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

/* One line "3 live, 2 sold" of a query that gives (n, word). */
static void
tally(PGconn *pg, const char *what, const char *sql)
{
    PGresult *res = pg_query(pg, sql);

    printf("%-12s  ", what);
    for (int i = 0; i < PQntuples(res); i++)
        printf("%s%s %s", i > 0 ? ", " : "", PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
    printf("%s\n", PQntuples(res) == 0 ? "none" : "");
    pg_clear(res);
}

static void
show_versions(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT current_setting('server_version') AS server, pg_size_pretty(pg_database_size(current_database())) AS size,"
        " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,"
        " (SELECT name FROM schema_migrations ORDER BY name DESC LIMIT 1) AS newest,"
        " (SELECT count(*) FROM schema_migrations) AS n");

    row("version", "selliko %s, schema %s (%s migrations)", PACKAGE_VERSION, pg_text(res, 0, "newest"), pg_text(res, 0, "n"));
    row("database", "PostgreSQL %s, %s, %s connections", pg_text(res, 0, "server"), pg_text(res, 0, "size"),
        pg_text(res, 0, "connections"));
    pg_clear(res);
}

static void
show_auctions(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT l.id, to_char(greatest(l.auction_end - now(), '0'), 'HH24:MI:SS') AS remaining, l.bid_count,"
        " coalesce(money_text(l.highest_amount), 'no bid') AS highest, l.brand || ' ' || l.model AS device"
        " FROM listings l WHERE l.status = 'live' AND l.auction_end < now() + interval '1 hour'"
        " ORDER BY l.auction_end LIMIT 10");

    row("ending soon", "%s", PQntuples(res) == 0 ? "none within an hour" : "");
    for (int i = 0; i < PQntuples(res); i++)
        printf("              in %s  %s  %3s bids  %-12s  %s\n", pg_text(res, i, "remaining"), pg_text(res, i, "id"),
               pg_text(res, i, "bid_count"), pg_text(res, i, "highest"), pg_text(res, i, "device"));
    pg_clear(res);
}

static void
show_queue(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT count(*) FILTER (WHERE status = 'queued') AS queued, count(*) FILTER (WHERE status = 'sending') AS sending,"
        " count(*) FILTER (WHERE status = 'sent' AND finished_at > now() - interval '1 day') AS sent,"
        " count(*) FILTER (WHERE status = 'failed' AND finished_at > now() - interval '1 day') AS failed,"
        " coalesce(greatest(0, extract(epoch FROM now() - min(next_at) FILTER (WHERE status = 'queued'))), 0)::bigint AS late,"
        " (SELECT coalesce(value ->> 'reason', 'no reason known') FROM service_state WHERE name = 'whatsapp_queue'"
        "     AND (value ->> 'stopped')::boolean) AS stopped"
        " FROM whatsapp_queue");
    const char *stopped = pg_text(res, 0, "stopped");

    row("WhatsApp", "%s queued (the oldest due for %s s), %s being sent; in 24 hours %s sent, %s failed", pg_text(res, 0, "queued"),
        pg_text(res, 0, "late"), pg_text(res, 0, "sending"), pg_text(res, 0, "sent"), pg_text(res, 0, "failed"));
    if (stopped != NULL)
        row("", "stopped: %s", stopped);
    pg_clear(res);
    res = pg_query(pg, "SELECT count(*) AS n FROM events");
    row("events", "%s kept", pg_text(res, 0, "n"));
    pg_clear(res);
}

static void
show_backup(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT coalesce('made ' || to_char((value ->> 'at')::timestamptz, 'YYYY-MM-DD HH24:MI') || ' UTC ('"
        "           || pg_size_pretty((value ->> 'bytes')::bigint) || ' and ' || (value ->> 'files') || ' files)', 'none yet') AS made,"
        " coalesce('verified ' || to_char((value ->> 'verifiedAt')::timestamptz, 'YYYY-MM-DD HH24:MI') || ' UTC', 'never verified') AS verified,"
        " to_char((value ->> 'failedAt')::timestamptz, 'YYYY-MM-DD HH24:MI') AS failed, value ->> 'reason' AS reason"
        " FROM service_state WHERE name = 'backup'");

    if (PQntuples(res) == 0)
        row("backup", "none yet");
    else
        row("backup", "%s, %s", pg_text(res, 0, "made"), pg_text(res, 0, "verified"));
    if (PQntuples(res) > 0 && pg_text(res, 0, "failed") != NULL)
        row("", "failed %s UTC: %s", pg_text(res, 0, "failed"), pg_text(res, 0, "reason"));
    pg_clear(res);
}

static void
show_space(void)
{
    struct statvfs fs;

    if (statvfs(config()->state_dir, &fs) == 0 && fs.f_blocks > 0)
        row("space", "%.1f GB (%.0f %%) free in %s", (double)fs.f_bavail * (double)fs.f_frsize / 1e9,
            100.0 * (double)fs.f_bavail / (double)fs.f_blocks, config()->state_dir);
    else
        row("space", "%s cannot be looked at", config()->state_dir);
}

int
cmd_status(int argc, char **argv)
{
    want_arguments(argc, argv, 0);
    PGconn *pg = pg_open();
    if (pg_value(pg_query(pg, "SELECT to_regclass('schema_migrations')")) == NULL)
        die(CTL_PROBLEM, "the database is empty: run `sellikoctl migrate`");
    show_versions(pg);
    tally(pg, "accounts", "SELECT count(*), lower(role) FROM users WHERE is_active GROUP BY role"
                          " UNION ALL SELECT count(*), 'disabled' FROM users WHERE NOT is_active HAVING count(*) > 0 ORDER BY 2");
    tally(pg, "sessions", "SELECT count(*), 'living' FROM sessions WHERE revoked_at IS NULL AND expires_at > now()"
                          " UNION ALL SELECT count(DISTINCT user_id), 'people in the last 15 minutes' FROM sessions"
                          " WHERE last_used_at > now() - interval '15 minutes' AND revoked_at IS NULL");
    tally(pg, "listings", "SELECT count(*), status FROM listings GROUP BY status ORDER BY 2");
    show_auctions(pg);
    tally(pg, "orders", "SELECT count(*), status FROM orders GROUP BY status ORDER BY 2");
    tally(pg, "tasks", "SELECT count(*), status FROM agent_tasks GROUP BY status ORDER BY 2");
    show_queue(pg);
    show_backup(pg);
    tally(pg, "keys", "SELECT purpose, 'version ' || version || ' of ' || created_at::date FROM encryption_keys ORDER BY 1, version");
    show_space();
    return CTL_OK;
}
