/* s3 -- see s3.h.
 *
 * The life of a call: it waits (for its turn, or for the next try), flies, and is judged: done, or waiting
 * again.  A session is a libcurl multi handle, whose connections stay open for the next group; sessions that
 * nobody uses lie on a list. */
#include "s3.h"

#include "clock.h"
#include "crypto.h"
#include "log.h"
#include "sigv4.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PARALLEL = 8,
    CONNECT_MS = 5000,
    STALLED_BYTES = 1000, STALLED_S = 15,   /* slower than this for that long is a dead connection */
    DELAY_MS = 200, DELAY_MAX_MS = 5000,
    ERROR_MAX = 2048,
    LIST_MAX = 8 * 1024 * 1024,
    HOST_SIZE = 320,
};

/* ---- libcurl, when it is needed -------------------------------------------------------------------- */

#define FUNCTIONS(X) \
    X(global_init) X(slist_append) X(slist_free_all) X(easy_init) X(easy_reset) X(easy_cleanup) X(easy_setopt) \
    X(easy_getinfo) X(easy_strerror) X(multi_init) X(multi_cleanup) X(multi_add_handle) X(multi_remove_handle) \
    X(multi_perform) X(multi_poll) X(multi_info_read) X(multi_setopt)
#define MEMBER(name) __typeof__(&curl_##name) name;
#define FIND(name) \
    *(void **)&curl.name = dlsym(library, "curl_" #name); \
    good = good && curl.name != NULL;

static struct {
    FUNCTIONS(MEMBER)
} curl;
static bool curl_is_there;
static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void
load_curl(void)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    bool good = library != NULL;

    if (good) {
        FUNCTIONS(FIND)
    }
    curl_is_there = good && curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (!curl_is_there)
        log_error("libcurl cannot be loaded", log_s("reason", library == NULL ? dlerror() : "it lacks a function"));
}

/* ---- where the bucket is -------------------------------------------------------------------------------- */

struct session {
    CURLM *multi;
    struct session *next;
};

struct s3 {
    struct sigv4 who;
    int tries;
    char origin[HOST_SIZE + 8];   /* https://host:port */
    const char *host;             /* in it */
    char prefix[256];             /* what stands before "/KEY" in paths: "/bucket", or nothing */
    pthread_mutex_t lock;
    struct session *idle;
};

/* Fits N bytes into SIZE? */
#define fits(n, size) ((n) > 0 && (size_t)(n) < (size))

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
    if (!fits(n, sizeof s->origin) || k < 0 || (size_t)k >= sizeof s->prefix)
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
    while (s->idle != NULL) {
        struct session *c = s->idle;
        s->idle = c->next;
        curl.multi_cleanup(c->multi);
        free(c);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* The encoded path of KEY ("" for the bucket itself). */
static bool
path_of(const struct s3 *s, const char *key, char *out, size_t size)
{
    char plain[S3LIST_KEY_MAX + 300];
    int n = snprintf(plain, sizeof plain, "%s%s%s", s->prefix, *key != '\0' || s->prefix[0] == '\0' ? "/" : "", key);

    return fits(n, sizeof plain) && sigv4_encode(out, size, plain, true) > 0;
}

bool
s3_presign(const struct s3 *s, const char *key, int64_t now, int expires_s, char out[S3_PATH_SIZE])
{
    char path[2048], query[S3_PATH_SIZE];

    if (!path_of(s, key, path, sizeof path) || !sigv4_presign(&s->who, now, expires_s, s->host, path, query, sizeof query))
        return false;
    int n = snprintf(out, S3_PATH_SIZE, "%s?%s", path, query);
    return fits(n, S3_PATH_SIZE);
}

static struct session *
take_session(struct s3 *s)
{
    struct session *c;

    pthread_once(&curl_once, load_curl);
    if (!curl_is_there)
        return NULL;
    pthread_mutex_lock(&s->lock);
    c = s->idle;
    if (c != NULL)
        s->idle = c->next;
    pthread_mutex_unlock(&s->lock);
    if (c != NULL)
        return c;
    c = calloc(1, sizeof *c);
    if (c == NULL || (c->multi = curl.multi_init()) == NULL) {
        free(c);
        return NULL;
    }
    curl.multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)PARALLEL);
    return c;
}

