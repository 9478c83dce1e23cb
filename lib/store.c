/* store -- see store.h.
 *
 * The life of a stage: staging/XXXXXXXX is made, filled, its folder renamed away, removed.  Durability
 * needs an order: the files' bytes, their names (the folders that hold them), then the rename, then the
 * folder it went into.  All paths are relative to the root's descriptor, so that a store survives its
 * root being moved, and no path is ever built longer than its parts. */
#include "store.h"

#include "s3.h"
#include "store_s3.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define STAGING "staging"
#define KEY_MAX 255
/* listings/id/device/photo is three deep; a loop of links cannot occur, as links are not followed */
#define DEPTH_MAX 8

struct store {
    int root; /* directory descriptor */
    char *path;
    struct s3 *bucket; /* NULL for a local store */
};

struct store_stage {
    struct store *store;
    int dir;
    char name[sizeof STAGING + 1 + 16]; /* staging/0123456789abcdef, below the root */
    char *path;
};

static enum store_error
from_errno(void)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STORE_FULL;
    case EEXIST:
    case ENOTEMPTY:
        return STORE_EXISTS;
    default:
        return STORE_FAILED;
    }
}

/* Names below a stage or the root: members of [A-Za-z0-9._-], none hidden, none empty. */
static bool
is_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > KEY_MAX || name[len - 1] == '/')
        return false;
    for (size_t i = 0; i < len; i++) {
        bool first = i == 0 || name[i - 1] == '/';
        char c = name[i];
        if (first && (c == '/' || c == '.'))
            return false;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '.' || c == '_' || c == '-' || c == '/'))
            return false;
    }
    return true;
}

static bool
is_key(const char *key)
{
    return is_name(key) && (strncmp(key, "listings/", 9) == 0 || strncmp(key, "verification/", 13) == 0);
}

/* Make the folders of NAME up to its last member (PARENTS) or all, below AT. */
static int
make_folders(int at, const char *name, bool parents)
{
    char path[KEY_MAX + 1];

    memcpy(path, name, strlen(name) + 1);
    for (char *s = path; *s != '\0'; s++) {
        if (*s != '/')
            continue;
        *s = '\0';
        if (mkdirat(at, path, 0755) != 0 && errno != EEXIST)
            return -1;
        *s = '/';
    }
    return parents || mkdirat(at, path, 0755) == 0 || errno == EEXIST ? 0 : -1;
}

/* Sync the folders in which make_folders may have put a new name, from NAME's up to AT itself. */
static int
sync_parents(int at, const char *name)
{
    char path[KEY_MAX + 1];

    memcpy(path, name, strlen(name) + 1);
    for (;;) {
        char *slash = strrchr(path, '/');
        int fd, error;
        if (slash != NULL)
            *slash = '\0';
        fd = openat(at, slash != NULL ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            return -1;
        error = fsync(fd);
        close(fd);
        if (error != 0 || slash == NULL)
            return error;
    }
}

enum store_error
store_open(const char *root, struct store **store)
{
    static const char *const folders[] = {STAGING, "listings", "verification"};
    struct store *s = calloc(1, sizeof *s);
    enum store_error error;

    *store = NULL;
    if (s == NULL)
        return STORE_FAILED;
    if (mkdir(root, 0755) != 0 && errno != EEXIST)
        goto failed;
    s->path = realpath(root, NULL);
    s->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->path == NULL || s->root < 0)
        goto failed;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (mkdirat(s->root, folders[i], i == 0 ? 0700 : 0755) != 0 && errno != EEXIST)
            goto failed;
    *store = s;
    return STORE_OK;

failed:
    error = from_errno() == STORE_FULL ? STORE_FULL : STORE_FAILED;
    store_close(s);
    return error;
}

void
store_close(struct store *store)
{
    int saved = errno;

    if (store == NULL)
        return;
    if (store->path != NULL)
        close(store->root);
    free(store->path);
    s3_close(store->bucket);
    free(store);
    errno = saved;
}

void
store_use_bucket(struct store *store, struct s3 *bucket)
{
    store->bucket = bucket;
}

/* ---- walking a tree ------------------------------------------------------------------------------- */

/* Open NAME in AT for reading its entries; NULL with errno. */
static DIR *
open_folder(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL && fd >= 0)
        close(fd);
    return dir;
}

