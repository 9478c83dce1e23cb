/* doctor_database -- the doctor's checks that ask the database: the server, the schema, and what the service leaves there. */
#include "doctor.h"

#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"

/* PgBouncer and its like give away a process number of their own.  Whether a session stays a session shows when
 * somebody else holds the server's connection that we had a moment ago. */
static void
check_pooler(PGconn *pg)
{
    char why[256];

    if (pg_int(pg_query(pg, "SELECT pg_backend_pid() AS pid"), 0, "pid") == PQbackendPID(pg))
        return;
    PGconn *other = pg_try_open(why, sizeof why);
    if (other == NULL) {
        line(FAIL, "pooler", "it does not give a second connection: %s", why);
        return;
    }
    pg_exec(pg, "SET selliko.doctor = 'here'");
    pg_exec(other, "BEGIN");
    pg_exec(other, "SELECT 1");
    const char *kept = pg_value(pg_query(pg, "SELECT current_setting('selliko.doctor', true)"));
    bool session = kept != NULL && strcmp(kept, "here") == 0;
    pg_exec(other, "ROLLBACK");
    pg_exec(pg, "RESET selliko.doctor");
    if (session)
        line(OK, "pooler", "between here and the database, in session mode");
    else
        line(FAIL, "pooler", "between here and the database, and not in session mode: programs prepare statements, the gateway and"
             " the sender LISTEN; set pool_mode = session, or name the database itself");
}

/* The programs do without it and say nothing but to the log. */
static void
check_replica(PGconn *pg)
{
    const char *url = config()->database_replica_url;
    char why[1024];

    if (url == NULL || url[0] == '\0')
        return;
    PGconn *replica = pg_try_open_at(url, why, sizeof why);
    if (replica == NULL) {
        line(WARN, "replica", "%s: the primary serves all pages", why);
        return;
    }
    PGresult *is = pg_query(pg, "SELECT system_identifier AS system, timeline_id AS timeline, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
                                " ELSE pg_current_wal_flush_lsn() END AS lsn FROM pg_control_system(), pg_control_checkpoint()");
    const char *lsn = pg_text(is, 0, "lsn");
    PGresult *res = pg_query(replica, "SELECT pg_is_in_recovery() AS standby, system_identifier AS system, timeline_id AS timeline,"
                                      " greatest($1::pg_lsn - pg_last_wal_replay_lsn(), 0)::bigint / 1024 AS behind"
                                      " FROM pg_control_system(), pg_control_checkpoint()", lsn);
    if (!pg_is(res, 0, "standby") || strcmp(pg_text(is, 0, "system"), pg_text(res, 0, "system")) != 0)
        line(WARN, "replica", "DATABASE_REPLICA_URL leads to what is no standby of DATABASE_URL's: the primary serves all pages");
    else if (strcmp(pg_text(is, 0, "timeline"), pg_text(res, 0, "timeline")) != 0)
        line(WARN, "replica", "it follows a new primary, and serves no page before its next restart point: CHECKPOINT there makes one");
    else
        line(OK, "replica", "a standby, %lld kB behind", (long long)pg_int(res, 0, "behind"));
    pg_clear(is);
    pg_clear(res);
}