static void
put_session(struct s3 *s, struct session *c)
{
    pthread_mutex_lock(&s->lock);
    c->next = s->idle;
    s->idle = c;
    pthread_mutex_unlock(&s->lock);
}

/* ---- one call -------------------------------------------------------------------------------------------- */

struct flight {
    struct s3 *s3;
    struct s3_call *call;
    const char *query;              /* of a list or a part: then there is no file, and the answer is kept */
    enum { WAITING, FLYING, DONE } state;
    int tries;
    int64_t not_before_ms;
    CURL *easy;
    struct curl_slist *headers;
    const uint8_t *bytes;           /* what is sent: a mapped file's, or (LENT) the caller's */
    bool lent;
    size_t sent;
    char etag[128];                 /* of a part */
    int fd;                         /* what is got; -1 when there is none */
    bool broken;                    /* the file could not be written */
    char *answer;                   /* of a list, or of an error */
    size_t answer_len, answer_room;
};

static size_t
give(char *buf, size_t size, size_t n, void *ctx)
{
    struct flight *f = ctx;
    size_t left = (size_t)f->call->size - f->sent, len = size * n < left ? size * n : left;

    if (len > 0)
        memcpy(buf, f->bytes + f->sent, len);
    f->sent += len;
    return len;
}

/* libcurl begins again where a kept connection turned out to be dead. */
static int
rewind_to(void *ctx, curl_off_t offset, int origin)
{
    struct flight *f = ctx;

    if (origin != SEEK_SET || offset < 0 || offset > f->call->size)
        return CURL_SEEKFUNC_FAIL;
    f->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static bool
keep_answer(struct flight *f, const char *data, size_t len)
{
    size_t max = f->query != NULL ? LIST_MAX : ERROR_MAX;

    if (len > max - f->answer_len) {
        if (f->query != NULL)
            return false;
        len = max - f->answer_len;   /* the beginning of an error says enough */
    }
    if (f->answer_len + len > f->answer_room) {
        size_t room = (f->answer_len + len) * 2;
        char *more = realloc(f->answer, room);
        if (more == NULL)
            return false;
        f->answer = more;
        f->answer_room = room;
    }
    if (len > 0)
        memcpy(f->answer + f->answer_len, data, len);
    f->answer_len += len;
    return true;
}

static size_t
take(char *data, size_t size, size_t n, void *ctx)
{
    struct flight *f = ctx;
    size_t len = size * n;
    long status = 0;

    curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    if (f->fd < 0 || status != 200)
        return keep_answer(f, data, len) ? len : 0;
    for (size_t done = 0; done < len;) {
        ssize_t k = write(f->fd, data + done, len - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            f->broken = true;
            return 0;
        }
        done += (size_t)k;
    }
    return len;
}

/* The value of the header NAME ("etag:") when LINE is it. */
static bool
header_is(const char *line, size_t len, const char *name, char *out, size_t size)
{
    size_t at = strlen(name);

    if (len <= at || strncasecmp(line, name, at) != 0)
        return false;
    while (at < len && line[at] == ' ')
        at++;
    while (len > at && (line[len - 1] == '\r' || line[len - 1] == '\n' || line[len - 1] == ' '))
        len--;
    if (len - at >= size)
        return false;
    memcpy(out, line + at, len - at);
    out[len - at] = '\0';
    return true;
}

/* What PUT noted, and the name that a part got. */
static size_t
take_header(char *line, size_t size, size_t n, void *ctx)
{
    struct flight *f = ctx;
    struct s3_call *c = f->call;
    char hash[65];

    if ((c->what == S3_HEAD || c->what == S3_GET) && header_is(line, size * n, "x-amz-meta-sha256:", hash, sizeof hash) &&
        strlen(hash) == 64)
        memcpy(c->what == S3_HEAD ? c->sha256 : c->noted, hash, sizeof hash);
    if (c->what == S3_PUT && f->query != NULL)
        (void)header_is(line, size * n, "etag:", f->etag, sizeof f->etag);
    return size * n;
}

/* Look at PATH's bytes; their size and hash go to the call. */
static bool
map_file(struct flight *f, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t hash[32];
    struct stat st;
    void *at = NULL;

    if (fd < 0)
        return false;
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (good && st.st_size > 0) {
        at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        good = at != MAP_FAILED;
    }
    close(fd);
    if (!good)
        return false;
    f->bytes = at;
    f->call->size = st.st_size;
    crypto_sha256(at != NULL ? at : "", (size_t)st.st_size, hash);
    (void)crypto_hex(f->call->sha256, hash, sizeof hash);
    return true;
}

static void
unmap(struct flight *f)
{
    if (f->bytes != NULL && !f->lent)
        munmap((void *)(uintptr_t)f->bytes, (size_t)f->call->size);
    f->bytes = NULL;
}

static const char *
type_of(const char *key)
{
    static const char *const types[][2] = {
        { ".jpg", "image/jpeg" }, { ".png", "image/png" }, { ".webp", "image/webp" }, { ".pdf", "application/pdf" },
    };
    const char *dot = strrchr(key, '.');

    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

/* Not a call of its own for others: the beginning and the end of an upload in parts. */
enum { POST = S3_DELETE + 1 };
static const char *const methods[] = { [S3_PUT] = "PUT", [S3_GET] = "GET", [S3_HEAD] = "HEAD", [S3_DELETE] = "DELETE", [POST] = "POST" };

/* Give all HEADERS and the signature over them to libcurl. */
static bool
set_headers(struct flight *f, const char *path)
{
    const struct s3 *s = f->s3;
    bool put = f->call->what == S3_PUT && f->query == NULL;   /* a part is no object yet */
    const char *payload = f->call->what == S3_PUT || f->call->what == (int)POST ? f->call->sha256 : SIGV4_EMPTY_SHA256;
    char date[SIGV4_DATE_SIZE], line[4096], authorization[1024];
    struct sigv4_header h[8];
    time_t now = time(NULL);
    size_t n = 0;

    sigv4_date(now, date);
    if (put) {
        h[n++] = (struct sigv4_header){ "cache-control", "public, max-age=31536000, immutable" };
        h[n++] = (struct sigv4_header){ "content-type", type_of(f->call->key) };
    }
    h[n++] = (struct sigv4_header){ "host", s->host };
    h[n++] = (struct sigv4_header){ "x-amz-content-sha256", payload };
    h[n++] = (struct sigv4_header){ "x-amz-date", date };
    if (put)
        h[n++] = (struct sigv4_header){ "x-amz-meta-sha256", payload };
    if (s->who.token != NULL)
        h[n++] = (struct sigv4_header){ "x-amz-security-token", s->who.token };
    if (!sigv4_authorization(&s->who, now, methods[f->call->what], path, f->query != NULL ? f->query : "", h, n, payload,
                             authorization, sizeof authorization))
        return false;
    h[n++] = (struct sigv4_header){ "authorization", authorization };
    for (size_t i = 0; i < n; i++) {
        int len = snprintf(line, sizeof line, "%s: %s", h[i].name, h[i].value);
        struct curl_slist *more = fits(len, sizeof line) ? curl.slist_append(f->headers, line) : NULL;
        if (more == NULL)
            return false;
        f->headers = more;
    }
    /* we do not wait for a 100 that some of these services never send */
    for (size_t i = 0; i < 2; i++) {
        struct curl_slist *more = curl.slist_append(f->headers, i == 0 ? "Expect:" : "Content-Type:");
        if (more == NULL)
            return false;
        f->headers = more;
        if (f->call->what != (int)POST)
            break;
    }
    return true;
}

/* Take off; S3_OK when F flies. */
static enum s3_result
begin(struct flight *f, CURLM *multi, int64_t left_ms)
{
    char path[2048], url[8192];
    struct s3_call *c = f->call;

    if (c->what == S3_PUT && f->bytes == NULL && !map_file(f, c->file))
        return S3_FILE;
    if (c->what == S3_GET && c->file != NULL && f->fd < 0) {
        f->fd = open(c->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (f->fd < 0)
            return S3_FILE;
    }
    if (f->fd >= 0 && (ftruncate(f->fd, 0) != 0 || lseek(f->fd, 0, SEEK_SET) != 0))
        return S3_FILE;
    if (f->easy == NULL && (f->easy = curl.easy_init()) == NULL)
        return S3_UNREACHABLE;
    curl.easy_reset(f->easy);
    curl.slist_free_all(f->headers);
    f->headers = NULL;
    f->sent = f->answer_len = 0;
    if (!path_of(f->s3, c->key, path, sizeof path) || !set_headers(f, path))
        return S3_REFUSED;
    int n = snprintf(url, sizeof url, "%s%s%s%s", f->s3->origin, path, f->query != NULL ? "?" : "", f->query != NULL ? f->query : "");
    if (!fits(n, sizeof url))
        return S3_REFUSED;

    curl.easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    curl.easy_setopt(f->easy, CURLOPT_URL, url);
    curl.easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
    curl.easy_setopt(f->easy, CURLOPT_PATH_AS_IS, 1L);
    curl.easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl.easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(left_ms < CONNECT_MS ? left_ms : CONNECT_MS));
    curl.easy_setopt(f->easy, CURLOPT_LOW_SPEED_LIMIT, (long)STALLED_BYTES);
    curl.easy_setopt(f->easy, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    curl.easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, take);
    curl.easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    curl.easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, take_header);
    curl.easy_setopt(f->easy, CURLOPT_HEADERDATA, f);
    switch ((int)c->what) {
    case S3_PUT:
        curl.easy_setopt(f->easy, CURLOPT_UPLOAD, 1L);
        curl.easy_setopt(f->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->size);
        curl.easy_setopt(f->easy, CURLOPT_READFUNCTION, give);
        curl.easy_setopt(f->easy, CURLOPT_READDATA, f);
        curl.easy_setopt(f->easy, CURLOPT_SEEKFUNCTION, rewind_to);
        curl.easy_setopt(f->easy, CURLOPT_SEEKDATA, f);
        break;
    case (int)POST:
        curl.easy_setopt(f->easy, CURLOPT_POST, 1L);
        curl.easy_setopt(f->easy, CURLOPT_POSTFIELDS, f->bytes);
        curl.easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->size);
        break;
    case S3_HEAD: curl.easy_setopt(f->easy, CURLOPT_NOBODY, 1L); break;
    case S3_DELETE: curl.easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, "DELETE"); break;
    case S3_GET: break;
    }
    if (curl.multi_add_handle(multi, f->easy) != CURLM_OK)
        return S3_UNREACHABLE;
    f->state = FLYING;
    f->tries++;
    return S3_OK;
}

