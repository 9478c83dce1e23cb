/* storage -- photos and bills from a local folder into a bucket, and back.
 *
 * A folder at a time (a listing's, or an order's proofs): what the other side lacks is carried over, and every
 * file is there only when its bytes have the same SHA-256 on both sides: what was uploaded is read back, what was
 * downloaded is held against the sum that stands with the object.  So it can be killed anywhere and run
 * again, which carries over the rest, and twice over nothing.
 *
 * Files never change once they are published, so the service may run all the while, on either side; a last run
 * after it was switched over brings what came in between.  Nothing is removed unless --remove says so, and
 * then only a folder of which everything was just seen on the other side. */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "config.h"
#include "log.h"
#include "s3.h"
#include "store.h"
#include "store_s3.h"

enum { FILES_MAX = 512, FOLDER_S = 300, LIST_S = 60, DEPTH_MAX = 8 };

static const char *const groups[] = { "listings", "verification" };

struct file {
    const char *key, *path;   /* "listings/…/photo1.webp", and where it is or will be here */
    int64_t size;
    char sha256[65];
};

struct move {
    struct arena *a;          /* of one folder */
    struct store *local;
    struct s3 *bucket;
    const char *root;         /* STATE_DIR/uploads */
    bool remove, quiet, failed;
    int64_t n_folders, n_files, n_carried, n_bytes;
    struct file file[FILES_MAX];
    size_t n;
};

/* ---- progress ---- */

static void
show(const struct move *m, bool last)
{
    if (m->quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%lld folders, %lld files, %lld of them carried over (%.1f MB)%s", (long long)m->n_folders,
            (long long)m->n_files, (long long)m->n_carried, (double)m->n_bytes / 1e6, last ? "\n" : "");
}

static void
bad(struct move *m, const char *key, const char *what)
{
    if (!m->quiet && isatty(STDERR_FILENO))
        fputc('\n', stderr);
    note("%s: %s", key, what);
    m->failed = true;
}

/* ---- what there is ---- */

static bool
add_file(struct move *m, const char *key)
{
    if (m->n == FILES_MAX)
        return false;
    m->file[m->n++] = (struct file){ .key = arena_strdup(m->a, key), .path = arena_printf(m->a, "%s/%s", m->root, key) };
    return true;
}

/* All files below KEY here, hashed. */
static bool
find_here(struct move *m, const char *key, int depth)
{
    DIR *dir = opendir(arena_printf(m->a, "%s/%s", m->root, key));
    struct dirent *e;
    bool good = dir != NULL && depth < DEPTH_MAX;

    while (good && (e = readdir(dir)) != NULL) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        const char *inner = arena_printf(m->a, "%s/%s", key, e->d_name);
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            good = false;
        else if (S_ISDIR(st.st_mode))
            good = find_here(m, inner, depth + 1);
        else if (S_ISREG(st.st_mode))
            good = add_file(m, inner) && hash_file(m->file[m->n - 1].path, &m->file[m->n - 1].size, m->file[m->n - 1].sha256);
    }
    if (dir != NULL)
        closedir(dir);
    return good;
}

static bool
found_there(void *ctx, const struct s3list_entry *entry)
{
    return add_file(ctx, entry->key);
}

/* ---- to the bucket ---- */

/* Read what was uploaded back into a scratch folder.  True when all of it is what was sent. */
static bool
read_back(struct move *m, const struct s3_call *sent, size_t n)
{
    struct s3_call *get = arena_zalloc(m->a, n, sizeof *get);
    struct store_stage *scratch;
    bool good = store_stage_begin(m->local, &scratch) == STORE_OK;

    if (!good) {
        bad(m, m->root, strerror(errno));
        return false;
    }
    for (size_t i = 0; i < n; i++)
        get[i] = (struct s3_call){ .what = S3_GET, .key = sent[i].key,
                                   .file = arena_printf(m->a, "%s/%zu", store_stage_path(scratch), i) };
    (void)s3_run(m->bucket, get, n, FOLDER_S, false);
    for (size_t i = 0; i < n; i++)
        if (get[i].result != S3_OK || strcmp(get[i].sha256, sent[i].sha256) != 0) {
            bad(m, sent[i].key, get[i].result != S3_OK ? s3_problem(get[i].result) : "came back from the bucket with other bytes");
            good = false;
        }
    store_stage_end(scratch);
    return good;
}