/* What the schema and the statements need of a server that somebody else set up. */
static void
check_needs(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') AS has_trgm,"
        " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') AS lent_trgm,"
        " rolsuper OR (has_database_privilege(current_database(), 'CREATE') AND EXISTS ("
        "     SELECT FROM pg_available_extension_versions WHERE name = 'pg_trgm' AND trusted)) AS may_trgm,"
        " EXISTS (SELECT FROM pg_timezone_names WHERE name = 'Asia/Kolkata') AS has_zone,"
        " has_schema_privilege('public', 'CREATE') AS may_create, rolsuper OR rolcreatedb AS may_scratch,"
        " current_setting('autovacuum') = 'on' AS vacuum, current_setting('server_version_num')::int / 10000 AS major,"
        " datctype, rolname FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user");
    const char *host = PQhost(pg) != NULL ? PQhost(pg) : "", *role = pg_text(res, 0, "rolname");

    if (pg_is(res, 0, "has_trgm"))
        line(OK, "extensions", "pg_trgm is there");
    else if (!pg_is(res, 0, "lent_trgm"))
        line(FAIL, "extensions", "the server lacks pg_trgm: install postgresql-contrib of PostgreSQL %s there, then run `sellikoctl migrate`",
             pg_text(res, 0, "major"));
    else if (!pg_is(res, 0, "may_trgm"))
        line(FAIL, "extensions", "%s may not make pg_trgm: let an administrator run CREATE EXTENSION pg_trgm in this database", role);
    else
        line(OK, "extensions", "`sellikoctl migrate` makes pg_trgm");
    if (!pg_is(res, 0, "has_zone"))
        line(FAIL, "database", "the server does not know the time zone Asia/Kolkata, in which agents' days are counted: install tzdata there");
    if (!pg_is(res, 0, "may_create"))
        line(FAIL, "database", "%s may not make tables: ALTER SCHEMA public OWNER TO %s", role, role);
    if (strcmp(pg_text(res, 0, "datctype"), "C") == 0 || strcmp(pg_text(res, 0, "datctype"), "POSIX") == 0)
        line(WARN, "database", "its LC_CTYPE is %s, which knows ASCII alone: other letters are not found in another case; make it anew with"
             " C.UTF-8", pg_text(res, 0, "datctype"));
    if (!pg_is(res, 0, "vacuum"))
        line(WARN, "database", "autovacuum is off: tables will swell and statements will slow down; turn it on");
    if (!pg_is(res, 0, "may_scratch"))
        line(WARN, "database", "%s may not make databases, so `selliko-backup --verify` cannot try a backup out: ALTER ROLE %s CREATEDB",
             role, role);
    if (host[0] != '\0' && host[0] != '/' && strcmp(host, "localhost") != 0 && strncmp(host, "127.", 4) != 0 && strcmp(host, "::1") != 0
        && !PQsslInUse(pg))
        line(WARN, "database", "the way to %s is not encrypted: add sslmode=verify-full to DATABASE_URL", host);
    pg_clear(res);
    if (PQserverVersion(pg) < 150000)
        return;
    res = pg_query(pg, "SELECT datname, datcollversion, pg_database_collation_actual_version(oid) AS actual FROM pg_database"
                       " WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)");
    if (PQntuples(res) > 0)
        line(FAIL, "database", "indexes on text were made under version %s of the collation, the server's is %s, so rows may not be found:"
             " REINDEX DATABASE %s; ALTER DATABASE %s REFRESH COLLATION VERSION", pg_text(res, 0, "datcollversion"),
             pg_text(res, 0, "actual"), pg_text(res, 0, "datname"), pg_text(res, 0, "datname"));
    pg_clear(res);
}

/* Programs without a gateway, or the other way round: half of the service is up. */
static void
check_running(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT count(*) FILTER (WHERE application_name = 'gateway') AS gateway,"
        " count(DISTINCT application_name) FILTER (WHERE application_name = ANY ('{auth,listings,bids,orders,agent,admin,notifications}')) AS programs"
        " FROM pg_stat_activity WHERE datname = current_database()");
    int64_t gateways = pg_int(res, 0, "gateway"), programs = pg_int(res, 0, "programs");

    pg_clear(res);
    if (programs > 0 && gateways == 0)
        line(FAIL, "realtime", "programs are connected to the database, but no gateway: does selliko-gateway run? its log says why not");
    else
        line(OK, "realtime", gateways > 0 ? "a gateway reads the events" : "nothing of the service is connected");
}