/* What came of F, which libcurl ended with CODE; true when it is worth another try. */
static bool
judge(struct flight *f, CURLcode code, enum s3_result *result, int64_t *delay_ms)
{
    struct s3_call *c = f->call;
    char word[64] = "";
    long status = 0;
    curl_off_t retry_after = 0, size = 0;
    uint16_t chance;

    curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    curl.easy_getinfo(f->easy, CURLINFO_RETRY_AFTER, &retry_after);
    if (f->broken) {
        *result = S3_FILE;
        return false;
    }
    /* an upload's end may begin with 200 and then tell of an error */
    s3list_error_code(f->answer, f->answer_len, word);
    bool late_error = c->what == (int)POST && word[0] != '\0';
    if (code == CURLE_OK && ((status == 200 && !late_error) || (status == 204 && c->what == S3_DELETE))) {
        *result = S3_OK;
        if (c->what == S3_HEAD) {
            curl.easy_getinfo(f->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
            c->size = size;
        }
        return false;
    }
    bool no_bucket = strcmp(word, "NoSuchBucket") == 0;
    if (code == CURLE_OK && status == 404 && !no_bucket && f->query == NULL && c->what != S3_PUT) {
        *result = c->what == S3_DELETE ? S3_OK : S3_ABSENT;
        return false;
    }
    bool again = code != CURLE_OK || status == 429 || status >= 500 || (late_error && status == 200) || strcmp(word, "RequestTimeout") == 0;
    *result = again ? S3_UNREACHABLE : S3_REFUSED;
    crypto_random(&chance, sizeof chance);
    *delay_ms = ((int64_t)DELAY_MS << (f->tries < 16 ? f->tries - 1 : 15)) * (65536 + chance) / 65536;
    if (retry_after > 0 && *delay_ms < retry_after * 1000)
        *delay_ms = retry_after * 1000;
    if (*delay_ms > DELAY_MAX_MS)
        *delay_ms = DELAY_MAX_MS;
    if (again && f->tries < f->s3->tries)
        return true;
    log_error("the bucket did not do what it was asked", log_s("method", methods[c->what]), log_i("status", status),
              log_s("reason", word[0] != '\0' ? word : code != CURLE_OK ? curl.easy_strerror(code) : "none was given"),
              log_i("tries", f->tries));
    return false;
}

/* The call is over: what it held is let go, and what it got is hashed. */
static void
end(struct flight *f, enum s3_result result)
{
    struct s3_call *c = f->call;

    unmap(f);
    if (f->fd >= 0) {
        close(f->fd);
        f->fd = -1;
        if (result == S3_OK && !map_file(f, c->file))
            result = S3_FILE;
        unmap(f);
        if (result != S3_OK)
            (void)unlink(c->file);
    }
    c->result = result;
    f->state = DONE;
}

static void
release(struct flight *f)
{
    if (f->easy != NULL)
        curl.easy_cleanup(f->easy);
    curl.slist_free_all(f->headers);
    f->easy = NULL;
    f->headers = NULL;
}

/* ---- a group of them ----------------------------------------------------------------------------------------- */

/* The flight that libcurl says has ended; NULL when there is none. */
static struct flight *
landed(CURLM *multi, CURLcode *code)
{
    int left;
    CURLMsg *msg;

    while ((msg = curl.multi_info_read(multi, &left)) != NULL)
        if (msg->msg == CURLMSG_DONE) {
            char *f = NULL;
            *code = msg->data.result;
            curl.easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &f);
            curl.multi_remove_handle(multi, msg->easy_handle);
            return (struct flight *)(void *)f;
        }
    return NULL;
}

