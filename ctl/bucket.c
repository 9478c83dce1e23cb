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
 * those below the prefix.  FROM and TO of carry are store, a folder, `none` (TO only: the files are read and
 * judged, and kept nowhere), or pool: the files of all backups in the bucket together, named by their sums
 * (files/ab/abcd…), so that what two backups have in common is there once.
 *
 * carry says "SHA256  NAME" for each file that is in TO with these bytes.  A file that has other bytes than the line,
 * or than were once uploaded, is told and not carried.  One that is gone is told where a sum was given, and
 * passed over where not: it was an orphan that somebody removed after the list was made.  What is in TO already is
 * not sent again (--anew: it is).  Little is in memory and on this disk at a time. */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "config.h"
#include "s3upload.h"
#include "store.h"

enum {
    TRIES = 10,                    /* half a minute of a service that is out of order */
    LIST_S = 120, BATCH_S = 900, OBJECT_S = 24 * 3600,
    BATCH = 32,                    /* files, of 5 MB at most */
    PART_BYTES = 8 << 20, PARTS = 9000,
};

/* ---- the two buckets ---- */

static const char *prefix = "";    /* of what is in the backups' one, with its / */

static struct s3 *
must_open(const struct s3_settings *settings)
{
    struct s3 *s3 = s3_open(settings);

    if (s3 == NULL)
        die(CTL_CONFIG, "the bucket %s has no usable address", settings->bucket);
    return s3;
}

static struct s3 *
open_store(void)
{
    const struct config *c = config();

    if (c->s3_bucket_name == NULL)
        die(CTL_CONFIG, "S3_BUCKET_NAME is not set");
    return must_open(&(struct s3_settings){ .bucket = c->s3_bucket_name, .endpoint = c->s3_endpoint, .region = c->aws_region,
                                            .key_id = c->aws_access_key_id, .secret = c->aws_secret_access_key,
                                            .token = c->aws_session_token, .tries = TRIES });
}

static struct s3 *
open_backup(void)
{
    struct s3_settings settings;

    if (!backup_bucket(&settings, &prefix))
        die(CTL_CONFIG, "BACKUP_DIR is no bucket");
    settings.tries = TRIES;
    return must_open(&settings);
}

bool
backup_bucket(struct s3_settings *settings, const char **prefix_of_it)
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
    *prefix_of_it = name[len] == '/' ? arena_printf(ctl_memory(), "%s/", name + len + 1) : "";
    return true;
}

/* A name that stays below the folder or prefix that it is put in, and on its line. */
static bool
is_name(const char *name)
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

/* The next line of standard input without its end, valid until the next call; NULL after the last one. */
static char *
next_line(void)
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

static void
show(int64_t files, int64_t bytes)
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

static void
end_show(void)
{
    if (progress >= 0)
        dprintf(progress, "\r\033[K");
}

/* ---- list, put, get, delete ---- */

static bool
list_one(void *ctx, const struct s3list_entry *entry)
{
    const char *name = entry->key + *(const size_t *)ctx;

    if (is_name(name))
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
    struct s3 *s3 = store ? open_store() : open_backup();
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
    int fd, status = 0;

    if (argc < 3)
        die(CTL_USAGE, "put needs a name and a command; see --help");
    struct s3 *s3 = open_backup();
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
        show(-1, size += n);
    }
    good = good && !ended && n == 0;
    close(fd);
    if (!good)
        (void)kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    bool its_fault = good && (!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    enum s3_result result = s3upload_end(upload, good && !its_fault, &size, sha256);
    end_show();
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
    want_arguments(argc, argv, 2);
    struct s3 *s3 = open_backup();
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
    struct s3_call call[BATCH];
    struct arena *a = arena_new();
    const char *name = "";

    want_arguments(argc, argv, 0);
    struct s3 *s3 = open_backup();
    if (a == NULL)
        die(CTL_PROBLEM, "there is not enough memory");
    while (name != NULL) {
        size_t n = 0;
        while (n < BATCH && (name = next_line()) != NULL) {
            if (!is_name(name))
                die(CTL_USAGE, "`%s` is no name", name);
            call[n++] = (struct s3_call){ .what = S3_DELETE, .key = arena_printf(a, "%s%s", prefix, name) };
        }
        if (!s3_run(s3, call, n, BATCH_S, false))
            for (size_t i = 0; i < n; i++)
                if (call[i].result != S3_OK)
                    die(CTL_PROBLEM, "%s: %s", call[i].key, s3_problem(call[i].result));
        arena_reset(a);
    }
    arena_free(a);
    s3_close(s3);
    return CTL_OK;
}

