/* rotate -- a new key for the sealed fields, while the service runs.
 *
 *   1  a new version of the 'seal' key is stored; from now on it seals
 *   2  every table with sealed columns is gone through block by block: values under older versions are
 *      opened and sealed anew, a short transaction each few blocks
 *   3  again and again, until a pass finds nothing left
 *
 * Killed anywhere, nothing is lost: old and new versions both open, and the next run goes on where
 * values are left instead of making yet another key (service_state 'rotate_key' stands while one is
 * under way).  Programs that run meet the new version in what they read and load it then; those that
 * only write look for it once a minute, so for that long they may still seal under the old one.  That
 * is harmless as long as the old key is there, which is why it is only removed by --prune, later.
 *
 * Rows that somebody else has locked are passed over and found by the next pass: nobody waits for us
 * for long, and we wait for nobody while holding rows, so no deadlock is possible. */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sealed.h"

enum {
    BLOCKS_AT_ONCE = 16,   /* about a hundred rows: the time for which a bid may have to wait */
    COLUMNS_MAX = 8,
    PATIENCE_S = 60,       /* without any progress */
    PRUNE_AFTER_MIN = 10,  /* every program has looked for new keys many times by then */
};

/* Only one run at a time: a lock of the session, which goes when the run does. */
#define ONLY_ONE "SELECT pg_try_advisory_lock(x'524f54415445'::bigint)"

struct table {
    const char *name, *uuid;
    int n;
    struct {
        const char *name, *field;
    } column[COLUMNS_MAX];
};

static struct table tables[16];
static size_t n_tables;

static void
add_column(const char *table, const char *column, const char *field, const char *uuid)
{
    struct table *t = n_tables > 0 ? &tables[n_tables - 1] : NULL;

    if (t == NULL || strcmp(t->name, table) != 0) {
        if (n_tables == sizeof tables / sizeof tables[0])
            abort();
        t = &tables[n_tables++];
        *t = (struct table){ .name = table, .uuid = uuid };
    }
    if (t->n == COLUMNS_MAX || strcmp(t->uuid, uuid) != 0)
        abort();
    t->column[t->n].name = column;
    t->column[t->n++].field = field;
}

/* Names in statements come from the list above, never from outside; so they are put in as they are. */
struct text {
    char s[4096];
    size_t len;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(t->s + t->len, sizeof t->s - t->len, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof t->s - t->len)
        abort();
    t->len += (size_t)n;
}

/* "some value of the row is sealed under another version than $1" */
static void
add_condition(struct text *sql, const struct table *t)
{
    for (int c = 0; c < t->n; c++)
        add(sql, "%ssubstring(%s FROM 1 FOR 4) <> $1::bytea", c > 0 ? " OR " : "(", t->column[c].name);
    add(sql, ")");
}

struct run {
    PGconn *pg;
    uint32_t version;       /* that everything is to have */
    char prefix[16];        /* its four bytes, as bytea text */
    int64_t done, bad;
    bool show;
    time_t shown;
};

/* What the value "uuid\x…" reads sealed anew, owned by the caller; NULL when it does not open. */
static char *
seal_anew(const char *field, const char *value)
{
    size_t len = strlen(value), plain_len;
    char *plain = malloc(len + 1), *sealed = NULL, uuid[CRYPTO_UUID_SIZE];

    if (plain == NULL || len < 36)
        abort();
    memcpy(uuid, value, 36);
    uuid[36] = '\0';
    if (crypto_unseal_text(plain, &plain_len, field, value, len) == CRYPTO_OK) {
        sealed = malloc(CRYPTO_SEALED_TEXT_SIZE(plain_len));
        if (sealed == NULL || crypto_seal_text(sealed, field, uuid, plain, plain_len) == 0)
            abort();
        explicit_bzero(plain, plain_len);
    }
    free(plain);
    return sealed;
}

