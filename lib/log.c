#include "log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "valid.h"

/* A pipe takes this much in one piece (PIPE_BUF, pipe(7)), a file with O_APPEND any amount. */
#define LINE_MAX_BYTES 4096
#define TEXT_MAX_BYTES 1024   /* of one field */
#define LONG_NUMBER 10        /* digits in a row that may be a phone or an IMEI */

static const char *program = "selliko";
static enum log_level least = LOG_LEVEL_INFO;
static const char *const level_words[] = { "debug", "info", "warn", "error" };

static log_tap_fn *error_tap;

static _Thread_local char context_request_id[65];
static _Thread_local char context_route[129];

/* A line in the making.  What no longer fits is left out whole, so that it stays JSON: room for the
 * closing brace is kept back. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool any_number;   /* long numbers are ours, not a person's */
};

void
log_open(const char *name, const char *level)
{
    program = name;
    for (size_t i = 0; i < sizeof level_words / sizeof level_words[0]; i++)
        if (strcmp(level, level_words[i]) == 0)
            least = (enum log_level)i;
}

void
log_context(const char *request_id, const char *route)
{
    snprintf(context_request_id, sizeof context_request_id, "%s", request_id != NULL ? request_id : "");
    snprintf(context_route, sizeof context_route, "%s", route != NULL ? route : "");
}

void
log_context_now(const char **request_id, const char **route)
{
    *request_id = context_request_id;
    *route = context_route;
}

void
log_tap(log_tap_fn *tap)
{
    error_tap = tap;
}

bool
log_enabled(enum log_level level)
{
    return level >= least;
}

static bool
put(struct line *l, const char *s, size_t len)
{
    if (len > sizeof l->text - 3 - l->len)
        return false;
    memcpy(l->text + l->len, s, len);
    l->len += len;
    return true;
}

static bool
put_text(struct line *l, const char *s)
{
    return put(l, s, strlen(s));
}

/* Digits at S that may be somebody's number.  A run inside a word or behind a hyphen is rather a part
 * of a UUID or of a hash. */
static size_t
personal_digits(const char *start, const char *s)
{
    size_t n = strspn(s, "0123456789");
    char before = s > start ? s[-1] : ' ';

    return n < LONG_NUMBER || before == '-' || isalpha((unsigned char)before) || isalpha((unsigned char)s[n]) ? 0 : n;
}

/* S as a JSON string, whatever it holds. */
static bool
put_string(struct line *l, const char *s)
{
    size_t mark = l->len;
    const char *start = s, *end = s + strnlen(s, TEXT_MAX_BYTES);
    bool fits = put(l, "\"", 1);

    while (fits && s < end) {
        unsigned char c = (unsigned char)*s;
        size_t n = 1;
        char escape[8];
        if (c >= '0' && c <= '9') {
            size_t digits = strspn(s, "0123456789");
            size_t hidden = l->any_number ? 0 : personal_digits(start, s);
            for (size_t i = 0; i < hidden && fits; i++)
                fits = put(l, "*", 1);
            if (hidden == 0)
                fits = put(l, s, digits);
            n = digits;
        } else if (c == '"' || c == '\\') {
            escape[0] = '\\';
            escape[1] = (char)c;
            fits = put(l, escape, 2);
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
            fits = put(l, escape, 6);
        } else if (c < 0x80) {
            fits = put(l, s, 1);
        } else if ((n = valid_utf8_first(s, (size_t)(end - s))) > 0) {
            fits = put(l, s, n);
        } else {
            fits = put_text(l, "\xef\xbf\xbd");
            n = 1;
        }
        s += n;
    }
    if (fits && *s != '\0')
        fits = put_text(l, "…");
    fits = fits && put(l, "\"", 1);
    if (!fits)
        l->len = mark;
    return fits;
}

static bool
put_key(struct line *l, const char *key)
{
    return put_text(l, l->len > 1 ? ",\"" : "\"") && put_text(l, key) && put_text(l, "\":");
}

static void
put_member(struct line *l, const char *key, const char *value)
{
    size_t mark = l->len;

    if (!put_key(l, key) || !(value != NULL ? put_string(l, value) : put_text(l, "null")))
        l->len = mark;
}

static void
put_field(struct line *l, const struct log_field *f)
{
    size_t mark = l->len;
    char number[64];

    if (f->kind == LOG_TEXT) {
        put_member(l, f->key, f->u.text);
        return;
    }
    if (f->kind == LOG_INT)
        snprintf(number, sizeof number, "%" PRId64, f->u.num);
    else if (f->kind == LOG_REAL && isfinite(f->u.real) && fabs(f->u.real) < 1e15)
        snprintf(number, sizeof number, "%.3f", f->u.real);
    else if (f->kind == LOG_BOOL)
        snprintf(number, sizeof number, "%s", f->u.num ? "true" : "false");
    else
        snprintf(number, sizeof number, "null");
    if (!put_key(l, f->key) || !put_text(l, number))
        l->len = mark;
}

void
log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    int saved_errno = errno;
    struct line l = { .len = 0 };
    struct timespec now;
    struct tm tm;
    char seconds[24], stamp[40];

    if (!log_enabled(level))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp, sizeof stamp, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000));

    put(&l, "{", 1);
    put_member(&l, "time", stamp);
    put_member(&l, "level", level_words[level]);
    put_member(&l, "program", program);
    put_member(&l, "message", message);
    l.any_number = true;
    if (context_request_id[0] != '\0')
        put_member(&l, "requestId", context_request_id);
    if (context_route[0] != '\0')
        put_member(&l, "route", context_route);
    l.any_number = false;
    for (; fields->kind != LOG_END; fields++)
        put_field(&l, fields);
    l.text[l.len++] = '}';
    l.text[l.len++] = '\n';

    /* A log that cannot be written must not stop the service, and there is nowhere to say so. */
    ssize_t written = write(STDERR_FILENO, l.text, l.len);
    (void)written;
    if (level == LOG_LEVEL_ERROR && error_tap != NULL)
        error_tap(l.text, l.len);
    errno = saved_errno;
}
