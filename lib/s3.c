/* s3 -- see s3.h: where the bucket is, and what is asked of it. */
#include "s3_inside.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
find_bucket(struct s3 *s, const struct s3_settings *to)
{
    bool dots = strchr(to->bucket, '.') != NULL;
    int n, k = 0;

    if (to->endpoint != NULL) {
        const char *host = strstr(to->endpoint, "://");
        if (host == NULL)
            return false;
        host += 3;
        size_t len = strcspn(host, "/");
        n = snprintf(s->origin, sizeof s->origin, "%.*s", (int)(host - to->endpoint) + (int)len, to->endpoint);
        k = snprintf(s->prefix, sizeof s->prefix, "%s/%s", host + len, to->bucket);
    } else {
        n = snprintf(s->origin, sizeof s->origin, "https://%s%ss3.%s.amazonaws.com%s", dots ? "" : to->bucket, dots ? "" : ".",
                     to->region, strncmp(to->region, "cn-", 3) == 0 ? ".cn" : "");
        if (dots)
            k = snprintf(s->prefix, sizeof s->prefix, "/%s", to->bucket);
    }
    if (!s3_fits(n, sizeof s->origin) || k < 0 || (size_t)k >= sizeof s->prefix)
        return false;
    s->host = strstr(s->origin, "://") + 3;
    return true;
}

struct s3 *
s3_open(const struct s3_settings *to)
{
    struct s3 *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->tries = to->tries > 0 ? to->tries : S3_TRIES;
    s->who = (struct sigv4){ .key_id = to->key_id, .secret = to->secret, .token = to->token, .region = to->region, .service = "s3" };
    if (!find_bucket(s, to)) {
        free(s);
        errno = EINVAL;
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void
s3_close(struct s3 *s)
{
    if (s == NULL)
        return;
    s3group_close(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool
s3_path(const struct s3 *s, const char *key, char *out, size_t size)
{
    char plain[S3LIST_KEY_MAX + 300];
    int n = snprintf(plain, sizeof plain, "%s%s%s", s->prefix, *key != '\0' || s->prefix[0] == '\0' ? "/" : "", key);

    return s3_fits(n, sizeof plain) && sigv4_encode(out, size, plain, true) > 0;
}

bool
s3_presign(const struct s3 *s, const char *key, int64_t now, int expires_s, char out[S3_PATH_SIZE])
{
    char path[2048], query[S3_PATH_SIZE];

    if (!s3_path(s, key, path, sizeof path) || !sigv4_presign(&s->who, now, expires_s, s->host, path, query, sizeof query))
        return false;
    int n = snprintf(out, S3_PATH_SIZE, "%s?%s", path, query);
    return s3_fits(n, S3_PATH_SIZE);
}

bool
s3_run(struct s3 *s, struct s3_call *calls, size_t n, int within_s, bool stop)
{
    struct s3flight *flights = calloc(n > 0 ? n : 1, sizeof *flights);
    bool good;

    if (flights == NULL) {
        for (size_t i = 0; i < n; i++)
            calls[i].result = S3_SKIPPED;
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        calls[i].sha256[0] = calls[i].noted[0] = '\0';
        calls[i].size = 0;
        flights[i] = (struct s3flight){ .s3 = s, .call = &calls[i], .fd = -1 };
    }
    good = s3group_fly(s, flights, n, within_s, stop);
    for (size_t i = 0; i < n; i++)
        free(flights[i].answer);
    free(flights);
    return good;
}

struct told {
    bool (*each)(void *ctx, const struct s3list_entry *entry);
    void *ctx;
    bool enough;
};

static bool
tell(void *ctx, const struct s3list_entry *entry)
{
    struct told *t = ctx;

    t->enough = !t->each(t->ctx, entry);
    return !t->enough;
}

enum s3_result
s3_list(struct s3 *s, const char *prefix, bool folders, int within_s, bool (*each)(void *ctx, const struct s3list_entry *entry),
        void *ctx)
{
    char next[S3LIST_TOKEN_SIZE] = "", token[3 * S3LIST_TOKEN_SIZE], start[3 * S3LIST_KEY_MAX], query[sizeof token + sizeof start];
    struct told told = { .each = each, .ctx = ctx };

    if (sigv4_encode(start, sizeof start, prefix, false) == 0)
        return S3_REFUSED;
    do {
        /* in the order of the names, for the signature */
        (void)sigv4_encode(token, sizeof token, next, false);
        int n = snprintf(query, sizeof query, "%s%s%s%slist-type=2&prefix=%s", next[0] != '\0' ? "continuation-token=" : "",
                         token, next[0] != '\0' ? "&" : "", folders ? "delimiter=%2F&" : "", start);
        if (!s3_fits(n, sizeof query))
            return S3_REFUSED;
        struct s3_call call = { .what = S3_GET, .key = "" };
        struct s3flight f = { .s3 = s, .call = &call, .query = query, .fd = -1 };
        bool good = s3group_fly(s, &f, 1, within_s, false);
        bool page = good && s3list_parse(f.answer, f.answer_len, tell, &told, next);
        free(f.answer);
        if (!good)
            return call.result == S3_ABSENT ? S3_REFUSED : call.result;
        if (!page) {
            log_error("the bucket's list cannot be understood");
            return S3_REFUSED;
        }
    } while (next[0] != '\0' && !told.enough);
    return S3_OK;
}

const char *
s3_problem(enum s3_result result)
{
    switch (result) {
    case S3_ABSENT: return "is not in the bucket";
    case S3_REFUSED: return "the bucket refuses";
    case S3_UNREACHABLE: return "the bucket does not answer";
    case S3_FILE: return "the local file cannot be read or written";
    case S3_OK: case S3_SKIPPED: break;
    }
    return "was not tried";
}