/* pg_dump refuses a server that is newer than it is. */
static void
check_pg_dump(PGconn *pg)
{
    int newest = 0, server = PQserverVersion(pg) / 10000;
    glob_t found;

    if (glob("/usr/lib/postgresql/*/bin/pg_dump", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int version = (int)strtol(found.gl_pathv[i] + sizeof "/usr/lib/postgresql/" - 1, NULL, 10);
            newest = version > newest ? version : newest;
        }
        globfree(&found);
    }
    if (newest > 0 && newest < server)
        line(FAIL, "pg_dump", "that of PostgreSQL %d cannot dump a server of %d: install postgresql-client-%d", newest, server, server);
    else if (newest == 0 && access("/usr/bin/pg_dump", X_OK) != 0)
        line(WARN, "pg_dump", "there is none, so no backup can be made on this host: install postgresql-client-%d", server);
    else
        line(OK, "pg_dump", "can dump PostgreSQL %d", server);
}

static void
check_clock(PGconn *pg)
{
    struct timespec before, after;

    clock_gettime(CLOCK_REALTIME, &before);
    PGresult *res = pg_query(pg, "SELECT extract(epoch FROM clock_timestamp())");
    clock_gettime(CLOCK_REALTIME, &after);
    double a = (double)before.tv_sec + (double)before.tv_nsec / 1e9, b = (double)after.tv_sec + (double)after.tv_nsec / 1e9;
    double off = strtod(pg_value(res), NULL) - (a + b) / 2, unsure = (b - a) / 2;
    pg_clear(res);
    double at_least = fabs(off) > unsure ? fabs(off) - unsure : 0;
    enum verdict v = at_least > 30 ? FAIL : at_least > 2 ? WARN : OK;
    line(v, "clock", "this host's is %.3f s %s the database's%s", fabs(off), off > 0 ? "behind" : "before",
         v != OK ? ": tokens and file URLs are judged by this one, auctions by that one; run an NTP client on both" : "");
}

static void
check_server(PGconn *pg)
{
    const struct config *c = config();
    PGresult *res = pg_query(pg,
        "SELECT pg_is_in_recovery() AS standby, current_setting('server_version') AS version,"
        " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS room,"
        " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,"
        " current_setting('fsync') = 'on' AS fsync, current_setting('full_page_writes') = 'on' AS pages,"
        " current_setting('synchronous_commit') <> 'off' AS sync,"
        " pg_encoding_to_char(encoding) AS encoding, pg_size_pretty(pg_database_size(oid)) AS size"
        " FROM pg_database WHERE datname = current_database()");
    /* Nine programs and the gateway; the utilities come and go. */
    int64_t want = 9 * (int64_t)c->processes * c->db_connections + (int64_t)c->processes * c->batchers + 10;
    int64_t room = pg_int(res, 0, "room");

    if (pg_is(res, 0, "standby"))
        line(FAIL, "database", "DATABASE_URL leads to a standby, which cannot be written: name the primary");
    else if (PQserverVersion(pg) < 140000)
        line(FAIL, "database", "PostgreSQL %s is too old: 15 is what this is made for", pg_text(res, 0, "version"));
    else
        line(OK, "database", "PostgreSQL %s, %s", pg_text(res, 0, "version"), pg_text(res, 0, "size"));
    if (strcmp(pg_text(res, 0, "encoding"), "UTF8") != 0)
        line(FAIL, "database", "its encoding is %s: make it anew with UTF8", pg_text(res, 0, "encoding"));
    if (!pg_is(res, 0, "fsync") || !pg_is(res, 0, "pages") || !pg_is(res, 0, "sync"))
        line(WARN, "database", "fsync, full_page_writes or synchronous_commit is off: a power cut loses bids");
    if (room < want)
        line(WARN, "connections", "%lld of %lld in use, but the programs may open %lld: raise max_connections, or lower DB_CONNECTIONS",
             (long long)pg_int(res, 0, "used"), (long long)room, (long long)want);
    else
        line(OK, "connections", "%lld in use, at most %lld wanted, %lld allowed", (long long)pg_int(res, 0, "used"),
             (long long)want, (long long)room);
    pg_clear(res);
}