/* The next entry but "." and ".."; NULL at the end or at an error, errno then being set. */
static const char *
next_entry(DIR *dir)
{
    struct dirent *e;

    do {
        errno = 0;
        e = readdir(dir);
    } while (e != NULL && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
    return e == NULL ? NULL : e->d_name;
}

/* Remove NAME in AT, whatever it is.  0, or -1 with errno; goes on after an error. */
static int
remove_tree(int at, const char *name, int depth)
{
    const char *entry;
    DIR *dir;
    int result = 0;

    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno != EISDIR && errno != EPERM) || depth == DEPTH_MAX)
        return -1;
    dir = open_folder(at, name);
    if (dir == NULL)
        return errno == ENOENT ? 0 : -1;
    while ((entry = next_entry(dir)) != NULL)
        if (remove_tree(dirfd(dir), entry, depth + 1) != 0)
            result = -1;
    closedir(dir);
    return unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? result : -1;
}

/* Bring everything below NAME in AT to the disk.  Twice over: first all files' bytes are put under way, then
 * waited for, so that the disk gets them in one go instead of one after another. */
static int
sync_tree(int at, const char *name, int depth, bool wait)
{
    int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), result = 0;
    const char *entry;
    struct stat st;
    DIR *dir;

    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (!S_ISDIR(st.st_mode)) {
        if (!wait)
            sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a hint */
        else
            result = fsync(fd);
        close(fd);
        return result;
    }
    dir = depth == DEPTH_MAX ? NULL : fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return -1;
    }
    while (result == 0 && (entry = next_entry(dir)) != NULL)
        result = sync_tree(dirfd(dir), entry, depth + 1, wait);
    if (result == 0 && errno != 0)
        result = -1;
    if (result == 0 && wait)
        result = fsync(dirfd(dir));
    closedir(dir);
    return result;
}

/* ---- stages ----------------------------------------------------------------------------------------- */

enum store_error
store_stage_begin(struct store *store, struct store_stage **stage)
{
    struct store_stage *s = calloc(1, sizeof *s);
    uint64_t random;
    enum store_error error;

    *stage = NULL;
    if (s == NULL)
        return STORE_FAILED;
    s->store = store;
    s->dir = -1;
    do {
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
            goto failed;
        snprintf(s->name, sizeof s->name, STAGING "/%016llx", (unsigned long long)random);
    } while (mkdirat(store->root, s->name, 0755) != 0 && errno == EEXIST);
    s->dir = openat(store->root, s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0 || asprintf(&s->path, "%s/%s", store->path, s->name) < 0) {
        s->path = NULL;
        goto failed;
    }
    *stage = s;
    return STORE_OK;

failed:
    error = from_errno() == STORE_FULL ? STORE_FULL : STORE_FAILED;
    store_stage_end(s);
    return error;
}

void
store_stage_end(struct store_stage *stage)
{
    int saved = errno;

    if (stage == NULL)
        return;
    if (stage->dir >= 0)
        close(stage->dir);
    if (stage->name[0] != '\0') {
        /* tried twice, against a shortage that passes; what cannot be removed then is left to store_purge */
        if (remove_tree(stage->store->root, stage->name, 0) != 0)
            remove_tree(stage->store->root, stage->name, 0);
    }
    free(stage->path);
    free(stage);
    errno = saved;
}

const char *
store_stage_path(const struct store_stage *stage)
{
    return stage->path;
}

enum store_error
store_stage_mkdir(struct store_stage *stage, const char *name)
{
    if (!is_name(name))
        return STORE_BAD_KEY;
    return make_folders(stage->dir, name, false) == 0 ? STORE_OK : from_errno();
}

