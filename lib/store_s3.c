/* store_s3 -- see store_s3.h.
 *
 * A bucket has no folders and no renames.  So a listing's photos are uploaded side by side, and when one of
 * them does not arrive the others are deleted again; should that fail too, or this program die, they are
 * objects of a listing that has no row, and selliko-purge finds them. */
#include "store_s3.h"

#include "config.h"
#include "log.h"
#include "s3.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    PUBLISH_S = 30,    /* nginx waits 60 s for the program, which has worked on photos by then */
    CLEAN_S = 10,
    ASK_S = 10,
    LIST_S = 60,       /* a page */
    DEPTH_MAX = 8,
};

/* ---- calls that grow -------------------------------------------------------------------------------- */

struct calls {
    struct s3_call *call;
    size_t n, room;
};

/* KEY and FILE (NULL for none) become the list's own. */
static bool
add(struct calls *c, int what, char *key, char *file)
{
    if (c->n == c->room) {
        size_t room = c->room > 0 ? 2 * c->room : 32;
        struct s3_call *more = realloc(c->call, room * sizeof *more);
        if (more == NULL) {
            free(key);
            free(file);
            return false;
        }
        c->call = more;
        c->room = room;
    }
    c->call[c->n++] = (struct s3_call){ .what = what, .key = key, .file = file };
    return true;
}

static void
drop(struct calls *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free((void *)(uintptr_t)c->call[i].key);
        free((void *)(uintptr_t)c->call[i].file);
    }
    free(c->call);
}

static char *
join(const char *a, const char *b)
{
    char *both;

    return asprintf(&both, "%s/%s", a, b) < 0 ? NULL : both;
}

static enum store_error
failed(void)
{
    errno = EIO;
    return STORE_FAILED;
}

/* ---- publishing ------------------------------------------------------------------------------------- */