/* False when there is no schema for the other checks to look at. */
static bool
check_migrations(PGconn *pg, const char *given)
{
    const char *dir = migrations_dir(given);
    if (dir == NULL) {
        line(FAIL, "migrations", "this release's are not where it was installed: name their folder with --sql");
        return pg_value(pg_query(pg, "SELECT to_regclass('schema_migrations')")) != NULL;
    }
    struct migrations m = migrations_read(pg, dir);
    struct migration_counts counts = migrations_count(&m);

    for (size_t i = 0; i < m.n; i++)
        if (m.item[i].state == MIGRATION_EDITED)
            line(FAIL, "migrations", "%s was edited after it had been applied: put it back", m.item[i].name);
        else if (m.item[i].state == MIGRATION_UNKNOWN)
            line(WARN, "migrations", "%s was applied, but this release lacks it: is this an older release?", m.item[i].name);
    if (counts.n[MIGRATION_PENDING] > 0)
        line(FAIL, "migrations", "%d to be applied: run `sellikoctl migrate`", counts.n[MIGRATION_PENDING]);
    else
        line(OK, "migrations", "%d applied", counts.n[MIGRATION_APPLIED]);
    return counts.n[MIGRATION_PENDING] == 0;
}

static void
check_keys(PGconn *pg)
{
    char why[256], phone[256];

    if (!keys_load(pg, why, sizeof why)) {
        line(FAIL, "keys", "%s", why);
        return;
    }
    PGresult *res = pg_query(pg, "SELECT id || phone_sealed::text FROM users ORDER BY created_at LIMIT 1");
    size_t len = PQntuples(res) > 0 ? (size_t)PQgetlength(res, 0, 0) : 0;
    if (len > 0 && (len >= sizeof phone || crypto_unseal_text(phone, &len, "users.phone", pg_value(res), len) != CRYPTO_OK))
        line(FAIL, "keys", "a sealed phone does not open: are encryption_keys and users of the same backup?");
    else
        line(OK, "keys", "version %u seals", crypto_keyring_newest(CRYPTO_SEAL));
    explicit_bzero(phone, sizeof phone);
    pg_clear(res);
    res = pg_query(pg, "SELECT 1 FROM service_state WHERE name = 'rotate_key'");
    if (PQntuples(res) > 0)
        line(WARN, "keys", "a rotation did not come to its end: run `sellikoctl rotate-key` again");
    pg_clear(res);
}

static void
check_people(PGconn *pg)
{
    PGresult *res = pg_query(pg, "SELECT count(*) FILTER (WHERE role = 'ADMIN') AS admins,"
                                 " count(*) FILTER (WHERE role = 'AGENT') AS agents FROM users WHERE is_active");

    if (pg_int(res, 0, "admins") == 0)
        line(WARN, "people", "there is no administrator, so nobody can approve a listing: run"
                             " `sellikoctl user add --phone … --role ADMIN`");
    else if (pg_int(res, 0, "agents") == 0)
        line(WARN, "people", "there is no agent, so nothing can be picked up: run `sellikoctl user add --phone … --role AGENT`");
    else
        line(OK, "people", "%lld administrators, %lld agents", (long long)pg_int(res, 0, "admins"),
             (long long)pg_int(res, 0, "agents"));
    pg_clear(res);
}

