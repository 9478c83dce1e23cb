/* migrate -- bring the database to the state of this release's migration files.
 *
 * A file is applied together with its record in schema_migrations, in one transaction: either both are
 * there or neither.  Each such transaction first takes an advisory lock and only then looks whether the
 * file is still to be done, so any number of runs (two hosts deploying at once) apply each file once.
 * All files are judged before the first is applied: one that was edited after it ran would leave new
 * databases different from old ones, so it stops the run and is named.
 *
 * The files are plain SQL without psql's backslash commands, which lets the lock, the file and its
 * record share one connection. */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "config.h"
#include "encoding.h"

#ifndef SELLIKO_DATADIR
#define SELLIKO_DATADIR "/usr/share/selliko"
#endif

#define FIRST_FILE "001_create_users.sql"

/* "SELLIKO" in hex: the key of the advisory lock. */
#define LOCK "SELECT pg_advisory_xact_lock(x'53454c4c494b4f'::bigint)"

/* Three digits or more, an underscore, anything, ".sql": editors' leftovers are not migrations. */
static int
is_migration(const struct dirent *entry)
{
    const char *name = entry->d_name;
    size_t len = strlen(name), digits = strspn(name, "0123456789");

    return digits >= 3 && name[digits] == '_' && len > digits + 5 && strcmp(name + len - 4, ".sql") == 0
           && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == len;
}

const char *
migrations_text(const char *dir, const char *name)
{
    char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        die(CTL_PROBLEM, "%s: the path is too long", dir);
    FILE *f = fopen(path, "re");
    struct stat st;
    if (f == NULL || fstat(fileno(f), &st) != 0)
        die(CTL_PROBLEM, "%s: %s", path, strerror(errno));
    size_t size = (size_t)st.st_size;
    char *text = arena_alloc(ctl_memory(), size + 1);
    size_t len = fread(text, 1, size, f);
    if (len < size || memchr(text, '\0', len) != NULL)
        die(CTL_PROBLEM, "%s: cannot be read as SQL", path);
    fclose(f);
    text[len] = '\0';
    return text;
}

/* Where this program's migrations lie: beside the sources when it runs from the build tree (its folder
 * is called ctl); beside it when it was installed to another place than it was built for (quickstart
 * does, once an instance); else in the installed data folder. */
static const char *
default_dir(void)
{
    static const struct {
        const char *folder, *data;
    } near[] = { { "/ctl", ".." }, { "/ctl", "../.." }, { "/ctl", "../../.." }, { "/sbin", "../share/selliko" } };
    static char dir[PATH_MAX + 32];
    char exe[PATH_MAX], probe[PATH_MAX + 64];

    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash != NULL)
        *slash = '\0';
    slash = strrchr(exe, '/');
    for (size_t i = 0; slash != NULL && i < sizeof near / sizeof near[0]; i++) {
        if (strcmp(slash, near[i].folder) != 0)
            continue;
        snprintf(dir, sizeof dir, "%s/%s/sql", exe, near[i].data);
        snprintf(probe, sizeof probe, "%s/%s", dir, FIRST_FILE);
        if (access(probe, R_OK) == 0)
            return dir;
    }
    return SELLIKO_DATADIR "/sql";
}

const char *
migrations_dir(const char *given)
{
    const char *dir = given != NULL ? given : default_dir();
    struct dirent **entry;
    int n = scandir(dir, &entry, is_migration, NULL);

    for (int i = 0; i < n; i++)
        free(entry[i]);
    if (n >= 0)
        free(entry);
    return n > 0 ? dir : NULL;
}