static bool
run(struct s3 *s, struct flight *flights, size_t n, int within_s, bool stop)
{
    struct session *session = take_session(s);
    int64_t end_ms = clock_ms() + (int64_t)within_s * 1000;
    size_t left = n, flying = 0;
    bool good = true;

    while (left > 0) {
        int64_t now = clock_ms(), wait_ms = 1000;
        for (size_t i = 0; i < n; i++) {
            struct flight *f = &flights[i];
            if (f->state != WAITING)
                continue;
            enum s3_result result = session == NULL || now >= end_ms ? S3_UNREACHABLE : S3_OK;
            if (stop && !good)
                result = f->tries > 0 ? S3_UNREACHABLE : S3_SKIPPED;
            else if (result == S3_OK && f->not_before_ms > now) {
                wait_ms = f->not_before_ms - now < wait_ms ? f->not_before_ms - now : wait_ms;
                continue;
            } else if (result == S3_OK && flying == PARALLEL)
                break;
            if (result == S3_OK)
                result = begin(f, session->multi, end_ms - now);
            if (result == S3_OK) {
                flying++;
                continue;
            }
            end(f, result);
            release(f);
            good = false;
            left--;
        }
        if (session == NULL || left == 0)
            continue;
        int running;
        CURLcode code;
        struct flight *f;
        curl.multi_perform(session->multi, &running);
        bool any = false;
        while ((f = landed(session->multi, &code)) != NULL) {
            enum s3_result result;
            int64_t delay_ms = 0;
            any = true;
            flying--;
            if (judge(f, code, &result, &delay_ms)) {
                f->state = WAITING;
                f->not_before_ms = clock_ms() + delay_ms;
                continue;
            }
            end(f, result);
            release(f);
            good = good && result == S3_OK;
            left--;
        }
        if (!any && left > 0)
            curl.multi_poll(session->multi, NULL, 0, (int)wait_ms, NULL);
    }
    if (session != NULL)
        put_session(s, session);
    return good;
}