/* Row I of OLD (ctid, uuid, values …), in the transaction that has locked it. */
static void
reseal_row(struct run *run, const struct table *t, const PGresult *old, int i)
{
    const char *param[COLUMNS_MAX + 1] = { PQgetvalue(old, i, 0) };
    struct text sql = { .len = 0 };
    char *sealed[COLUMNS_MAX] = { NULL };
    int n = 1;

    add(&sql, "UPDATE %s SET", t->name);
    for (int c = 0; c < t->n; c++) {
        if (PQgetisnull(old, i, c + 1))
            continue;
        sealed[c] = seal_anew(t->column[c].field, PQgetvalue(old, i, c + 1));
        if (sealed[c] == NULL) {
            note("%s.%s of the row with %s %.36s does not open: damaged, or its key is gone", t->name, t->column[c].name,
                 t->uuid, PQgetvalue(old, i, c + 1));
            run->bad++;
            continue;
        }
        param[n++] = sealed[c];
        add(&sql, "%s %s = $%d", n > 2 ? "," : "", t->column[c].name, n);
    }
    add(&sql, " WHERE ctid = $1::tid");
    if (n > 1) {
        pg_clear(pg_query_(run->pg, sql.s, param, n));
        run->done++;
    }
    for (int c = 0; c < t->n; c++)
        free(sealed[c]);
}

static void
show(struct run *run, const char *table, int64_t block, int64_t blocks)
{
    time_t now = time(NULL);

    if (!run->show || now == run->shown)
        return;
    run->shown = now;
    note("%s: %lld %%, %lld rows sealed anew so far", table, (long long)(blocks > 0 ? block * 100 / blocks : 100),
         (long long)run->done);
}

/* Once through the table. */
static void
pass(struct run *run, const struct table *t)
{
    struct text sql = { .len = 0 };

    add(&sql, "SELECT ctid");
    for (int c = 0; c < t->n; c++)
        add(&sql, ", %s || %s::text", t->uuid, t->column[c].name);
    add(&sql, " FROM %s WHERE ctid >= $2::tid AND ctid < $3::tid AND ", t->name);
    add_condition(&sql, t);
    add(&sql, " FOR NO KEY UPDATE SKIP LOCKED");

    int64_t blocks = strtoll(pg_value(pg_query(run->pg,
        "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::bigint", t->name)), NULL, 10);
    for (int64_t block = 0; block < blocks; block += BLOCKS_AT_ONCE) {
        char from[32], to[32];
        snprintf(from, sizeof from, "(%lld,0)", (long long)block);
        snprintf(to, sizeof to, "(%lld,0)", (long long)block + BLOCKS_AT_ONCE);
        pg_exec(run->pg, "BEGIN");
        PGresult *old = pg_query(run->pg, sql.s, run->prefix, from, to);
        for (int i = 0; i < PQntuples(old); i++)
            reseal_row(run, t, old, i);
        pg_clear(old);
        pg_exec(run->pg, "COMMIT");
        show(run, t->name, block, blocks);
    }
}

/* Rows that are not sealed under the newest version, in all tables. */
static int64_t
left(struct run *run)
{
    int64_t n = 0;

    for (size_t i = 0; i < n_tables; i++) {
        struct text sql = { .len = 0 };
        add(&sql, "SELECT count(*) FROM %s WHERE ", tables[i].name);
        add_condition(&sql, &tables[i]);
        PGresult *res = pg_query(run->pg, sql.s, run->prefix);
        n += strtoll(pg_value(res), NULL, 10);
        pg_clear(res);
    }
    return n;
}

static void
aim(struct run *run)
{
    run->version = crypto_keyring_newest(CRYPTO_SEAL);
    snprintf(run->prefix, sizeof run->prefix, "\\x%08x", run->version);
}

/* Go on with a rotation that did not come to its end, or make the next key. */
static void
choose_key(struct run *run)
{
    PGresult *res = pg_query(run->pg, "SELECT 1 FROM service_state WHERE name = 'rotate_key'");

    aim(run);
    if (PQntuples(res) > 0) {
        note("going on with a rotation that was interrupted: key version %u", run->version);
    } else {
        char number[16];
        pg_exec(run->pg, "BEGIN");
        keys_make(run->pg, CRYPTO_SEAL, run->version + 1);
        aim(run);
        snprintf(number, sizeof number, "%u", run->version);
        pg_clear(pg_query(run->pg, "INSERT INTO service_state (name, value)"
                                  " VALUES ('rotate_key', jsonb_build_object('version', $1::int))", number));
        pg_clear(pg_query(run->pg, "INSERT INTO audit_log (action, target, details)"
                                  " VALUES ('key.rotate', $1, jsonb_build_object('via', 'sellikoctl'))", number));
        pg_exec(run->pg, "COMMIT");
        note("new key: version %u", run->version);
    }
    pg_clear(res);
}

