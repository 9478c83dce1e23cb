/* s3flight -- see s3_inside.h: one call to the bucket, what it sends and gets, and what its answer means. */
#include "s3_inside.h"

#include "crypto.h"
#include "encoding.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECT_MS = 5000,
    STALLED_BYTES = 1000, STALLED_S = 15,   /* slower than this for that long is a dead connection */
    DELAY_MS = 200, DELAY_MAX_MS = 5000,
    ERROR_MAX = 2048,
    LIST_MAX = 8 * 1024 * 1024,
};

/* ---- what is sent and got, as libcurl asks for it ---- */

static size_t
give(char *buf, size_t size, size_t n, void *ctx)
{
    struct s3flight *f = ctx;
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
    struct s3flight *f = ctx;

    if (origin != SEEK_SET || offset < 0 || offset > f->call->size)
        return CURL_SEEKFUNC_FAIL;
    f->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static bool
keep_answer(struct s3flight *f, const char *data, size_t len)
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
    struct s3flight *f = ctx;
    size_t len = size * n;
    long status = 0;

    s3curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
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
    struct s3flight *f = ctx;
    struct s3_call *c = f->call;
    char hash[65];

    if ((c->what == S3_HEAD || c->what == S3_GET) && header_is(line, size * n, "x-amz-meta-sha256:", hash, sizeof hash) &&
        strlen(hash) == 64)
        memcpy(c->what == S3_HEAD ? c->sha256 : c->noted, hash, sizeof hash);
    if (c->what == S3_PUT && f->query != NULL)
        (void)header_is(line, size * n, "etag:", f->etag, sizeof f->etag);
    return size * n;
}

/* ---- what is sent ---- */

/* Look at PATH's bytes; their size and hash go to the call. */
static bool
map_file(struct s3flight *f, const char *path)
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
    (void)encoding_hex(f->call->sha256, hash, sizeof hash);
    return true;
}

static void
unmap(struct s3flight *f)
{
    if (f->bytes != NULL && !f->lent)
        munmap((void *)(uintptr_t)f->bytes, (size_t)f->call->size);
    f->bytes = NULL;
}

void
s3flight_lend(struct s3flight *f, const void *data, size_t len)
{
    uint8_t hash[32];

    f->bytes = data;
    f->lent = true;
    f->call->size = (int64_t)len;
    crypto_sha256(data, len, hash);
    (void)encoding_hex(f->call->sha256, hash, sizeof hash);
}

/* ---- the request ---- */

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

static const char *const methods[] = { [S3_PUT] = "PUT", [S3_GET] = "GET", [S3_HEAD] = "HEAD", [S3_DELETE] = "DELETE", [S3_POST] = "POST" };

/* Give all HEADERS and the signature over them to libcurl. */
static bool
set_headers(struct s3flight *f, const char *path)
{
    const struct s3 *s = f->s3;
    bool put = f->call->what == S3_PUT && f->query == NULL;   /* a part is no object yet */
    const char *payload = f->call->what == S3_PUT || f->call->what == (int)S3_POST ? f->call->sha256 : SIGV4_EMPTY_SHA256;
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
        struct curl_slist *more = s3_fits(len, sizeof line) ? s3curl.slist_append(f->headers, line) : NULL;
        if (more == NULL)
            return false;
        f->headers = more;
    }
    /* we do not wait for a 100 that some of these services never send */
    for (size_t i = 0; i < 2; i++) {
        struct curl_slist *more = s3curl.slist_append(f->headers, i == 0 ? "Expect:" : "Content-Type:");
        if (more == NULL)
            return false;
        f->headers = more;
        if (f->call->what != (int)S3_POST)
            break;
    }
    return true;
}