/* A PUT for PATH, or for all below it.  Both texts are taken over. */
static bool
gather(struct calls *c, char *path, char *key, int depth)
{
    struct stat st;
    struct dirent *e;

    if (path == NULL || key == NULL || depth > DEPTH_MAX || lstat(path, &st) != 0) {
        free(path);
        free(key);
        return false;
    }
    if (S_ISREG(st.st_mode))
        return add(c, S3_PUT, key, path);
    DIR *dir = opendir(path);
    bool good = dir != NULL;
    while (good && (e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            good = gather(c, join(path, e->d_name), join(key, e->d_name), depth + 1);
    if (dir != NULL)
        closedir(dir);
    free(path);
    free(key);
    return good;
}

/* What may have arrived goes again: a PUT without an answer may have, too. */
static void
take_back(struct s3 *bucket, struct calls *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        if (c->call[i].result != S3_OK && c->call[i].result != S3_UNREACHABLE)
            continue;
        struct s3_call deletion = { .what = S3_DELETE, .key = c->call[i].key, .file = c->call[i].file };
        c->call[i] = c->call[n];
        c->call[n++] = deletion;
    }
    if (!s3_run(bucket, c->call, n, CLEAN_S, false))
        log_error("objects of what was not published may be left in the bucket", log_i("objects", (int64_t)n));
}

enum store_error
store_s3_publish(struct s3 *bucket, const char *stage, const char *name, const char *key)
{
    struct calls c = { 0 };
    enum store_error error;
    bool there;

    if (!gather(&c, join(stage, name), strdup(key), 0)) {
        drop(&c);
        return failed();
    }
    error = store_s3_look(bucket, key, &there);
    if (error == STORE_OK && there)
        error = STORE_EXISTS;
    if (error == STORE_OK && !s3_run(bucket, c.call, c.n, PUBLISH_S, true)) {
        take_back(bucket, &c);
        error = failed();
    }
    drop(&c);
    return error;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

/* What a list says about KEY: its objects, and when the last of them came. */
struct found {
    const char *key;
    struct calls calls;
    int64_t modified;
    bool no_memory;
};

static bool
find(void *ctx, const struct s3list_entry *entry)
{
    struct found *f = ctx;
    size_t len = strlen(f->key);

    /* a prefix is not yet a folder: listings/a is one of listings/ab */
    if (entry->key[len] != '\0' && entry->key[len] != '/')
        return true;
    if (entry->modified > f->modified)
        f->modified = entry->modified;
    char *key = strdup(entry->key);
    f->no_memory = key == NULL || !add(&f->calls, S3_DELETE, key, NULL);
    return !f->no_memory;
}

enum store_error
store_s3_delete(struct s3 *bucket, const char *key)
{
    struct found f = { .key = key };
    bool good = s3_list(bucket, key, false, ASK_S, find, &f) == S3_OK && !f.no_memory;

    if (good && f.calls.n > 0)
        good = s3_run(bucket, f.calls.call, f.calls.n, PUBLISH_S, false);
    drop(&f.calls);
    return good ? STORE_OK : failed();
}

static bool
find_one(void *ctx, const struct s3list_entry *entry)
{
    struct found *f = ctx;
    size_t len = strlen(f->key);

    f->modified = entry->key[len] == '\0' || entry->key[len] == '/';
    return f->modified == 0;
}

enum store_error
store_s3_look(struct s3 *bucket, const char *key, bool *there)
{
    struct found f = { .key = key };
    const char *name = strrchr(key, '/');

    *there = false;
    if (name != NULL && strchr(name, '.') != NULL) {   /* a file's name has an ending, a folder's has none */
        struct s3_call call = { .what = S3_HEAD, .key = key };
        *there = s3_run(bucket, &call, 1, ASK_S, false);
        return *there || call.result == S3_ABSENT ? STORE_OK : failed();
    }
    if (s3_list(bucket, key, false, ASK_S, find_one, &f) != S3_OK)
        return failed();
    *there = f.modified != 0;
    return STORE_OK;
}

struct group {
    size_t len;   /* of "listings/" */
    bool (*each)(void *ctx, const char *id);
    void *ctx;
};

static bool
tell_id(void *ctx, const struct s3list_entry *entry)
{
    struct group *g = ctx;
    char id[256];
    int n = snprintf(id, sizeof id, "%s", entry->key + g->len);

    if (!entry->folder || n < 2 || (size_t)n >= sizeof id)
        return true;
    id[n - 1] = '\0';   /* its / */
    return g->each(g->ctx, id);
}

enum store_error
store_s3_each(struct s3 *bucket, const char *group, bool (*each)(void *ctx, const char *id), void *ctx)
{
    char prefix[256];
    struct group g = { .each = each, .ctx = ctx };

    g.len = (size_t)snprintf(prefix, sizeof prefix, "%s/", group);
    return s3_list(bucket, prefix, true, LIST_S, tell_id, &g) == S3_OK ? STORE_OK : failed();
}

bool
store_s3_is_old(struct s3 *bucket, const char *key, int64_t age_s)
{
    struct found f = { .key = key };
    bool good = s3_list(bucket, key, false, ASK_S, find, &f) == S3_OK && !f.no_memory;

    drop(&f.calls);
    return good && time(NULL) - f.modified >= age_s;
}

/* ---- the one of the configuration ------------------------------------------------------------------- */

struct s3 *
store_s3_open(void)
{
    const struct config *c = config();

    return s3_open(&(struct s3_settings){ .bucket = c->s3_bucket_name, .endpoint = c->s3_endpoint, .region = c->aws_region,
                                          .key_id = c->aws_access_key_id, .secret = c->aws_secret_access_key,
                                          .token = c->aws_session_token });
}

enum store_error
store_open_configured(struct store **store)
{
    const struct config *c = config();
    char root[PATH_MAX];
    enum store_error error;
    struct s3 *bucket;

    snprintf(root, sizeof root, "%s/uploads", c->state_dir);
    error = store_open(root, store);
    if (error != STORE_OK) {
        fprintf(stderr, "%s: %s\n", root, strerror(errno));
        return error;
    }
    if (c->s3_bucket_name == NULL)
        return STORE_OK;
    if ((bucket = store_s3_open()) == NULL) {
        fprintf(stderr, "the bucket %s has no usable address: %s\n", c->s3_bucket_name, strerror(errno));
        store_close(*store);
        *store = NULL;
        return STORE_FAILED;
    }
    store_use_bucket(*store, bucket);
    return STORE_OK;
}