enum store_error
store_stage_create(struct store_stage *stage, const char *name, int *fd)
{
    *fd = -1;
    if (!is_name(name))
        return STORE_BAD_KEY;
    *fd = openat(stage->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    return *fd >= 0 ? STORE_OK : from_errno();
}

/* ---- what is published ------------------------------------------------------------------------------ */

static enum store_error
publish(struct store_stage *stage, const char *name, const char *key, bool file)
{
    int root = stage->store->root, result;

    if (!is_name(name) || !is_key(key))
        return STORE_BAD_KEY;
    if (stage->store->bucket != NULL) {
        enum store_error error = store_s3_publish(stage->store->bucket, stage->path, name, key);
        if (error == STORE_OK)
            (void)remove_tree(stage->dir, name, 0);
        return error;
    }
    if (sync_tree(stage->dir, name, 0, false) != 0 || sync_tree(stage->dir, name, 0, true) != 0 ||
        make_folders(root, key, true) != 0)
        return from_errno();
    /* a folder can only replace an empty one; a file would silently replace another */
    if (file)
        result = linkat(stage->dir, name, root, key, 0) == 0 ? unlinkat(stage->dir, name, 0) : -1;
    else
        result = renameat(stage->dir, name, root, key);
    if (result != 0)
        return from_errno();
    return sync_parents(root, key) == 0 ? STORE_OK : from_errno();
}

enum store_error
store_publish_folder(struct store_stage *stage, const char *name, const char *key)
{
    return publish(stage, name, key, false);
}

enum store_error
store_publish_file(struct store_stage *stage, const char *name, const char *key)
{
    return publish(stage, name, key, true);
}

enum store_error
store_delete(struct store *store, const char *key)
{
    struct store_stage *grave;
    enum store_error error;

    if (!is_key(key))
        return STORE_BAD_KEY;
    if (store->bucket != NULL)
        return store_s3_delete(store->bucket, key);
    /* moved away first: a reader must not find half of a listing */
    error = store_stage_begin(store, &grave);
    if (error == STORE_OK) {
        if (renameat(store->root, key, grave->dir, "deleted") != 0 && errno != ENOENT)
            error = STORE_FAILED;
        else if (sync_parents(store->root, key) != 0 && errno != ENOENT)
            error = STORE_FAILED;
        store_stage_end(grave);
        return error;
    }
    /* a full disk must not keep anything from being deleted */
    return remove_tree(store->root, key, 0) == 0 ? STORE_OK : STORE_FAILED;
}

enum store_error
store_look(struct store *store, const char *key, bool *there)
{
    struct stat st;

    *there = false;
    if (!is_key(key))
        return STORE_BAD_KEY;
    if (store->bucket != NULL)
        return store_s3_look(store->bucket, key, there);
    *there = fstatat(store->root, key, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return STORE_OK;
}

bool
store_exists(struct store *store, const char *key)
{
    bool there;

    return store_look(store, key, &there) == STORE_OK && there;
}

bool
store_presign(struct store *store, const char *key, int64_t now, int expires_s, char *out, size_t size)
{
    char path[S3_PATH_SIZE];

    if (store->bucket == NULL || !is_key(key) || !s3_presign(store->bucket, key, now, expires_s, path) || strlen(path) >= size)
        return false;
    memcpy(out, path, strlen(path) + 1);
    return true;
}

/* ---- upkeep ------------------------------------------------------------------------------------------- */

/* When anything in the tree was last changed: a stage's own folder does not change while a file below it
 * grows. */
static time_t
last_change(int at, const char *name, int depth)
{
    struct stat st;
    time_t last;
    const char *entry;
    DIR *dir;

    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    last = st.st_mtime;
    if (!S_ISDIR(st.st_mode) || depth == DEPTH_MAX || (dir = open_folder(at, name)) == NULL)
        return last;
    while ((entry = next_entry(dir)) != NULL) {
        time_t t = last_change(dirfd(dir), entry, depth + 1);
        if (t > last)
            last = t;
    }
    closedir(dir);
    return last;
}

enum store_error
store_purge(struct store *store, int64_t age_s, size_t *n)
{
    DIR *dir = open_folder(store->root, STAGING);
    enum store_error error = STORE_OK;
    const char *entry;
    time_t now = time(NULL);

    *n = 0;
    if (dir == NULL)
        return STORE_FAILED;
    while ((entry = next_entry(dir)) != NULL) {
        if (now - last_change(dirfd(dir), entry, 0) < age_s)
            continue;
        if (remove_tree(dirfd(dir), entry, 0) == 0)
            ++*n;
        else
            error = STORE_FAILED;
    }
    closedir(dir);
    return error;
}

enum store_error
store_each(struct store *store, const char *group, int64_t age_s, bool (*each)(void *ctx, const char *id), void *ctx)
{
    DIR *dir = is_name(group) && store->bucket == NULL ? open_folder(store->root, group) : NULL;
    const char *entry;
    time_t now = time(NULL);
    bool failed;

    if (is_name(group) && store->bucket != NULL)
        return store_s3_each(store->bucket, group, each, ctx);
    if (dir == NULL)
        return is_name(group) ? STORE_FAILED : STORE_BAD_KEY;
    while ((entry = next_entry(dir)) != NULL)
        if (now - last_change(dirfd(dir), entry, 0) >= age_s && !each(ctx, entry))
            break;
    failed = entry == NULL && errno != 0;
    closedir(dir);
    return failed ? STORE_FAILED : STORE_OK;
}

bool
store_is_old(struct store *store, const char *key, int64_t age_s)
{
    if (!is_key(key))
        return false;
    if (store->bucket != NULL)
        return store_s3_is_old(store->bucket, key, age_s);
    return time(NULL) - last_change(store->root, key, 0) >= age_s;
}

int
store_free_percent(struct store *store)
{
    struct statvfs v;

    if (fstatvfs(store->root, &v) != 0 || v.f_blocks == 0)
        return -1;
    return (int)(v.f_bavail * 100 / v.f_blocks);
}