/* ---- carry ---- */

struct place {
    enum { STORE, POOL, FOLDER, NONE } kind;
    const char *folder;
    struct s3 *s3;
};

struct item {
    const char *name, *path;   /* where its bytes are here */
    char want[65], got[65];
    int64_t size;
    bool good;
};

struct carry {
    struct place from, to;
    struct arena *a;           /* of a batch */
    const char *scratch;       /* a folder of ours */
    bool anew, failed, stop;
    int64_t n_files, n_bytes;
    struct item item[BATCH];
    struct s3_call call[BATCH];
    size_t n;
};

static void
bad(struct carry *c, struct item *it, const char *what)
{
    note("%s: %s", it->name, what);
    it->good = false;
    c->failed = true;
}

static const char *
key_of(struct carry *c, const struct place *p, const struct item *it)
{
    const char *sum = it->got[0] != '\0' ? it->got : it->want;

    return p->kind == POOL ? arena_printf(c->a, "%sfiles/%.2s/%s", prefix, sum, sum) : it->name;
}

static bool
make_folders(char *path)
{
    for (char *s = strchr(path + 1, '/'); s != NULL; s = strchr(s + 1, '/')) {
        *s = '\0';
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        *s = '/';
        if (!made)
            return false;
    }
    return true;
}

/* The bytes of all items, here, with their sums. */
static void
bring(struct carry *c)
{
    struct item *of[BATCH];
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        struct item *it = &c->item[i];
        if (c->from.kind == FOLDER) {
            it->path = arena_printf(c->a, "%s/%s", c->from.folder, it->name);
            if (hash_file(it->path, &it->size, it->got))
                continue;
            it->good = false;
            if (errno != ENOENT || it->want[0] != '\0')
                bad(c, it, strerror(errno));
            continue;
        }
        if (c->from.kind == POOL && it->want[0] == '\0')
            die(CTL_USAGE, "%s: a file of the pool is known by its sum alone", it->name);
        if (c->to.kind == FOLDER) {
            char *path = arena_printf(c->a, "%s/%s", c->to.folder, it->name);
            (void)unlink(path);
            if (!make_folders(path)) {
                bad(c, it, strerror(errno));
                c->stop = true;
            }
            it->path = path;
        } else {
            it->path = arena_printf(c->a, "%s/%zu", c->scratch, i);
        }
        of[n] = it;
        c->call[n++] = (struct s3_call){ .what = S3_GET, .key = key_of(c, &c->from, it), .file = it->path };
    }
    if (c->stop || n == 0)
        return;
    (void)s3_run(c->from.s3, c->call, n, BATCH_S, false);
    for (size_t i = 0; i < n; i++) {
        const struct s3_call *got = &c->call[i];
        struct item *it = of[i];
        it->size = got->size;
        memcpy(it->got, got->sha256, sizeof it->got);
        if (got->result == S3_OK && got->noted[0] != '\0' && strcmp(got->noted, got->sha256) != 0)
            bad(c, it, "came with other bytes than were sent there");
        else if (got->result == S3_ABSENT && it->want[0] == '\0')
            it->good = false;
        else if (got->result != S3_OK) {
            bad(c, it, s3_problem(got->result));
            c->stop = c->stop || got->result != S3_ABSENT;
        }
    }
}