static int
by_name(const void *a, const void *b)
{
    const struct migration *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static const char *
recorded_checksum(const PGresult *recorded, const char *name)
{
    for (int i = 0; recorded != NULL && i < PQntuples(recorded); i++)
        if (strcmp(pg_text(recorded, i, "name"), name) == 0)
            return pg_text(recorded, i, "checksum");
    return NULL;
}

struct migrations
migrations_read(PGconn *pg, const char *dir)
{
    struct dirent **entry;
    struct migrations m = { 0 };

    int n = scandir(dir, &entry, is_migration, alphasort);
    if (n < 0)
        die(CTL_PROBLEM, "%s: %s", dir, strerror(errno));

    PGresult *recorded = NULL;
    if (pg_value(pg_query(pg, "SELECT to_regclass('schema_migrations')")) != NULL)
        recorded = pg_query(pg, "SELECT name, checksum FROM schema_migrations");
    int n_recorded = recorded != NULL ? PQntuples(recorded) : 0;
    m.item = arena_zalloc(ctl_memory(), (size_t)n + (size_t)n_recorded, sizeof *m.item);

    for (int i = 0; i < n; i++) {
        struct migration *one = &m.item[m.n++];
        uint8_t hash[32];
        one->name = arena_strdup(ctl_memory(), entry[i]->d_name);
        free(entry[i]);
        one->text = migrations_text(dir, one->name);
        crypto_sha256(one->text, strlen(one->text), hash);
        encoding_hex(one->checksum, hash, sizeof hash);
        const char *known = recorded_checksum(recorded, one->name);
        one->state = known == NULL                       ? MIGRATION_PENDING
                     : strcmp(known, one->checksum) == 0 ? MIGRATION_APPLIED
                                                         : MIGRATION_EDITED;
    }
    free(entry);
    for (int i = 0; i < n_recorded; i++) {
        struct migration key = { .name = PQgetvalue(recorded, i, 0) };
        if (bsearch(&key, m.item, (size_t)n, sizeof *m.item, by_name) == NULL)
            m.item[m.n++] = (struct migration){ .name = key.name, .state = MIGRATION_UNKNOWN };
    }
    qsort(m.item, m.n, sizeof *m.item, by_name);
    return m;
}

struct migration_counts
migrations_count(const struct migrations *m)
{
    struct migration_counts counts = { { 0 } };

    for (size_t i = 0; i < m->n; i++)
        counts.n[m->item[i].state]++;
    return counts;
}

/* The line of the POSITION-th character of TEXT, counted from 1 as PostgreSQL does. */
static int
line_of(const char *text, long position)
{
    int line = 1;

    for (const char *s = text; *s != '\0' && position > 1; s++) {
        position -= ((unsigned char)s[1] & 0xc0) != 0x80;   /* characters, not bytes */
        line += *s == '\n';
    }
    return line;
}

/* Apply ONE unless another run has done so meanwhile.  True when it was done here. */
static bool
apply(PGconn *pg, const struct migration *one)
{
    pg_exec(pg, "BEGIN");
    pg_exec(pg, LOCK);
    PGresult *known = pg_query(pg, "SELECT checksum FROM schema_migrations WHERE name = $1", one->name);
    if (PQntuples(known) > 0) {
        if (strcmp(pg_value(known), one->checksum) != 0)
            die(CTL_PROBLEM, "%s: another run has just applied a different file of this name", one->name);
        pg_exec(pg, "COMMIT");
        return false;
    }
    pg_clear(known);

    /* Waiting for a table's lock would make everybody behind us wait as well: rather try again later. */
    pg_exec(pg, "SET LOCAL lock_timeout = '15s'");
    PGresult *res = pg_run(pg, one->text);
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK
        && PQresultStatus(res) != PGRES_EMPTY_QUERY) {
        const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
        char where[32] = "";
        if (position != NULL)
            snprintf(where, sizeof where, ":%d", line_of(one->text, strtol(position, NULL, 10)));
        die(PQstatus(pg) == CONNECTION_OK ? CTL_PROBLEM : CTL_UNAVAILABLE, "%s%s: %s", one->name, where, pg_message(pg));
    }
    pg_clear(res);
    if (PQtransactionStatus(pg) != PQTRANS_INTRANS)
        die(CTL_PROBLEM, "%s: ends the transaction in which it runs; a migration must not", one->name);
    pg_clear(pg_query(pg, "INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", one->name, one->checksum));
    pg_exec(pg, "COMMIT");
    return true;
}

/* migrate [--sql DIR] [--dry-run] */
int
cmd_migrate(int argc, char **argv)
{
    const char *given = take_option(&argc, argv, "sql");
    bool dry = take_flag(&argc, argv, "dry-run");
    char why[256];
    int edited = 0, done = 0, pending = 0;

    want_arguments(argc, argv, 0);
    const char *dir = migrations_dir(given);
    if (dir == NULL)
        die(CTL_PROBLEM, "%s: there are no migrations here; name their folder with --sql",
            given != NULL ? given : default_dir());
    PGconn *pg = pg_open();
    struct migrations m = migrations_read(pg, dir);
    for (size_t i = 0; i < m.n; i++)
        if (m.item[i].state == MIGRATION_EDITED) {
            note("%s: was edited after it had been applied; put it back, and change the schema in a new file",
                 m.item[i].name);
            edited++;
        } else if (m.item[i].state == MIGRATION_UNKNOWN) {
            note("%s: applied, but not in the folder: is this an older release?", m.item[i].name);
        }
    if (edited > 0)
        return CTL_PROBLEM;

    if (!dry) {
        pg_exec(pg, "BEGIN");
        pg_exec(pg, LOCK);
        pg_exec(pg, "CREATE TABLE IF NOT EXISTS schema_migrations ("
                    " name text PRIMARY KEY,"
                    " checksum text NOT NULL,"
                    " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())");
        pg_exec(pg, "COMMIT");
    }
    for (size_t i = 0; i < m.n; i++) {
        if (m.item[i].state != MIGRATION_PENDING)
            continue;
        pending++;
        if (dry || apply(pg, &m.item[i])) {
            printf("%s\n", m.item[i].name);
            fflush(stdout);
            done++;
        }
    }
    if (dry) {
        note("%d to be applied", pending);
        return CTL_OK;
    }

    pg_exec(pg, "BEGIN");
    pg_exec(pg, LOCK);
    int keys = keys_ensure(pg);
    pg_exec(pg, "COMMIT");
    if (!keys_load(pg, why, sizeof why))
        die(CTL_PROBLEM, "%s", why);
    note("%d applied, %zu in all%s", done, m.n, keys > 0 ? "; encryption keys made" : "");
    return CTL_OK;
}