static void
check_queue(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT count(*) FILTER (WHERE status = 'queued') AS queued,"
        " count(*) FILTER (WHERE status = 'failed' AND finished_at > now() - interval '1 day') AS failed,"
        " coalesce(extract(epoch FROM now() - min(next_at) FILTER (WHERE status = 'queued')), 0)::bigint AS late,"
        " (SELECT value ->> 'reason' FROM service_state WHERE name = 'whatsapp_queue'"
        "     AND (value ->> 'stopped')::boolean) AS stopped,"
        " EXISTS (SELECT FROM service_state WHERE name = 'whatsapp_queue' AND (value ->> 'stopped')::boolean) AS stop"
        " FROM whatsapp_queue");
    int64_t queued = pg_int(res, 0, "queued"), failed = pg_int(res, 0, "failed"), late = pg_int(res, 0, "late");
    bool has_token = config()->whatsapp_access_token != NULL;

    if (pg_is(res, 0, "stop"))
        line(FAIL, "queue", "stopped: %s; %lld messages wait, and go on by themselves when that is mended",
             pg_text(res, 0, "stopped") != NULL ? pg_text(res, 0, "stopped") : "no reason known", (long long)queued);
    else if (!has_token && config()->production)
        line(FAIL, "queue", "WHATSAPP_ACCESS_TOKEN is missing: %lld messages wait, nobody can sign in", (long long)queued);
    else if (late > 60)
        line(FAIL, "queue", "%lld messages wait, one for %lld s: does cron run selliko-send-whatsapp?", (long long)queued,
             (long long)late);
    else
        line(OK, "queue", "%lld messages wait%s", (long long)queued, has_token ? "" : "; they go to log/whatsapp.log");
    if (failed > 0)
        line(WARN, "queue", "%lld messages failed in the last 24 hours: see error and error_code in whatsapp_queue",
             (long long)failed);
    pg_clear(res);
}

static void
check_auctions(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT count(*) AS n, coalesce(extract(epoch FROM now() - min(auction_end)), 0)::bigint AS late"
        " FROM listings WHERE status = 'live' AND auction_end < now() - interval '5 seconds'");

    if (pg_int(res, 0, "n") > 0)
        line(FAIL, "auctions", "%lld have ended but are not closed, one for %lld s: does cron run selliko-close-auctions?",
             (long long)pg_int(res, 0, "n"), (long long)pg_int(res, 0, "late"));
    else
        line(OK, "auctions", "all that have ended are closed");
    pg_clear(res);
}

static void
check_backup(PGconn *pg)
{
    PGresult *res = pg_query(pg,
        "SELECT to_char(made, 'YYYY-MM-DD HH24:MI') AS made, extract(epoch FROM now() - made)::bigint / 3600 AS hours,"
        " to_char(verified, 'YYYY-MM-DD HH24:MI') AS verified, extract(epoch FROM now() - verified)::bigint / 86400 AS days,"
        " to_char(failed, 'YYYY-MM-DD HH24:MI') AS failed, reason"
        " FROM (SELECT max(value ->> 'at')::timestamptz AS made, max(value ->> 'verifiedAt')::timestamptz AS verified,"
        "       max(value ->> 'failedAt')::timestamptz AS failed, max(value ->> 'reason') AS reason"
        "       FROM service_state WHERE name = 'backup') b");
    const char *made = pg_text(res, 0, "made"), *verified = pg_text(res, 0, "verified"), *failed = pg_text(res, 0, "failed");
    enum verdict bad = config()->production ? WARN : OK;

    if (failed != NULL)
        line(config()->production ? FAIL : WARN, "backup", "the last run, of %s UTC, failed: %s", failed, pg_text(res, 0, "reason"));
    if (made == NULL)
        line(bad, "backup", "none yet: does cron run selliko-backup?");
    else if (pg_int(res, 0, "hours") > 48)
        line(bad, "backup", "the last one is of %s UTC: does cron run selliko-backup?", made);
    else if (verified == NULL || pg_int(res, 0, "days") > 8)
        line(bad, "backup", "made %s UTC, but %s%s: does cron run selliko-backup --verify?", made,
             verified != NULL ? "last verified " : "none was verified yet", verified != NULL ? verified : "");
    else
        line(OK, "backup", "made %s UTC, verified %s UTC", made, verified);
    pg_clear(res);
}

void
check_database(PGconn *pg, const char *sql)
{
    check_server(pg);
    check_pooler(pg);
    check_replica(pg);
    check_needs(pg);
    check_pg_dump(pg);
    check_clock(pg);
    if (!check_migrations(pg, sql))
        return;
    check_keys(pg);
    check_people(pg);
    check_running(pg);
    check_queue(pg);
    check_auctions(pg);
    check_backup(pg);
}