bool
s3_run(struct s3 *s, struct s3_call *calls, size_t n, int within_s, bool stop)
{
    struct flight *flights = calloc(n > 0 ? n : 1, sizeof *flights);
    bool good;

    if (flights == NULL) {
        for (size_t i = 0; i < n; i++)
            calls[i].result = S3_SKIPPED;
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        calls[i].sha256[0] = calls[i].noted[0] = '\0';
        calls[i].size = 0;
        flights[i] = (struct flight){ .s3 = s, .call = &calls[i], .fd = -1 };
    }
    good = run(s, flights, n, within_s, stop);
    for (size_t i = 0; i < n; i++)
        free(flights[i].answer);
    free(flights);
    return good;
}

/* ---- uploads in parts ------------------------------------------------------------------------------------------ */

enum { PART_S = 600, PARTS_MAX = 10000, ID_SIZE = 1024 };

struct s3_upload {
    struct s3 *s3;
    const char *key;
    size_t part_bytes, len, n_parts;
    uint8_t *buf;                     /* of S3_UPLOAD_PARTS parts */
    char (*etag)[sizeof ((struct flight *)NULL)->etag];
    char id[3 * ID_SIZE];             /* as it stands in a query; "" until the first parts are sent */
    struct crypto_sha256 *hash;
    int64_t size;
    enum s3_result result;
};

