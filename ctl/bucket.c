/* bucket -- what selliko-backup and selliko-restore need of buckets; for scripts, not for people.
 *
 *   bucket list store|backup [PREFIX]      a line "SIZE TIME NAME" an object, in the order of names
 *   bucket put NAME COMMAND...             what COMMAND writes, if it ends well, becomes an object of the backup;
 *                                          its "SHA256 SIZE"
 *   bucket get NAME FILE                   an object of the backup becomes a file
 *   bucket delete                          the objects of the backup that standard input names, a line each
 *   bucket carry FROM TO [--anew]          files, named by standard input as "SHA256  NAME" (or "-  NAME")
 *
 * `store` is the bucket of S3_BUCKET_NAME, `backup` that of BACKUP_DIR (s3://bucket/prefix), whose names are
 * those below the prefix.  What carry does stands in carry.c. */
#include "bucket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "config.h"
#include "s3upload.h"

enum {
    TRIES = 10,                    /* half a minute of a service that is out of order */
    LIST_S = 120, OBJECT_S = 24 * 3600,
    PART_BYTES = 8 << 20, PARTS = 9000,
};

/* ---- the two buckets ---- */

static struct s3 *
must_open(const struct s3_settings *settings)
{
    struct s3 *s3 = s3_open(settings);

    if (s3 == NULL)
        die(CTL_CONFIG, "the bucket %s has no usable address", settings->bucket);
    return s3;
}

struct s3 *
bucket_open_store(void)
{
    const struct config *c = config();

    if (c->s3_bucket_name == NULL)
        die(CTL_CONFIG, "S3_BUCKET_NAME is not set");
    return must_open(&(struct s3_settings){ .bucket = c->s3_bucket_name, .endpoint = c->s3_endpoint, .region = c->aws_region,
                                            .key_id = c->aws_access_key_id, .secret = c->aws_secret_access_key,
                                            .token = c->aws_session_token, .tries = TRIES });
}

struct s3 *
bucket_open_backup(const char **prefix)
{
    struct s3_settings settings;

    if (!bucket_of_backup(&settings, prefix))
        die(CTL_CONFIG, "BACKUP_DIR is no bucket");
    settings.tries = TRIES;
    return must_open(&settings);
}

bool
bucket_of_backup(struct s3_settings *settings, const char **prefix)
{
    const struct config *c = config();
    bool own_key = c->backup_aws_access_key_id != NULL;

    if (strncmp(c->backup_dir, "s3://", 5) != 0)
        return false;
    const char *name = c->backup_dir + 5;
    size_t len = strcspn(name, "/");
    *settings = (struct s3_settings){
        .bucket = arena_memdup0(ctl_memory(), name, len),
        .endpoint = c->backup_s3_endpoint != NULL ? c->backup_s3_endpoint : c->s3_endpoint,
        .region = c->backup_aws_region != NULL ? c->backup_aws_region : c->aws_region,
        .key_id = own_key ? c->backup_aws_access_key_id : c->aws_access_key_id,
        .secret = own_key ? c->backup_aws_secret_access_key : c->aws_secret_access_key,
        .token = own_key ? NULL : c->aws_session_token,
    };
    *prefix = name[len] == '/' ? arena_printf(ctl_memory(), "%s/", name + len + 1) : "";
    return true;
}

