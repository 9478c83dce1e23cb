/* ctl -- what the subcommands of sellikoctl share.
 *
 * A tool for a person at a terminal or a script: results go to stdout, everything else to stderr as
 * plain sentences, and the exit code is honest.  A subcommand may end the process wherever it stands
 * (die, and the pg_ calls below when they fail): what it had begun in the database is rolled back by
 * the server.  Connections, results and memory are released when the process ends; pg_clear is for
 * loops. */
#ifndef SELLIKO_CTL_H
#define SELLIKO_CTL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"

/* How it ended; the words stand in --help. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_PROBLEM = 1,        /* it ran, and what it found or tried is not well */
    CTL_USAGE = 64,         /* the command line is wrong (EX_USAGE) */
    CTL_UNAVAILABLE = 69,   /* the database cannot be reached (EX_UNAVAILABLE) */
    CTL_CONFIG = 78,        /* the configuration is wrong (EX_CONFIG) */
};

/* Say what is wrong ("sellikoctl: …") and end. */
_Noreturn void die(enum ctl_exit code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What lives until the end. */
struct arena *ctl_memory(void);

/* ---- options ---- */

/* Take --NAME VALUE or --NAME=VALUE out of ARGV; NULL when it is not there. */
const char *take_option(int *argc, char **argv, const char *name);
bool take_flag(int *argc, char **argv, const char *name);

/* End with CTL_USAGE unless exactly N arguments are left (argv[0] is the subcommand's name). */
void want_arguments(int argc, char **argv, int n);

/* ---- files ---- */

/* Size and sum of the regular file PATH; false, with errno, when it cannot be read. */
bool hash_file(const char *path, int64_t *size, char sha256[65]);

/* ---- the database (pg.c) ---- */

/* A connection with the sessions' settings of all programs, or the end with CTL_UNAVAILABLE. */
PGconn *pg_open(void);

/* The same, but NULL, with the reason in WHY, instead of the end. */
PGconn *pg_try_open(char *why, size_t size);
PGconn *pg_try_open_at(const char *url, char *why, size_t size);

/* One statement with N text parameters.  Anything but success ends with CTL_PROBLEM. */
PGresult *pg_query_(PGconn *pg, const char *sql, const char *const *param, int n);
#define pg_query(pg, sql, ...)                                      \
    pg_query_(pg, sql, (const char *const[]){ NULL __VA_OPT__(, ) __VA_ARGS__ } + 1, \
              (int)(sizeof((const char *const[]){ NULL __VA_OPT__(, ) __VA_ARGS__ }) / sizeof(char *)) - 1)

/* Several statements at once, without parameters; pg_run leaves it to the caller to judge the result. */
PGresult *pg_run(PGconn *pg, const char *sql);
void pg_exec(PGconn *pg, const char *sql);

void pg_clear(PGresult *res);

/* The value of row I's column NAME, NULL for null. */
const char *pg_text(const PGresult *res, int i, const char *name);
int64_t pg_int(const PGresult *res, int i, const char *name);
bool pg_is(const PGresult *res, int i, const char *name);   /* a boolean */

/* The first column of the first row, NULL when there is none. */
const char *pg_value(const PGresult *res);

/* The server's message without its newline. */
const char *pg_message(PGconn *pg);

/* ---- keys (keys.c) ---- */

/* Load the keyring.  False, and a sentence in WHY, when there are no keys or one does not open. */
bool keys_load(PGconn *pg, char *why, size_t size);

/* Make the first key of each purpose where there is none; the number of keys made.  Within the
 * caller's transaction. */
int keys_ensure(PGconn *pg);

/* Make and store the key PURPOSE VERSION, and add it to this process's keyring. */
void keys_make(PGconn *pg, enum crypto_purpose purpose, uint32_t version);

/* ---- migrations (migrate.c) ---- */

/* What one file is, against what the database remembers. */
enum migration_state { MIGRATION_APPLIED, MIGRATION_PENDING, MIGRATION_EDITED, MIGRATION_UNKNOWN };

struct migration {
    char *name;        /* 001_create_users.sql */
    const char *text;  /* NULL for MIGRATION_UNKNOWN: the database knows a file that the folder lacks */
    char checksum[65]; /* SHA-256 of the text, in hex */
    enum migration_state state;
};

struct migrations {
    size_t n;
    struct migration *item;   /* in the order of their names */
};

/* The folder of the migrations: GIVEN, or (NULL) where those of this program lie; NULL when there are
 * none.  Valid until the next call. */
const char *migrations_dir(const char *given);

/* The text of the file NAME in it, or the end. */
const char *migrations_text(const char *dir, const char *name);

/* The files of DIR judged by the database. */
struct migrations migrations_read(PGconn *pg, const char *dir);

/* How many of them are in each state. */
struct migration_counts {
    int n[4];   /* by enum migration_state */
};
struct migration_counts migrations_count(const struct migrations *m);

/* ---- subcommands: what main returns ---- */

int cmd_migrate(int argc, char **argv);
int cmd_user(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_rotate_key(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_storage(int argc, char **argv);
int cmd_bucket(int argc, char **argv);
int cmd_setting(int argc, char **argv);
int cmd_pg_service(int argc, char **argv);

#endif
