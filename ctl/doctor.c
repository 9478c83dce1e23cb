/* doctor -- what is wrong, and what mends it.  One line a check:
 *
 *   ok    the check          what was found
 *   WARN  the check          what will be a trouble, or is one for somebody
 *   FAIL  the check          what does not work now: the exit code is 1
 *
 * Every check stands alone and goes as far as it can: without a database the others still say theirs.  Here are those
 * of this host; those of the database are in doctor_database.c. */
#include "doctor.h"

#include "bucket.h"
#include "store_s3.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "config.h"

static int n_of[3];

void
line(enum verdict v, const char *what, const char *fmt, ...)
{
    static const char *const words[] = { "ok", "WARN", "FAIL" };
    va_list ap;

    n_of[v]++;
    printf("%-4s  %-14s  ", words[v], what);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static void
check_configuration(void)
{
    const struct config *c = config();
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        die(CTL_PROBLEM, "out of memory");
    int n = config_warnings(out);
    fclose(out);
    for (char *rest = text, *one; n > 0 && (one = strsep(&rest, "\n")) != NULL;)
        if (*one != '\0')
            line(WARN, "configuration", "%s", one);
    free(text);
    if (strcmp(c->jwt_secret, c->encryption_key) == 0 || strcmp(c->jwt_secret, c->file_url_secret) == 0
        || strcmp(c->encryption_key, c->file_url_secret) == 0)
        line(WARN, "configuration", "two secrets are the same: make each one with `sellikoctl keygen`");
    for (size_t i = 0; c->production && i < c->allowed_origins.n; i++)
        if (strstr(c->allowed_origins.item[i], "://localhost") != NULL) {
            line(WARN, "configuration", "ALLOWED_ORIGINS: %s is no page of a visitor: name where the web application lives",
                 c->allowed_origins.item[i]);
            n++;
        }
    if (n == 0)
        line(OK, "configuration", "%s, %s", c->file != NULL ? c->file : "from the environment alone", c->env);
}

/* Days from 1970-01-01 to a day of the Gregorian calendar (Hinnant, "chrono-compatible low-level date
 * algorithms"), so that no time zone takes part. */
static long
days(int y, int m, int d)
{
    y -= m <= 2;
    long era = y / 400, yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* When Meta ends each version of the Graph API (developers.facebook.com, "Graph API changelog"), judged
 * on the day TODAY (days since 1970).  Of an ended one nothing can be sent any more: whether that is a
 * failure or only a warning depends on whether anything is (LIVE). */
static enum verdict
judge_version(const char *version, long today, bool live, char *says, size_t size)
{
    static const struct { const char *version; int y, m, d; } end[] = {
        { "v17.0", 2025, 9, 12 }, { "v20.0", 2026, 9, 24 }, { "v21.0", 2027, 1, 21 }, { "v22.0", 2027, 5, 20 },
        { "v23.0", 2027, 10, 8 }, { "v24.0", 2028, 2, 18 }, { "v25.0", 2028, 7, 29 },
    };
    static const char remedy[] = ": set WHATSAPP_API_VERSION to a newer one";

    for (size_t i = 0; i < sizeof end / sizeof end[0]; i++) {
        if (strcmp(version, end[i].version) != 0)
            continue;
        long left = days(end[i].y, end[i].m, end[i].d) - today;
        if (left <= 0)
            snprintf(says, size, "%s ended on %d-%02d-%02d%s", version, end[i].y, end[i].m, end[i].d, remedy);
        else
            snprintf(says, size, "%s ends on %d-%02d-%02d, in %ld days%s", version, end[i].y, end[i].m, end[i].d, left,
                     left <= 90 ? remedy : "");
        return left <= 0 ? (live ? FAIL : WARN) : left <= 90 ? WARN : OK;
    }
    if (strtod(version + 1, NULL) < 20) {   /* those between ended with their neighbours */
        snprintf(says, size, "%s has ended%s", version, remedy);
        return live ? FAIL : WARN;
    }
    snprintf(says, size, "%s is not known to this release: look up when it ends", version);
    return WARN;
}

static void
check_graph_api(void)
{
    char says[160];
    enum verdict v = judge_version(config()->whatsapp_api_version, (long)(time(NULL) / 86400),
                                   config()->whatsapp_access_token != NULL, says, sizeof says);

    line(v, "WhatsApp API", "%s", says);
}

static void
check_program(const char *what, const char *path, const char *needed_for)
{
    if (access(path, X_OK) == 0)
        line(OK, what, "%s", path);
    else
        line(FAIL, what, "%s: %s; without it %s", path, strerror(errno), needed_for);
}

/* A file can be made in FOLDER by the user who runs this, which should be the service's. */
static void
check_writable(const char *folder)
{
    char path[PATH_MAX];
    struct stat st;

    if (stat(folder, &st) != 0) {
        line(FAIL, "storage", "%s: %s; make it, for the user of the service", folder, strerror(errno));
        return;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/.doctor-XXXXXX", folder) >= sizeof path)
        return;
    int fd = mkstemp(path);
    if (fd < 0) {
        line(FAIL, "storage", "%s cannot be written: %s", folder, strerror(errno));
        return;
    }
    bool written = write(fd, "x", 1) == 1 && fsync(fd) == 0;
    int why = errno;
    close(fd);
    unlink(path);
    if (written)
        line(OK, "storage", "%s can be written", folder);
    else
        line(FAIL, "storage", "%s: %s", folder, strerror(why));
}

static void
check_space(const char *folder)
{
    struct statvfs fs;

    if (statvfs(folder, &fs) != 0)
        return;
    double percent = fs.f_blocks > 0 ? 100.0 * (double)fs.f_bavail / (double)fs.f_blocks : 0;
    double inodes = fs.f_files > 0 ? 100.0 * (double)fs.f_favail / (double)fs.f_files : 100;
    double gb = (double)fs.f_bavail * (double)fs.f_frsize / 1e9;
    enum verdict v = percent < 5 || inodes < 5 ? FAIL : percent < 15 || inodes < 15 ? WARN : OK;
    line(v, "space", "%.1f GB (%.0f %%) free, %.0f %% of inodes%s", gb, percent, inodes,
         v != OK ? ": make room, or uploads and the database will stop" : "");
}

static bool
one_is_enough(void *ctx, const struct s3list_entry *entry)
{
    (void)ctx, (void)entry;
    return false;
}

/* Read only: a probe that is written would have to be deleted, and rights to write show at the first upload. */
static void
check_bucket(void)
{
    const struct config *c = config();
    struct s3 *bucket = store_s3_open();
    enum s3_result result = bucket == NULL ? S3_REFUSED : s3_list(bucket, "listings/", true, 10, one_is_enough, NULL);

    s3_close(bucket);
    if (result == S3_OK)
        line(OK, "storage", "the bucket %s answers", c->s3_bucket_name);
    else if (result == S3_UNREACHABLE)
        line(FAIL, "storage", "the bucket %s does not answer: check S3_ENDPOINT, AWS_REGION and the network", c->s3_bucket_name);
    else
        line(FAIL, "storage", "the bucket %s refuses to be listed (its reason is in the line above): check S3_BUCKET_NAME, AWS_REGION,"
             " AWS_ACCESS_KEY_ID and what that key may do", c->s3_bucket_name);
}

static void
check_storage(void)
{
    const struct config *c = config();
    char uploads[PATH_MAX];

    if (c->s3_bucket_name != NULL)
        check_bucket();
    if ((size_t)snprintf(uploads, sizeof uploads, "%s/uploads", c->state_dir) < sizeof uploads)
        check_writable(uploads);
    check_space(c->state_dir);
}

/* Where backups go; whether there are any is check_backup's question. */
static void
check_backup_place(void)
{
    const struct config *c = config();
    struct s3_settings settings;
    const char *prefix;

    if (!bucket_of_backup(&settings, &prefix)) {
        char parent[PATH_MAX];
        snprintf(parent, sizeof parent, "%s", c->backup_dir);
        /* The first backup makes it. */
        for (char *slash; access(parent, F_OK) != 0 && errno == ENOENT && (slash = strrchr(parent, '/')) > parent;)
            *slash = '\0';
        if (access(parent, W_OK) != 0)
            line(WARN, "backup place", "%s cannot be written: %s; mend that, or set BACKUP_DIR", parent, strerror(errno));
        else
            line(OK, "backup place", "%s", c->backup_dir);
        return;
    }
    struct s3 *bucket = s3_open(&settings);
    enum s3_result result = bucket == NULL ? S3_REFUSED : s3_list(bucket, prefix, true, 10, one_is_enough, NULL);
    s3_close(bucket);
    if (result != S3_OK)
        line(FAIL, "backup place", "%s %s: check BACKUP_DIR, BACKUP_AWS_ACCESS_KEY_ID and what that key may do, and BACKUP_S3_ENDPOINT",
             c->backup_dir, result == S3_UNREACHABLE ? "does not answer" : "refuses to be listed (its reason is in the line above)");
    else if (c->s3_bucket_name != NULL && strcmp(c->s3_bucket_name, settings.bucket) == 0)
        line(WARN, "backup place", "%s is the bucket of the photos, too: what befalls it takes both; use another one", settings.bucket);
    else
        line(OK, "backup place", "%s answers", c->backup_dir);
}

/* Debian gives an nginx worker 768 connections, which is 384 realtime clients. */
static void
check_nginx(void)
{
    char ours[1024], *text = NULL;
    size_t cap = 0;
    long connections = 512, files = 0;   /* nginx's own default; files: as the service has them */

    snprintf(ours, sizeof ours, "%s/nginx/nginx.conf", config()->state_dir);
    const char *path = access(ours, R_OK) == 0 ? ours : "/etc/nginx/nginx.conf";
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return;   /* on another host */
    while (getline(&text, &cap, f) >= 0) {
        (void)sscanf(text, " worker_connections %ld", &connections);
        (void)sscanf(text, " worker_rlimit_nofile %ld", &files);
    }
    free(text);
    fclose(f);
    if (connections < 4096)
        line(WARN, "nginx", "%ld connections a worker, of which a realtime client takes two: raise worker_connections and"
             " worker_rlimit_nofile in %s", connections, path);
    else if (files > 0 && files < connections)
        line(WARN, "nginx", "%ld connections a worker, but %ld descriptors: raise worker_rlimit_nofile in %s", connections, files, path);
    else
        line(OK, "nginx", "%ld connections a worker", connections);
}

/* doctor [--sql DIR] [--strict] */
int
cmd_doctor(int argc, char **argv)
{
    const char *sql = take_option(&argc, argv, "sql");
    bool strict = take_flag(&argc, argv, "strict");
    char why[1024];

    want_arguments(argc, argv, 0);
    check_configuration();
    check_graph_api();
    check_program("photo worker", config()->photo_worker, "no phone can be listed");
    check_storage();
    check_backup_place();
    check_nginx();
    PGconn *pg = pg_try_open(why, sizeof why);
    if (pg == NULL)
        line(FAIL, "database", "%s", why);
    else
        check_database(pg, sql);
    fflush(stdout);
    if (n_of[FAIL] + n_of[WARN] > 0)
        note("%d to mend, %d to look at", n_of[FAIL], n_of[WARN]);
    return n_of[FAIL] > 0 || (strict && n_of[WARN] > 0) ? CTL_PROBLEM : CTL_OK;
}