bool
bucket_is_name(const char *name)
{
    for (const char *s = name;; s++) {
        size_t len = strcspn(s, "/");
        if (len == 0 || (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
                return false;
        s += len;
        if (*s == '\0')
            return true;
    }
}

char *
bucket_next_line(void)
{
    static char line[S3LIST_KEY_MAX + 80];

    if (fgets(line, sizeof line, stdin) == NULL) {
        if (ferror(stdin))
            die(CTL_PROBLEM, "standard input: %s", strerror(errno));
        return NULL;
    }
    size_t len = strlen(line);
    if (len > 0 && line[len - 1] == '\n')
        line[len - 1] = '\0';
    else if (!feof(stdin))
        die(CTL_USAGE, "a line of standard input is too long");
    return line;
}

/* ---- progress, to a descriptor that the script keeps open to the terminal ---- */

static int progress = -1;

static void
take_progress(int *argc, char **argv)
{
    const char *fd = take_option(argc, argv, "progress");

    if (fd != NULL)
        progress = (int)strtol(fd, NULL, 10);
}

void
bucket_show(int64_t files, int64_t bytes)
{
    static time_t at;
    time_t now = time(NULL);

    if (progress < 0 || now == at)
        return;
    at = now;
    if (files >= 0)
        dprintf(progress, "\r    %lld files, %.1f MB ", (long long)files, (double)bytes / 1e6);
    else
        dprintf(progress, "\r    %.1f MB ", (double)bytes / 1e6);
}

void
bucket_end_show(void)
{
    if (progress >= 0)
        dprintf(progress, "\r\033[K");
}

/* ---- list, put, get, delete ---- */

static bool
list_one(void *ctx, const struct s3list_entry *entry)
{
    const char *name = entry->key + *(const size_t *)ctx;

    if (bucket_is_name(name))
        printf("%lld %lld %s\n", (long long)entry->size, (long long)entry->modified, name);
    return true;
}

static int
list(int argc, char **argv)
{
    want_arguments(argc, argv, argc > 2 ? 2 : 1);
    bool store = strcmp(argv[1], "store") == 0;
    if (!store && strcmp(argv[1], "backup") != 0)
        die(CTL_USAGE, "list takes store or backup");
    const char *prefix = "";
    struct s3 *s3 = store ? bucket_open_store() : bucket_open_backup(&prefix);
    size_t skip = strlen(prefix);
    enum s3_result result = s3_list(s3, arena_printf(ctl_memory(), "%s%s", prefix, argc > 2 ? argv[2] : ""), false, LIST_S, list_one, &skip);
    if (result != S3_OK)
        die(CTL_PROBLEM, "listing the bucket: %s", s3_problem(result));
    s3_close(s3);
    return CTL_OK;
}

static volatile sig_atomic_t ended;

static void
end_by_signal(int sig)
{
    ended = sig;
}

/* Start COMMAND; what it writes comes from *FD. */
static pid_t
start(char **command, int *fd)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        die(CTL_PROBLEM, "%s: %s", command[0], strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die(CTL_PROBLEM, "%s: %s", command[0], strerror(errno));
    if (pid == 0) {
        if (dup2(ends[1], STDOUT_FILENO) >= 0)
            execvp(command[0], command);
        fprintf(stderr, "%s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    *fd = ends[0];
    return pid;
}

static int
put(int argc, char **argv)
{
    const char *expect = take_option(&argc, argv, "expect");
    int64_t expected = expect != NULL ? strtoll(expect, NULL, 10) : 0, size = 0;
    size_t part = PART_BYTES;
    char sha256[65], *buf = malloc(1 << 18);
    const char *prefix;
    int fd, status = 0;

    if (argc < 3)
        die(CTL_USAGE, "put needs a name and a command; see --help");
    struct s3 *s3 = bucket_open_backup(&prefix);
    while ((int64_t)(part * PARTS) < expected)
        part += 1 << 20;
    struct s3upload *upload = s3upload_begin(s3, arena_printf(ctl_memory(), "%s%s", prefix, argv[1]), part);
    if (buf == NULL || upload == NULL)
        die(CTL_PROBLEM, "there is not enough memory");
    /* read(2) must return: what was sent is then taken back */
    struct sigaction action = { .sa_handler = end_by_signal };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);

    pid_t pid = start(argv + 2, &fd);
    ssize_t n = 0;
    bool good = true;
    while (good && !ended && (n = read(fd, buf, 1 << 18)) > 0) {
        good = s3upload_write(upload, buf, (size_t)n);
        bucket_show(-1, size += n);
    }
    good = good && !ended && n == 0;
    close(fd);
    if (!good)
        (void)kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    bool its_fault = good && (!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    enum s3_result result = s3upload_end(upload, good && !its_fault, &size, sha256);
    bucket_end_show();
    free(buf);
    if (its_fault)
        die(CTL_PROBLEM, "%s ended with %d", argv[2], WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (!good || result != S3_OK)
        die(CTL_PROBLEM, "%s: %s", argv[1], ended ? "ended by a signal" : result != S3_OK ? s3_problem(result) : "the bucket did not take it");
    printf("%s %lld\n", sha256, (long long)size);
    s3_close(s3);
    return CTL_OK;
}

static int
get(int argc, char **argv)
{
    const char *prefix;

    want_arguments(argc, argv, 2);
    struct s3 *s3 = bucket_open_backup(&prefix);
    struct s3_call call = { .what = S3_GET, .key = arena_printf(ctl_memory(), "%s%s", prefix, argv[1]), .file = argv[2] };
    if (!s3_run(s3, &call, 1, OBJECT_S, false))
        die(CTL_PROBLEM, "%s: %s", argv[1], s3_problem(call.result));
    if (call.noted[0] != '\0' && strcmp(call.noted, call.sha256) != 0) {
        (void)unlink(argv[2]);
        die(CTL_PROBLEM, "%s: came with other bytes than were sent there", argv[1]);
    }
    s3_close(s3);
    return CTL_OK;
}

static int
delete(int argc, char **argv)
{
    struct s3_call call[BUCKET_BATCH];
    struct arena *a = arena_new();
    const char *name = "", *prefix;

    want_arguments(argc, argv, 0);
    struct s3 *s3 = bucket_open_backup(&prefix);
    if (a == NULL)
        die(CTL_PROBLEM, "there is not enough memory");
    while (name != NULL) {
        size_t n = 0;
        while (n < BUCKET_BATCH && (name = bucket_next_line()) != NULL) {
            if (!bucket_is_name(name))
                die(CTL_USAGE, "`%s` is no name", name);
            call[n++] = (struct s3_call){ .what = S3_DELETE, .key = arena_printf(a, "%s%s", prefix, name) };
        }
        if (!s3_run(s3, call, n, BUCKET_BATCH_S, false))
            for (size_t i = 0; i < n; i++)
                if (call[i].result != S3_OK)
                    die(CTL_PROBLEM, "%s: %s", call[i].key, s3_problem(call[i].result));
        arena_reset(a);
    }
    arena_free(a);
    s3_close(s3);
    return CTL_OK;
}

/* bucket WHAT ... */
int
cmd_bucket(int argc, char **argv)
{
    static const struct { const char *name; int (*run)(int argc, char **argv); } parts[] = {
        { "list", list }, { "put", put }, { "get", get }, { "delete", delete }, { "carry", carry },
    };

    take_progress(&argc, argv);
    if (argc < 2)
        die(CTL_USAGE, "bucket needs more; see --help");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run(argc - 1, argv + 1);
    die(CTL_USAGE, "there is no `bucket %s`; see --help", argv[1]);
}
