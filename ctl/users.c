/* users -- accounts from the shell: the first administrator comes from here, before there is anybody
 * who could appoint one. */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

#include "config.h"
#include "valid.h"

static const char *const roles[] = { "CLIENT", "VENDOR", "AGENT", "ADMIN" };

static void
check_role(const char *role)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(role, roles[i]) == 0)
            return;
    die(CTL_USAGE, "--role must be CLIENT, VENDOR, AGENT or ADMIN");
}

static void
need_keys(PGconn *pg)
{
    char why[256];

    if (pg_value(pg_query(pg, "SELECT to_regclass('encryption_keys')")) == NULL)
        die(CTL_PROBLEM, "the database is empty: run `sellikoctl migrate`");
    if (!keys_load(pg, why, sizeof why))
        die(CTL_PROBLEM, "%s", why);
}

/* user add --phone P --role R [--name N]: the id on stdout. */
static int
add(int argc, char **argv)
{
    const char *phone = take_option(&argc, argv, "phone");
    const char *role = take_option(&argc, argv, "role");
    const char *given = take_option(&argc, argv, "name");
    char name[512] = "", id[CRYPTO_UUID_SIZE], hash[CRYPTO_LOOKUP_TEXT_SIZE];

    want_arguments(argc, argv, 0);
    if (phone == NULL || role == NULL)
        die(CTL_USAGE, "user add needs --phone and --role");
    if (!valid_phone(phone))
        die(CTL_USAGE, "--phone must be a number such as +919876543210");
    check_role(role);
    if (given != NULL) {
        size_t len = strlen(given);
        const char *trimmed = valid_utf8(given, len) ? valid_trim(given, &len) : "";
        if (!valid_utf8(given, strlen(given)) || len == 0 || len >= sizeof name || !valid_no_controls(trimmed, len, false)
            || valid_code_points(trimmed, len) > 100)
            die(CTL_USAGE, "--name must have 1 to 100 characters");
        snprintf(name, sizeof name, "%.*s", (int)len, trimmed);
    }

    PGconn *pg = pg_open();
    need_keys(pg);
    char sealed[CRYPTO_SEALED_TEXT_SIZE(16)];
    crypto_uuid7(id);
    crypto_seal_text(sealed, "users.phone", id, phone, strlen(phone));
    crypto_lookup_text("phone", phone, hash);

    /* The sealed phone is bound to the id, so of an account that is there neither is changed. */
    pg_exec(pg, "BEGIN");
    PGresult *res = pg_query(pg,
        "INSERT INTO users AS u (id, phone_hash, phone_sealed, phone_last4, name, role)"
        " VALUES ($1, $2, $3, $4, coalesce(nullif($5, ''), 'User ' || $4), $6)"
        " ON CONFLICT (phone_hash) DO UPDATE SET role = excluded.role,"
        "     name = coalesce(nullif($5, ''), u.name)"
        " RETURNING id, is_active, id = $1 AS made",
        id, hash, sealed, phone + strlen(phone) - 4, name, role);
    bool made = pg_is(res, 0, "made");
    pg_clear(pg_query(pg,
        "INSERT INTO audit_log (action, target, details)"
        " VALUES ($1, $2, jsonb_build_object('role', $3::text, 'via', 'sellikoctl'))",
        made ? "user.add" : "user.update", pg_text(res, 0, "id"), role));
    pg_exec(pg, "COMMIT");

    printf("%s\n", pg_text(res, 0, "id"));
    if (!made)
        note("this phone has an account already; role%s changed", *name != '\0' ? " and name" : "");
    if (!pg_is(res, 0, "is_active"))
        note("the account is disabled");
    return CTL_OK;
}

/* One open phone number of a row "uuid\x…"; asterisks and the last four digits when it does not open. */
static const char *
open_phone(const char *value, const char *last4)
{
    static char phone[256];
    size_t len = strlen(value);

    if (len >= sizeof phone || crypto_unseal_text(phone, &len, "users.phone", value, len) != CRYPTO_OK)
        snprintf(phone, sizeof phone, "+91******%s", last4);
    return phone;
}

/* user list [--role R] */
static int
list(int argc, char **argv)
{
    const char *role = take_option(&argc, argv, "role");

    want_arguments(argc, argv, 0);
    if (role != NULL)
        check_role(role);
    PGconn *pg = pg_open();
    need_keys(pg);
    pg_exec(pg, "BEGIN");
    pg_clear(pg_query(pg,
        "DECLARE everybody NO SCROLL CURSOR FOR"
        " SELECT id, role, is_active, id || phone_sealed::text AS phone, phone_last4, name,"
        "     to_char(last_login, 'YYYY-MM-DD HH24:MI') AS last_login"
        " FROM users WHERE role = coalesce($1, role) ORDER BY created_at, id", role));
    printf("%-36s  %-6s  %-8s  %-13s  %-16s  %s\n", "ID", "ROLE", "STATE", "PHONE", "LAST SIGN-IN UTC", "NAME");
    for (;;) {
        PGresult *res = pg_query(pg, "FETCH 500 FROM everybody");
        for (int i = 0; i < PQntuples(res); i++) {
            const char *seen = pg_text(res, i, "last_login");
            printf("%-36s  %-6s  %-8s  %-13s  %-16s  %s\n", pg_text(res, i, "id"), pg_text(res, i, "role"),
                   pg_is(res, i, "is_active") ? "active" : "disabled",
                   open_phone(pg_text(res, i, "phone"), pg_text(res, i, "phone_last4")), seen != NULL ? seen : "never",
                   pg_text(res, i, "name"));
        }
        int n = PQntuples(res);
        pg_clear(res);
        if (n == 0)
            break;
    }
    pg_exec(pg, "COMMIT");
    return CTL_OK;
}

int
cmd_user(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "add") == 0)
        return add(argc - 1, argv + 1);
    if (strcmp(what, "list") == 0)
        return list(argc - 1, argv + 1);
    die(CTL_USAGE, "user add or user list? See `sellikoctl user --help`");
}