static void
set_options(struct s3flight *f, const char *url, int64_t left_ms)
{
    struct s3_call *c = f->call;

    s3curl.easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    s3curl.easy_setopt(f->easy, CURLOPT_URL, url);
    s3curl.easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
    s3curl.easy_setopt(f->easy, CURLOPT_PATH_AS_IS, 1L);
    s3curl.easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
    s3curl.easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    s3curl.easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(left_ms < CONNECT_MS ? left_ms : CONNECT_MS));
    s3curl.easy_setopt(f->easy, CURLOPT_LOW_SPEED_LIMIT, (long)STALLED_BYTES);
    s3curl.easy_setopt(f->easy, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    s3curl.easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, take);
    s3curl.easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    s3curl.easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, take_header);
    s3curl.easy_setopt(f->easy, CURLOPT_HEADERDATA, f);
    switch ((int)c->what) {
    case S3_PUT:
        s3curl.easy_setopt(f->easy, CURLOPT_UPLOAD, 1L);
        s3curl.easy_setopt(f->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->size);
        s3curl.easy_setopt(f->easy, CURLOPT_READFUNCTION, give);
        s3curl.easy_setopt(f->easy, CURLOPT_READDATA, f);
        s3curl.easy_setopt(f->easy, CURLOPT_SEEKFUNCTION, rewind_to);
        s3curl.easy_setopt(f->easy, CURLOPT_SEEKDATA, f);
        break;
    case (int)S3_POST:
        s3curl.easy_setopt(f->easy, CURLOPT_POST, 1L);
        s3curl.easy_setopt(f->easy, CURLOPT_POSTFIELDS, f->bytes);
        s3curl.easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->size);
        break;
    case S3_HEAD: s3curl.easy_setopt(f->easy, CURLOPT_NOBODY, 1L); break;
    case S3_DELETE: s3curl.easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, "DELETE"); break;
    case S3_GET: break;
    }
}

enum s3_result
s3flight_begin(struct s3flight *f, CURLM *multi, int64_t left_ms)
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
    if (f->easy == NULL && (f->easy = s3curl.easy_init()) == NULL)
        return S3_UNREACHABLE;
    s3curl.easy_reset(f->easy);
    s3curl.slist_free_all(f->headers);
    f->headers = NULL;
    f->sent = f->answer_len = 0;
    if (!s3_path(f->s3, c->key, path, sizeof path) || !set_headers(f, path))
        return S3_REFUSED;
    int n = snprintf(url, sizeof url, "%s%s%s%s", f->s3->origin, path, f->query != NULL ? "?" : "", f->query != NULL ? f->query : "");
    if (!s3_fits(n, sizeof url))
        return S3_REFUSED;
    set_options(f, url, left_ms);
    if (s3curl.multi_add_handle(multi, f->easy) != CURLM_OK)
        return S3_UNREACHABLE;
    f->state = FLYING;
    f->tries++;
    return S3_OK;
}

/* ---- what came of it ---- */

bool
s3flight_judge(struct s3flight *f, CURLcode code, enum s3_result *result, int64_t *delay_ms)
{
    struct s3_call *c = f->call;
    char word[64] = "";
    long status = 0;
    curl_off_t retry_after = 0, size = 0;
    uint16_t chance;

    s3curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    s3curl.easy_getinfo(f->easy, CURLINFO_RETRY_AFTER, &retry_after);
    if (f->broken) {
        *result = S3_FILE;
        return false;
    }
    /* an upload's end may begin with 200 and then tell of an error */
    s3list_error_code(f->answer, f->answer_len, word);
    bool late_error = c->what == (int)S3_POST && word[0] != '\0';
    if (code == CURLE_OK && ((status == 200 && !late_error) || (status == 204 && c->what == S3_DELETE))) {
        *result = S3_OK;
        if (c->what == S3_HEAD) {
            s3curl.easy_getinfo(f->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
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
              log_s("reason", word[0] != '\0' ? word : code != CURLE_OK ? s3curl.easy_strerror(code) : "none was given"),
              log_i("tries", f->tries));
    return false;
}

void
s3flight_end(struct s3flight *f, enum s3_result result)
{
    struct s3_call *c = f->call;

    unmap(f);
    if (f->fd >= 0) {
        close(f->fd);
        f->fd = -1;
        if (result == S3_OK && !map_file(f, c->file))   /* which tells its size and hash */
            result = S3_FILE;
        unmap(f);
        if (result != S3_OK)
            (void)unlink(c->file);
    }
    if (f->easy != NULL) {   /* without, there may be no libcurl either */
        s3curl.easy_cleanup(f->easy);
        s3curl.slist_free_all(f->headers);
    }
    f->easy = NULL;
    f->headers = NULL;
    c->result = result;
    f->state = DONE;
}
