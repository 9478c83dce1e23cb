/* sellikoctl -- the administrator's tool: schema, accounts, keys, and whether all is well.
 *
 * It reads the same configuration as the programs (SELLIKO_CONF, the environment) and talks to the
 * database alone, so it runs on any host that has the configuration, whether the service is up or not. */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "log.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    bool needs_config;
    const char *summary;
    const char *help;
};

static int cmd_sample(int argc, char **argv);

static const struct command commands[] = {
    { "migrate", cmd_migrate, true, "bring the database's schema up to date",
      "usage: sellikoctl migrate [--sql DIR] [--dry-run]\n\n"
      "Apply the migrations that the database has not seen, each with its record in one\n"
      "transaction, and make the encryption keys where there are none.  Runs that overlap apply\n"
      "each file once.  A file that was edited after it had been applied is refused by name.\n\n"
      "  --sql DIR    the folder of the migrations, when it is not this release's own\n"
      "  --dry-run    only print the names of the files that would be applied\n" },
    { "user", cmd_user, true, "add an account or change its role; list accounts",
      "usage: sellikoctl user add --phone PHONE --role ROLE [--name NAME]\n"
      "       sellikoctl user list [--role ROLE]\n\n"
      "add prints the account's id.  Of a phone that has an account already it changes the role\n"
      "and, when given, the name.  ROLE is CLIENT, VENDOR, AGENT or ADMIN.  list shows whole phone\n"
      "numbers: mind who looks over your shoulder.\n" },
    { "keygen", cmd_keygen, false, "print a new random secret",
      "usage: sellikoctl keygen [--conf]\n\n"
      "Print 256 random bits as one word of 43 characters, fit for JWT_SECRET, ENCRYPTION_KEY and\n"
      "FILE_URL_SECRET.  Needs no configuration.\n\n"
      "  --conf       print a line for each of the three, as the configuration file takes them\n" },
    { "rotate-key", cmd_rotate_key, true, "seal personal data under a new key",
      "usage: sellikoctl rotate-key [--resume | --prune] [--quiet]\n\n"
      "Make a new key for the sealed fields (phones, IMEIs, addresses) and bring all rows under it,\n"
      "while the service runs.  When it is killed, run it again: it goes on where it was.  ENCRYPTION_KEY\n"
      "stays as it is.  Older keys are kept until --prune.\n\n"
      "  --resume     no new key: only bring to the newest one what is under an older one\n"
      "  --prune      remove the older keys, ten minutes after the newest was made at the earliest,\n"
      "               when no row needs them any more\n"
      "  --quiet      no progress\n" },
    { "doctor", cmd_doctor, true, "look for what is wrong and say what mends it",
      "usage: sellikoctl doctor [--sql DIR] [--strict]\n\n"
      "Check configuration, database and what stands before it, migrations, keys, storage, gateway, queue,\n"
      "auctions, backup, its place and clock, a line each: ok, WARN or FAIL, with what to do.  A FAIL makes the exit code 1.\n\n"
      "  --sql DIR    the folder of the migrations, when it is not this release's own\n"
      "  --strict     a WARN makes the exit code 1, too\n" },
    { "check", cmd_check, true, "ask of the data whether every rule of the business holds",
      "usage: sellikoctl check [--sql DIR] [--quiet]\n\n"
      "Hold the database against the rules in sql/check.sql, a line each: ok, or FAIL with the number of\n"
      "rows that break it and the ids of the first.  It only reads, in one snapshot, and may be run while\n"
      "the service works.  A FAIL makes the exit code 1.\n\n"
      "  --sql DIR    the folder of check.sql, when it is not this release's own\n"
      "  --quiet      only what is broken\n" },
    { "status", cmd_status, true, "how much of everything there is just now",
      "usage: sellikoctl status\n\n"
      "Versions, accounts, listings, the auctions that end next, orders, the WhatsApp queue, the last\n"
      "backup, keys and space.\n" },
    { "storage", cmd_storage, true, "move photos and bills to a bucket, or back",
      "usage: sellikoctl storage move --to s3|local [--remove] [--quiet]\n\n"
      "Carry what is published from STATE_DIR/uploads to the bucket of S3_BUCKET_NAME, or back.  Each file is\n"
      "compared by its SHA-256 on both sides; run again, it goes on where it was.  The service may run\n"
      "meanwhile: move, switch it over (set or unset S3_BUCKET_NAME, restart), move once more.\n\n"
      "  --to WHERE   s3 or local\n"
      "  --remove     remove each folder from where it came once all of it is in the other place\n"
      "  --quiet      no progress\n" },
    { "bucket", cmd_bucket, true, "carry backups to and from buckets, for scripts",
      "usage: sellikoctl bucket list store|backup [PREFIX]\n"
      "       sellikoctl bucket put NAME [--expect BYTES] COMMAND...\n"
      "       sellikoctl bucket get NAME FILE\n"
      "       sellikoctl bucket delete\n"
      "       sellikoctl bucket carry store|pool|DIR store|pool|DIR|none [--anew]\n\n"
      "What selliko-backup and selliko-restore do in buckets; use those.  store is the bucket of S3_BUCKET_NAME,\n"
      "backup and pool are that of BACKUP_DIR.  put takes what COMMAND writes; delete takes a name a line from\n"
      "standard input, carry \"SHA256  NAME\" or \"-  NAME\".\n\n"
      "  --expect BYTES   at most about this much will come\n"
      "  --anew           send also what seems to be there\n"
      "  --progress FD    show how far it is on this descriptor\n" },
    { "setting", cmd_setting, true, "print settings, for scripts",
      "usage: sellikoctl setting NAME...\n\n"
      "Print the value of each setting on a line of its own, an empty one when it is not set: durations\n"
      "in seconds, amounts in paise.  Secrets are not shown.\n" },
    { "pg-service", cmd_pg_service, true, "print DATABASE_URL as libpq's service file, for scripts",
      "usage: sellikoctl pg-service\n\n"
      "Print a section [selliko] for the file that PGSERVICEFILE names, so that pg_dump and psql need no\n"
      "password on their command line.  It may hold one itself: keep the file private.\n" },
    { "sample-conf", cmd_sample, false, "print a configuration file with every setting's default",
      "usage: sellikoctl sample-conf\n\nPrint a complete, commented selliko.conf in which every setting stands at its default.\n" },
};