struct s3_upload *
s3_upload_begin(struct s3 *s3, const char *key, size_t part_bytes)
{
    struct s3_upload *u = calloc(1, sizeof *u);

    if (u == NULL)
        return NULL;
    *u = (struct s3_upload){ .s3 = s3, .key = key, .part_bytes = part_bytes, .hash = crypto_sha256_begin(),
                             .buf = malloc(S3_UPLOAD_PARTS * part_bytes), .etag = calloc(PARTS_MAX, sizeof *u->etag) };
    if (u->hash != NULL && u->buf != NULL && u->etag != NULL)
        return u;
    (void)s3_upload_end(u, false, &u->size, NULL);
    return NULL;
}

/* F carries the LEN bytes at DATA, which stay the caller's. */
static void
lend(struct flight *f, const void *data, size_t len)
{
    uint8_t hash[32];

    f->bytes = data;
    f->lent = true;
    f->call->size = (int64_t)len;
    crypto_sha256(data, len, hash);
    (void)crypto_hex(f->call->sha256, hash, sizeof hash);
}

/* One call about UPLOAD as a whole.  What was answered is in ANSWER, to be freed by the caller. */
static enum s3_result
ask(struct s3_upload *u, int what, const char *query, const char *body, char **answer, size_t *answer_len)
{
    struct s3_call call = { .what = what, .key = u->key };
    struct flight f = { .s3 = u->s3, .call = &call, .query = query, .fd = -1 };

    if (body != NULL)
        lend(&f, body, strlen(body));
    (void)run(u->s3, &f, 1, PART_S, false);
    *answer = f.answer;
    *answer_len = f.answer_len;
    return call.result;
}

static bool
get_id(struct s3_upload *u)
{
    char id[ID_SIZE], *answer;
    size_t len;

    u->result = ask(u, POST, "uploads=", "", &answer, &len);
    if (u->result == S3_OK &&
        (!s3list_text(answer, len, "UploadId", id, sizeof id) || sigv4_encode(u->id, sizeof u->id, id, false) == 0)) {
        log_error("the bucket's answer to the beginning of an upload cannot be understood");
        u->result = S3_REFUSED;
    }
    free(answer);
    return u->result == S3_OK;
}

/* Send what is in the buffer. */
static bool
send_parts(struct s3_upload *u)
{
    struct s3_call call[S3_UPLOAD_PARTS];
    struct flight f[S3_UPLOAD_PARTS];
    char query[S3_UPLOAD_PARTS][sizeof u->id + 64];
    size_t n = 0;

    if (u->id[0] == '\0' && !get_id(u))
        return false;
    for (size_t at = 0; at < u->len; at += u->part_bytes, n++) {
        size_t len = u->len - at < u->part_bytes ? u->len - at : u->part_bytes;
        if (u->n_parts + n == PARTS_MAX) {
            log_error("an upload is longer than its parts allow", log_s("key", u->key));
            u->result = S3_REFUSED;
            return false;
        }
        (void)snprintf(query[n], sizeof query[n], "partNumber=%zu&uploadId=%s", u->n_parts + n + 1, u->id);
        call[n] = (struct s3_call){ .what = S3_PUT, .key = u->key };
        f[n] = (struct flight){ .s3 = u->s3, .call = &call[n], .query = query[n], .fd = -1 };
        lend(&f[n], u->buf + at, len);
    }
    bool good = run(u->s3, f, n, PART_S, true);
    for (size_t i = 0; i < n; i++) {
        memcpy(u->etag[u->n_parts + i], f[i].etag, sizeof f[i].etag);
        free(f[i].answer);
        if (call[i].result != S3_OK && call[i].result != S3_SKIPPED)
            u->result = call[i].result;
    }
    u->n_parts += n;
    u->len = 0;
    return good;
}