/* What is not there yet. */
static void
send(struct carry *c)
{
    struct item *of[BATCH];
    size_t n = 0, left = 0;

    for (size_t i = 0; i < c->n; i++)
        if (c->item[i].good) {
            of[n] = &c->item[i];
            c->call[n++] = (struct s3_call){ .what = S3_HEAD, .key = key_of(c, &c->to, &c->item[i]) };
        }
    if (!c->anew)
        (void)s3_run(c->to.s3, c->call, n, BATCH_S, false);
    for (size_t i = 0; i < n; i++) {
        const struct s3_call *head = &c->call[i];
        if (!c->anew && head->result == S3_OK && head->size == of[i]->size && strcmp(head->sha256, of[i]->got) == 0)
            continue;
        of[left] = of[i];
        c->call[left++] = (struct s3_call){ .what = S3_PUT, .key = head->key, .file = of[i]->path };
    }
    (void)s3_run(c->to.s3, c->call, left, BATCH_S, true);
    for (size_t i = 0; i < left; i++)
        if (c->call[i].result != S3_OK) {
            bad(c, of[i], s3_problem(c->call[i].result));
            c->stop = true;
        } else if (strcmp(c->call[i].sha256, of[i]->got) != 0) {
            bad(c, of[i], "changed while it was sent");
        }
}

static void
carry_batch(struct carry *c)
{
    bring(c);
    for (size_t i = 0; i < c->n; i++) {
        struct item *it = &c->item[i];
        if (it->good && it->want[0] != '\0' && strcmp(it->want, it->got) != 0)
            bad(c, it, "has other bytes than it had: its sum is not the one that is known");
    }
    if (!c->stop && (c->to.kind == STORE || c->to.kind == POOL))
        send(c);
    for (size_t i = 0; i < c->n; i++) {
        const struct item *it = &c->item[i];
        if (it->good && !c->stop) {
            printf("%s  %s\n", it->got, it->name);
            c->n_files++;
            c->n_bytes += it->size;
        }
        if (it->path != NULL && c->from.kind != FOLDER && (c->to.kind != FOLDER || !it->good))
            (void)unlink(it->path);
    }
    show(c->n_files, c->n_bytes);
}

static bool
is_sum(const char *s, size_t len)
{
    return len == 64 && strspn(s, "0123456789abcdef") >= 64;
}

static struct place
take_place(const char *word)
{
    if (strcmp(word, "store") == 0)
        return (struct place){ .kind = STORE, .s3 = open_store() };
    if (strcmp(word, "pool") == 0)
        return (struct place){ .kind = POOL, .s3 = open_backup() };
    if (strcmp(word, "none") == 0)
        return (struct place){ .kind = NONE };
    return (struct place){ .kind = FOLDER, .folder = word };
}

static int
carry(int argc, char **argv)
{
    static struct carry c;
    struct store *local = NULL;
    struct store_stage *stage = NULL;
    char root[PATH_MAX], *line = root;

    c.anew = take_flag(&argc, argv, "anew");
    want_arguments(argc, argv, 2);
    c.from = take_place(argv[1]);
    c.to = take_place(argv[2]);
    if (c.from.kind == NONE || (c.from.kind == FOLDER && c.to.kind == FOLDER))
        die(CTL_USAGE, "nothing is carried from %s to %s", argv[1], argv[2]);
    if (c.from.kind != FOLDER && c.to.kind != FOLDER) {
        snprintf(root, sizeof root, "%s/uploads", config()->state_dir);
        if (store_open(root, &local) != STORE_OK || store_stage_begin(local, &stage) != STORE_OK)
            die(CTL_PROBLEM, "%s: %s", root, strerror(errno));
        c.scratch = store_stage_path(stage);
    }
    c.a = arena_new();
    if (c.a == NULL)
        die(CTL_PROBLEM, "there is not enough memory");
    while (line != NULL && !c.stop) {
        for (c.n = 0; c.n < BATCH && (line = next_line()) != NULL; c.n++) {
            size_t len = strcspn(line, " ");
            bool known = is_sum(line, len);
            if ((!known && strncmp(line, "- ", 2) != 0) || strncmp(line + len, "  ", 2) != 0 || !is_name(line + len + 2))
                die(CTL_USAGE, "`%s` is not understood", line);
            c.item[c.n] = (struct item){ .name = arena_strdup(c.a, line + len + 2), .good = true };
            if (known)
                memcpy(c.item[c.n].want, line, 64);
        }
        carry_batch(&c);
        arena_reset(c.a);
    }
    end_show();
    arena_free(c.a);
    store_stage_end(stage);
    store_close(local);
    s3_close(c.from.s3);
    s3_close(c.to.s3);
    return c.failed ? CTL_PROBLEM : CTL_OK;
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