static const char exit_codes[] =
    "\nexit codes: 0 done; 1 done, but something is not well; 64 wrong usage; 69 no database;\n"
    "78 wrong configuration.\n";

/* ---- the commands ---- */

static int
cmd_sample(int argc, char **argv)
{
    want_arguments(argc, argv, 0);
    config_print_sample(stdout);
    return CTL_OK;
}

static void
print_help(FILE *out)
{
    fputs("usage: sellikoctl COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fputs("\nsellikoctl COMMAND --help says more.  The configuration is the file named by SELLIKO_CONF,\n"
          "else " SELLIKO_SYSCONFDIR "/selliko.conf; environment variables come before it.\n", out);
    fputs(exit_codes, out);
}

static bool
is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* What a pipe or a full disk swallowed was not printed: say so. */
static int
flushed(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        die(CTL_PROBLEM, "standard output: %s", strerror(errno));
    return code;
}

int
main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    log_open("sellikoctl", "warn");
    if (is_help(name) || strcmp(name, "help") == 0) {
        print_help(stdout);
        return flushed(CTL_OK);
    }
    if (strcmp(name, "--version") == 0) {
        printf("sellikoctl %s\n", PACKAGE_VERSION);
        return flushed(CTL_OK);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct command *c = &commands[i];
        if (strcmp(name, c->name) != 0)
            continue;
        for (int k = 2; k < argc; k++)
            if (is_help(argv[k])) {
                fputs(c->help, stdout);
                fputs(exit_codes, stdout);
                return flushed(CTL_OK);
            }
        if (c->needs_config && !config_load(stderr)) {
            fputs("sellikoctl: the configuration is not complete; see above\n", stderr);
            return CTL_CONFIG;
        }
        return flushed(c->run(argc - 1, argv + 1));
    }
    if (*name != '\0')
        fprintf(stderr, "sellikoctl: there is no command `%s`\n\n", name);
    print_help(stderr);
    return CTL_USAGE;
}