static int
rotate(struct run *run)
{
    time_t progress = time(NULL);
    int64_t rest = -1;

    choose_key(run);
    for (;;) {
        run->bad = 0;
        for (size_t i = 0; i < n_tables; i++)
            pass(run, &tables[i]);
        int64_t now_left = left(run);
        if (now_left == 0 || now_left == run->bad)
            break;
        if (now_left != rest)
            progress = time(NULL);
        rest = now_left;
        if (time(NULL) - progress > PATIENCE_S)
            die(CTL_PROBLEM, "%lld rows are locked by somebody all the time; run it again later", (long long)rest);
        nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
    }
    pg_exec(run->pg, "DELETE FROM service_state WHERE name = 'rotate_key'");
    if (run->bad > 0)
        die(CTL_PROBLEM, "%lld values do not open and were left as they are; all others are under key version %u",
            (long long)run->bad, run->version);
    printf("%lld rows sealed anew; everything is under key version %u\n", (long long)run->done, run->version);
    note("the older keys are kept; `sellikoctl rotate-key --prune` removes them from %d minutes from now on",
         PRUNE_AFTER_MIN);
    return CTL_OK;
}

/* Remove the versions before the newest.  Whoever still seals under one of them is a program that has
 * not looked for keys since the newest was made, which no living one leaves undone for so long. */
static int
prune(struct run *run)
{
    char number[16], minutes[16];

    aim(run);
    snprintf(number, sizeof number, "%u", run->version);
    snprintf(minutes, sizeof minutes, "%d", PRUNE_AFTER_MIN);
    PGresult *young = pg_query(run->pg,
        "SELECT 1 FROM encryption_keys WHERE purpose = 'seal' AND version = $1"
        " AND created_at > clock_timestamp() - make_interval(mins => $2::int)", number, minutes);
    if (PQntuples(young) > 0)
        die(CTL_PROBLEM, "the newest key is younger than %d minutes: a program may not know it yet", PRUNE_AFTER_MIN);
    int64_t n = left(run);
    if (n > 0)
        die(CTL_PROBLEM, "%lld rows need an older key: run `sellikoctl rotate-key --resume` first", (long long)n);
    PGresult *gone = pg_query(run->pg, "DELETE FROM encryption_keys WHERE purpose = 'seal' AND version < $1", number);
    printf("%s older keys removed\n", PQcmdTuples(gone));
    return CTL_OK;
}

/* rotate-key [--resume | --prune] [--quiet] */
int
cmd_rotate_key(int argc, char **argv)
{
    bool resume = take_flag(&argc, argv, "resume"), pruning = take_flag(&argc, argv, "prune");
    struct run run = { .show = !take_flag(&argc, argv, "quiet") };
    char why[256];

    want_arguments(argc, argv, 0);
    if (resume && pruning)
        die(CTL_USAGE, "--resume or --prune, not both");
#define ADD_COLUMN(table, column, field, uuid) add_column(table, column, field, uuid);
    SEALED_COLUMNS(ADD_COLUMN)

    run.pg = pg_open();
    if (!pg_is(pg_query(run.pg, ONLY_ONE " AS mine"), 0, "mine"))
        die(CTL_PROBLEM, "another rotate-key is at work");
    if (!keys_load(run.pg, why, sizeof why))
        die(CTL_PROBLEM, "%s", why);
    if (pruning)
        return prune(&run);
    if (resume)   /* no new key: bring to the newest what is still under an older one */
        pg_clear(pg_query(run.pg, "INSERT INTO service_state (name, value) VALUES ('rotate_key', '{}') ON CONFLICT DO NOTHING"));
    return rotate(&run);
}
