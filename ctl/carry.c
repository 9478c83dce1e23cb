/* carry -- `bucket carry FROM TO [--anew]`: files between a bucket and a folder, or two buckets, a batch at a time.
 *
 * FROM and TO are store, a folder, `none` (TO only: the files are read and judged, and kept nowhere), or pool: the
 * files of all backups in the bucket together, named by their sums (files/ab/abcd…), so that what two backups have
 * in common is there once.
 *
 * It says "SHA256  NAME" for each file that is in TO with these bytes.  A file that has other bytes than the line,
 * or than were once uploaded, is told and not carried.  One that is gone is told where a sum was given, and
 * passed over where not: it was an orphan that somebody removed after the list was made.  What is in TO already is
 * not sent again (--anew: it is).  Little is in memory and on this disk at a time. */
#include "bucket.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "config.h"
#include "store.h"

struct place {
    enum { STORE, POOL, FOLDER, NONE } kind;
    const char *folder;
    struct s3 *s3;
    const char *prefix;        /* of POOL */
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
    struct item item[BUCKET_BATCH];
    struct s3_call call[BUCKET_BATCH];
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

    return p->kind == POOL ? arena_printf(c->a, "%sfiles/%.2s/%s", p->prefix, sum, sum) : it->name;
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
    struct item *of[BUCKET_BATCH];
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
    (void)s3_run(c->from.s3, c->call, n, BUCKET_BATCH_S, false);
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
    struct item *of[BUCKET_BATCH];
    size_t n = 0, left = 0;

    for (size_t i = 0; i < c->n; i++)
        if (c->item[i].good) {
            of[n] = &c->item[i];
            c->call[n++] = (struct s3_call){ .what = S3_HEAD, .key = key_of(c, &c->to, &c->item[i]) };
        }
    if (!c->anew)
        (void)s3_run(c->to.s3, c->call, n, BUCKET_BATCH_S, false);
    for (size_t i = 0; i < n; i++) {
        const struct s3_call *head = &c->call[i];
        if (!c->anew && head->result == S3_OK && head->size == of[i]->size && strcmp(head->sha256, of[i]->got) == 0)
            continue;
        of[left] = of[i];
        c->call[left++] = (struct s3_call){ .what = S3_PUT, .key = head->key, .file = of[i]->path };
    }
    (void)s3_run(c->to.s3, c->call, left, BUCKET_BATCH_S, true);
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
    bucket_show(c->n_files, c->n_bytes);
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
        return (struct place){ .kind = STORE, .s3 = bucket_open_store() };
    if (strcmp(word, "pool") == 0) {
        struct place pool = { .kind = POOL };
        pool.s3 = bucket_open_backup(&pool.prefix);
        return pool;
    }
    if (strcmp(word, "none") == 0)
        return (struct place){ .kind = NONE };
    return (struct place){ .kind = FOLDER, .folder = word };
}

int
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
        for (c.n = 0; c.n < BUCKET_BATCH && (line = bucket_next_line()) != NULL; c.n++) {
            size_t len = strcspn(line, " ");
            bool known = is_sum(line, len);
            if ((!known && strncmp(line, "- ", 2) != 0) || strncmp(line + len, "  ", 2) != 0 || !bucket_is_name(line + len + 2))
                die(CTL_USAGE, "`%s` is not understood", line);
            c.item[c.n] = (struct item){ .name = arena_strdup(c.a, line + len + 2), .good = true };
            if (known)
                memcpy(c.item[c.n].want, line, 64);
        }
        carry_batch(&c);
        arena_reset(c.a);
    }
    bucket_end_show();
    arena_free(c.a);
    store_stage_end(stage);
    store_close(local);
    s3_close(c.from.s3);
    s3_close(c.to.s3);
    return c.failed ? CTL_PROBLEM : CTL_OK;
}