static void
to_bucket(struct move *m, const char *key)
{
    struct s3_call *head, *put;
    size_t n = 0;

    if (!find_here(m, key, 0)) {
        bad(m, key, "cannot be read");
        return;
    }
    head = arena_zalloc(m->a, m->n + 1, sizeof *head);
    put = arena_zalloc(m->a, m->n + 1, sizeof *put);
    for (size_t i = 0; i < m->n; i++)
        head[i] = (struct s3_call){ .what = S3_HEAD, .key = m->file[i].key };
    (void)s3_run(m->bucket, head, m->n, FOLDER_S, false);
    for (size_t i = 0; i < m->n; i++) {
        if (head[i].result != S3_OK && head[i].result != S3_ABSENT) {
            bad(m, head[i].key, s3_problem(head[i].result));
            return;
        }
        if (head[i].result == S3_ABSENT || head[i].size != m->file[i].size || strcmp(head[i].sha256, m->file[i].sha256) != 0)
            put[n++] = (struct s3_call){ .what = S3_PUT, .key = m->file[i].key, .file = m->file[i].path };
    }
    if (n > 0 && !s3_run(m->bucket, put, n, FOLDER_S, true)) {
        for (size_t i = 0; i < n; i++)
            if (put[i].result != S3_OK && put[i].result != S3_SKIPPED)
                bad(m, put[i].key, s3_problem(put[i].result));
        return;
    }
    if (n > 0 && !read_back(m, put, n))
        return;
    for (size_t i = 0; i < n; i++)
        m->n_bytes += put[i].size;
    m->n_carried += (int64_t)n;
    m->n_files += (int64_t)m->n;
    if (m->remove && store_delete(m->local, key) != STORE_OK)
        bad(m, key, "is in the bucket, but cannot be removed here");
}

/* ---- and back ---- */

/* Publish the N files GOT, as one folder where there is none yet. */
static bool
publish(struct move *m, struct store_stage *stage, const char *key, struct s3_call *const got[], size_t n)
{
    enum store_error error = STORE_EXISTS;

    if (!store_exists(m->local, key))
        error = store_publish_folder(stage, key, key);
    for (size_t i = 0; error == STORE_EXISTS && i < n; i++) {
        enum store_error one = store_publish_file(stage, got[i]->key, got[i]->key);
        int64_t size;
        char sha256[65];
        if (one == STORE_EXISTS && hash_file(arena_printf(m->a, "%s/%s", m->root, got[i]->key), &size, sha256) &&
            strcmp(sha256, got[i]->sha256) == 0) {
            m->n_carried--;   /* it was here: the object has no sum, because another tool put it there */
            continue;
        }
        if (one != STORE_OK) {
            bad(m, got[i]->key, one == STORE_EXISTS ? "is here with other bytes, and was left as it is" : "cannot be written");
            return false;
        }
    }
    if (error != STORE_OK && error != STORE_EXISTS) {
        bad(m, key, error == STORE_FULL ? "there is no space left" : error == STORE_BAD_KEY ? "has a name that no file here has"
                                                                                             : strerror(errno));
        return false;
    }
    return true;
}

static void
to_here(struct move *m, const char *key)
{
    const char *prefix = arena_printf(m->a, "%s/", key);
    struct store_stage *stage = NULL;
    struct s3_call *head, *get, **got;
    size_t n = 0;
    bool good = true;

    if (s3_list(m->bucket, prefix, false, LIST_S, found_there, m) != S3_OK || m->n == FILES_MAX) {
        bad(m, key, "cannot be listed");
        return;
    }
    head = arena_zalloc(m->a, m->n + 1, sizeof *head);
    get = arena_zalloc(m->a, m->n + 1, sizeof *get);
    got = arena_zalloc(m->a, m->n + 1, sizeof *got);
    for (size_t i = 0; i < m->n; i++)
        head[i] = (struct s3_call){ .what = S3_HEAD, .key = m->file[i].key };
    (void)s3_run(m->bucket, head, m->n, FOLDER_S, false);
    if (store_stage_begin(m->local, &stage) != STORE_OK) {
        bad(m, m->root, strerror(errno));
        return;
    }
    for (size_t i = 0; good && i < m->n; i++) {
        struct file *f = &m->file[i];
        if (head[i].result != S3_OK) {
            bad(m, f->key, s3_problem(head[i].result));
            good = false;
        } else if (!hash_file(f->path, &f->size, f->sha256) || strcmp(f->sha256, head[i].sha256) != 0) {
            char *folder = arena_strdup(m->a, f->key);
            *strrchr(folder, '/') = '\0';
            good = store_stage_mkdir(stage, folder) == STORE_OK;
            if (!good)
                bad(m, f->key, "has a name that no file here has, or there is no space left");
            memcpy(f->sha256, head[i].sha256, sizeof f->sha256);
            got[n] = &get[n];
            get[n++] = (struct s3_call){ .what = S3_GET, .key = f->key,
                                         .file = arena_printf(m->a, "%s/%s", store_stage_path(stage), f->key) };
        }
    }
    if (good && n > 0) {
        (void)s3_run(m->bucket, get, n, FOLDER_S, true);
        for (size_t i = 0, k = 0; i < n; i++) {
            while (strcmp(m->file[k].key, get[i].key) != 0)
                k++;
            bool same = m->file[k].sha256[0] == '\0' || strcmp(m->file[k].sha256, get[i].sha256) == 0;
            if (get[i].result != S3_OK || !same) {
                if (get[i].result != S3_SKIPPED)
                    bad(m, get[i].key, get[i].result != S3_OK ? s3_problem(get[i].result) : "came with other bytes than were sent there");
                good = false;
            }
            m->n_bytes += get[i].size;
        }
        good = good && publish(m, stage, key, got, n);
    }
    store_stage_end(stage);
    if (!good)
        return;
    m->n_carried += (int64_t)n;
    m->n_files += (int64_t)m->n;
    if (m->remove && store_s3_delete(m->bucket, key) != STORE_OK)
        bad(m, key, "is here, but cannot be removed from the bucket");
}