bool
s3_upload_write(struct s3_upload *u, const void *data, size_t len)
{
    const size_t room = S3_UPLOAD_PARTS * u->part_bytes;

    crypto_sha256_add(u->hash, data, len);
    u->size += (int64_t)len;
    for (const uint8_t *at = data; len > 0 && u->result == S3_OK;) {
        size_t n = len < room - u->len ? len : room - u->len;
        memcpy(u->buf + u->len, at, n);
        u->len += n;
        at += n;
        len -= n;
        if (u->len == room && !send_parts(u))
            return false;
    }
    return u->result == S3_OK;
}

/* Make one object of the parts.  A try whose answer was lost may have done it: then the id is gone and the object is
 * there. */
static enum s3_result
join_parts(struct s3_upload *u)
{
    char query[sizeof u->id + 16], *body = NULL, *answer;
    size_t len;
    FILE *out = open_memstream(&body, &len);

    if (out == NULL)
        return S3_SKIPPED;
    fputs("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", out);
    for (size_t i = 0; i < u->n_parts; i++)
        fprintf(out, "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>", i + 1, u->etag[i]);
    fputs("</CompleteMultipartUpload>", out);
    bool whole = ferror(out) == 0;
    if (fclose(out) != 0 || !whole) {
        free(body);
        return S3_SKIPPED;
    }
    (void)snprintf(query, sizeof query, "uploadId=%s", u->id);
    enum s3_result result = ask(u, POST, query, body, &answer, &len);
    free(answer);
    free(body);
    if (result != S3_OK) {
        struct s3_call head = { .what = S3_HEAD, .key = u->key };
        if (s3_run(u->s3, &head, 1, PART_S, false) && head.size == u->size)
            result = S3_OK;
    }
    return result;
}

enum s3_result
s3_upload_end(struct s3_upload *u, bool keep, int64_t *size, char sha256[65])
{
    uint8_t hash[32] = { 0 };
    enum s3_result result = u->result;

    if (u->hash != NULL)
        crypto_sha256_end(u->hash, hash);
    if (keep && result == S3_OK && u->id[0] == '\0') {   /* it is small */
        struct s3_call put = { .what = S3_PUT, .key = u->key };
        struct flight f = { .s3 = u->s3, .call = &put, .fd = -1 };
        lend(&f, u->buf, u->len);
        (void)run(u->s3, &f, 1, PART_S, false);
        free(f.answer);
        result = put.result;
    } else if (keep && result == S3_OK) {
        result = u->len == 0 || send_parts(u) ? join_parts(u) : u->result;
    }
    if (u->id[0] != '\0' && (!keep || result != S3_OK)) {
        char query[sizeof u->id + 16], *answer;
        size_t len;
        (void)snprintf(query, sizeof query, "uploadId=%s", u->id);
        (void)ask(u, S3_DELETE, query, NULL, &answer, &len);
        free(answer);
    }
    if (keep && result == S3_OK) {
        *size = u->size;
        (void)crypto_hex(sha256, hash, sizeof hash);
    }
    free(u->buf);
    free(u->etag);
    free(u);
    return result;
}

/* ---- lists -------------------------------------------------------------------------------------------------- */

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
        if (!fits(n, sizeof query))
            return S3_REFUSED;
        struct s3_call call = { .what = S3_GET, .key = "" };
        struct flight f = { .s3 = s, .call = &call, .query = query, .fd = -1 };
        bool good = run(s, &f, 1, within_s, false);
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