/* ---- all of it ---- */

/* The folders of one group; gathered first, because they may go while we work. */
struct names {
    char **name;
    size_t n, room;
};

static bool
add_name(void *ctx, const char *id)
{
    struct names *names = ctx;

    if (names->n == names->room) {
        names->room = names->room > 0 ? 2 * names->room : 1024;
        names->name = realloc(names->name, names->room * sizeof *names->name);
    }
    if (names->name == NULL || (names->name[names->n++] = strdup(id)) == NULL)
        die(CTL_PROBLEM, "there is not enough memory");
    return true;
}

static void
move_group(struct move *m, const char *group, bool up)
{
    struct names names = { 0 };
    enum store_error error = up ? store_each(m->local, group, INT64_MIN / 2, add_name, &names)
                                : store_s3_each(m->bucket, group, add_name, &names);

    if (error != STORE_OK)
        die(CTL_PROBLEM, "%s cannot be listed: %s", group, up ? strerror(errno) : "see the line above");
    for (size_t i = 0; i < names.n; i++) {
        const char *key = arena_printf(m->a, "%s/%s", group, names.name[i]);
        m->n = 0;
        (up ? to_bucket : to_here)(m, key);
        m->n_folders++;
        show(m, false);
        arena_reset(m->a);
        free(names.name[i]);
    }
    free(names.name);
}

/* storage move --to s3|local [--remove] [--quiet] */
int
cmd_storage(int argc, char **argv)
{
    const char *to = take_option(&argc, argv, "to");
    static struct move m;
    char root[PATH_MAX];
    struct stat st;

    m.remove = take_flag(&argc, argv, "remove");
    m.quiet = take_flag(&argc, argv, "quiet");
    want_arguments(argc, argv, 1);
    if (strcmp(argv[1], "move") != 0)
        die(CTL_USAGE, "there is no `storage %s`: see `sellikoctl storage --help`", argv[1]);
    if (to == NULL || (strcmp(to, "s3") != 0 && strcmp(to, "local") != 0))
        die(CTL_USAGE, "--to takes s3 or local");
    if (config()->s3_bucket_name == NULL)
        die(CTL_CONFIG, "S3_BUCKET_NAME is not set: name the bucket, in the environment when the service does not use it yet");

    snprintf(root, sizeof root, "%s/uploads", config()->state_dir);
    if (stat(root, &st) == 0 && st.st_uid != geteuid() && geteuid() == 0)
        die(CTL_PROBLEM, "run me as the owner of %s: what root makes there the service could not remove", root);
    m.root = root;
    m.a = arena_new();
    if (m.a == NULL || store_open(root, &m.local) != STORE_OK)
        die(CTL_PROBLEM, "%s: %s", root, strerror(errno));
    if ((m.bucket = store_s3_open()) == NULL)
        die(CTL_CONFIG, "the bucket %s has no usable address", config()->s3_bucket_name);

    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        move_group(&m, groups[i], strcmp(to, "s3") == 0);
    show(&m, true);
    printf("%lld files in %lld folders are in both places%s; %lld were carried over (%.1f MB)\n", (long long)m.n_files,
           (long long)m.n_folders, m.remove ? " or were removed from where they came" : "", (long long)m.n_carried,
           (double)m.n_bytes / 1e6);
    if (m.failed)
        note("not everything went well, see above; run it again");
    else if (!m.remove && m.n_files > 0)
        note("nothing was removed; when the service uses the new place, run it again with --remove");
    s3_close(m.bucket);
    store_close(m.local);
    arena_free(m.a);
    return m.failed ? CTL_PROBLEM : CTL_OK;
}
