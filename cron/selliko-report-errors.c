/* selliko-report-errors -- send the errors and crashes that programs put by to a Sentry-compatible service.
 *
 *   selliko-report-errors [--watch SECONDS] [--verbose]
 *
 * lib/sentry.c puts lines by in a file; this takes the file away by renaming it and sends a line an event
 * (the envelope endpoint: https://develop.sentry.dev/sdk/data-model/envelopes/).  An event's id is made
 * from its line, so one that is sent twice, after an answer was lost, is one event there.  What is not
 * taken stays for the next run, and while the other side is away the file grows to its bound and no
 * further.  Without SENTRY_DSN there is nothing to do.
 *
 * No personal data leaves the house: of a line's texts only those are passed on that are ours by their
 * nature (FIELDS), not what a library or the database said about the values it was given.  The rest is in
 * the log, to be found by the request's id. */
#include "cron.h"

#include "clock.h"
#include "config.h"
#include "crypto.h"
#include "log.h"
#include "options.h"
#include "sentry.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    PAUSE_MS = 1000,
    IDLE_MS = 60 * 1000,
    RETRY_MS = 30 * 1000,
    SETTLE_MS = 20,          /* for writers that opened the file before it was renamed */
    TIMEOUT_S = 10,
};

/* Texts of a line that are passed on as tags; numbers and booleans are, whatever they are called. */
static const char *const FIELDS[] = { "program", "route", "requestId", "sqlstate", "constraint", "signal", "field", "group" };

static struct {
    char url[1024], auth[256], host[256];
    char spool[PATH_MAX], sending[PATH_MAX], lock[PATH_MAX];
    CURL *curl;
    int64_t not_before_ms;
} to;

/* ---- where to ---- */

static void
free_url_part(char **part)
{
    curl_free(*part);
}
#define URL_PART __attribute__((cleanup(free_url_part))) char *

/* {scheme}://{key}@{host}[:port][/path]/{project} -> {scheme}://{host}[:port][/path]/api/{project}/envelope/ */
static bool
read_dsn(const char *dsn)
{
    URL_PART scheme = NULL;
    URL_PART key = NULL;
    URL_PART host = NULL;
    URL_PART port = NULL;
    URL_PART path = NULL;
    CURLU *u = curl_url();
    bool good = u != NULL && curl_url_set(u, CURLUPART_URL, dsn, 0) == CURLUE_OK
        && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_USER, &key, 0) == CURLUE_OK
        && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK
        && strncmp(scheme, "http", 4) == 0 && strspn(key, "0123456789abcdefABCDEF") == strlen(key);
    char *project = good ? strrchr(path, '/') : NULL;

    if (u != NULL)
        (void)curl_url_get(u, CURLUPART_PORT, &port, 0);
    curl_url_cleanup(u);
    if (project == NULL || project[1] == '\0')
        return false;
    *project++ = '\0';
    int n = snprintf(to.url, sizeof to.url, "%s://%s%s%s%s/api/%s/envelope/", scheme, host, port != NULL ? ":" : "",
                     port != NULL ? port : "", path, project);
    int k = snprintf(to.auth, sizeof to.auth, "X-Sentry-Auth: Sentry sentry_version=7, sentry_client=selliko/%s, sentry_key=%s",
                     PACKAGE_VERSION, key);
    return (size_t)n < sizeof to.url && (size_t)k < sizeof to.auth;
}

/* ---- a line becomes an event ---- */

static const char *
text_of(struct json_object *line, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(line, key, &value) && json_object_is_type(value, json_type_string)
        ? json_object_get_string(value) : NULL;
}

static void
add_text(struct json_object *o, const char *key, const char *value)
{
    if (value != NULL)
        json_object_object_add(o, key, json_object_new_string(value));
}

static struct json_object *
tags_of(struct json_object *line)
{
    struct json_object *tags = json_object_new_object();

    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++)
        add_text(tags, FIELDS[i], text_of(line, FIELDS[i]));
    json_object_object_foreach(line, key, value) {
        if (json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double)
            || json_object_is_type(value, json_type_boolean))
            add_text(tags, key, json_object_get_string(value));
    }
    return tags;
}

/* Places of a crash, the outermost first, as the service wants them. */
static struct json_object *
crash_of(struct json_object *line, const char *program)
{
    struct json_object *frames = json_object_new_array(), *stack = json_object_new_object(), *one = json_object_new_object();
    struct json_object *mechanism = json_object_new_object(), *values = json_object_new_array(), *crash = json_object_new_object();
    struct json_object *places;
    char what[160];

    if (json_object_object_get_ex(line, "frames", &places) && json_object_is_type(places, json_type_array))
        for (size_t i = json_object_array_length(places); i-- > 0;) {
            struct json_object *frame = json_object_new_object();
            add_text(frame, "function", json_object_get_string(json_object_array_get_idx(places, i)));
            json_object_array_add(frames, frame);
        }
    snprintf(what, sizeof what, "%s crashed", program);
    add_text(one, "type", text_of(line, "signal"));
    add_text(one, "value", what);
    add_text(mechanism, "type", "signalhandler");
    json_object_object_add(mechanism, "handled", json_object_new_boolean(false));
    json_object_object_add(one, "mechanism", mechanism);
    json_object_object_add(stack, "frames", frames);
    json_object_object_add(one, "stacktrace", stack);
    json_object_array_add(values, one);
    json_object_object_add(crash, "values", values);
    return crash;
}

/* Events of one kind are one issue there: which program, what, where, and the kind of failure. */
static struct json_object *
kind_of(struct json_object *line, const char *program, const char *message)
{
    static const char *const more[] = { "route", "sqlstate", "signal" };
    struct json_object *kind = json_object_new_array();

    json_object_array_add(kind, json_object_new_string(program));
    json_object_array_add(kind, json_object_new_string(message));
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (text_of(line, more[i]) != NULL)
            json_object_array_add(kind, json_object_new_string(text_of(line, more[i])));
    return kind;
}

static void
event_id(const char *line, size_t len, char id[33])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    size_t n = 0;

    (void)EVP_Q_digest(NULL, "SHA256", NULL, line, len, sum, &n);
    for (int i = 0; i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", sum[i]);
}

/* The envelope of LINE in the arena; NULL when it is no line of ours. */
static const char *
envelope_of(struct arena *a, const char *text, size_t len)
{
    struct json_object *line = json_tokener_parse(arena_memdup0(a, text, len));
    const char *program = text_of(line, "program"), *message = text_of(line, "message"), *level = text_of(line, "level");
    const char *body = NULL;
    char id[33];

    if (program != NULL && message != NULL && level != NULL) {
        struct json_object *event = json_object_new_object(), *said = json_object_new_object(), *at;
        event_id(text, len, id);
        add_text(event, "event_id", id);
        if (json_object_object_get_ex(line, "at", &at))
            json_object_object_add(event, "timestamp", json_object_get(at));
        else
            add_text(event, "timestamp", text_of(line, "time"));
        add_text(event, "platform", "native");
        add_text(event, "level", level);
        add_text(event, "logger", program);
        add_text(event, "release", "selliko@" PACKAGE_VERSION);
        add_text(event, "environment", config()->env);
        add_text(event, "server_name", to.host);
        add_text(event, "transaction", text_of(line, "route"));
        add_text(said, "formatted", message);
        json_object_object_add(event, "message", said);
        json_object_object_add(event, "tags", tags_of(line));
        json_object_object_add(event, "fingerprint", kind_of(line, program, message));
        if (text_of(line, "signal") != NULL)
            json_object_object_add(event, "exception", crash_of(line, program));
        body = json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        body = arena_printf(a, "{\"event_id\":\"%s\"}\n{\"type\":\"event\",\"length\":%zu}\n%s\n", id, strlen(body), body);
        json_object_put(event);
    }
    json_object_put(line);
    return body;
}

/* ---- sending ---- */

static size_t
ignore_answer(char *data, size_t size, size_t n, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * n;
}

/* The HTTP status; 0: no answer. */
static long
post(const char *body)
{
    long status = 0;
    curl_off_t wait = 0;
    struct curl_slist *headers = curl_slist_append(NULL, to.auth);

    headers = curl_slist_append(headers, "Content-Type: application/x-sentry-envelope");
    curl_easy_setopt(to.curl, CURLOPT_URL, to.url);
    curl_easy_setopt(to.curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(to.curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(to.curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(to.curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    curl_easy_setopt(to.curl, CURLOPT_WRITEFUNCTION, ignore_answer);
    curl_easy_setopt(to.curl, CURLOPT_NOSIGNAL, 1L);
    CURLcode result = curl_easy_perform(to.curl);
    if (result == CURLE_OK) {
        curl_easy_getinfo(to.curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(to.curl, CURLINFO_RETRY_AFTER, &wait);
    } else {
        log_warn("errors cannot be reported now", log_s("reason", curl_easy_strerror(result)));
    }
    curl_slist_free_all(headers);
    to.not_before_ms = clock_ms() + (wait > 0 ? (int64_t)wait * 1000 : RETRY_MS);
    return status;
}

/* Send the lines of FD, which has the name to.sending.  False: the rest must wait. */
static bool
send_lines(int fd, struct arena *a)
{
    char *text = arena_alloc(a, SENTRY_SPOOL_MAX + 1);
    size_t len = 0;
    ssize_t n;
    int64_t sent = 0, refused = 0;
    bool good = true;

    while (len < SENTRY_SPOOL_MAX && (n = read(fd, text + len, SENTRY_SPOOL_MAX - len)) > 0)
        len += (size_t)n;
    for (char *line = text, *end; good && (end = memchr(line, '\n', len - (size_t)(line - text))) != NULL; line = end + 1) {
        const char *body = envelope_of(a, line, (size_t)(end - line));
        long status = body != NULL ? post(body) : 400;
        if (status >= 200 && status < 300)
            sent++;
        else if (status >= 400 && status < 500 && status != 429 && status != 408)
            refused++;   /* it would be refused again */
        else {
            good = false;
            if (status != 0)
                log_warn("errors cannot be reported now", log_i("status", status));
        }
    }
    cron_count("errors reported", sent);
    cron_count("errors refused", refused);
    if (refused > 0)
        log_error("errors were refused: is SENTRY_DSN right?", log_i("refused", refused));
    return good;
}

static enum cron_result
report(struct db *db, struct arena *a, int64_t *next_ms)
{
    const struct timespec settle = { .tv_nsec = SETTLE_MS * 1000000L };
    bool good = true;

    (void)db;
    if (config()->sentry_dsn == NULL) {
        *next_ms = IDLE_MS;
        return CRON_DONE;
    }
    if (clock_ms() < to.not_before_ms && access(to.sending, F_OK) == 0)
        return CRON_DONE;
    int lock = open(to.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {   /* another one is at it, or there is no such folder */
        if (lock >= 0)
            close(lock);
        return lock >= 0 ? CRON_DONE : CRON_FAILED;
    }
    if (access(to.sending, F_OK) == 0 || rename(to.spool, to.sending) == 0) {
        nanosleep(&settle, NULL);
        int fd = open(to.sending, O_RDONLY | O_CLOEXEC);
        good = fd >= 0 && send_lines(fd, a);
        if (good)
            unlink(to.sending);
        if (fd >= 0)
            close(fd);
    }
    close(lock);
    return good ? CRON_DONE : CRON_FAILED;
}

static int
begin(void)
{
    const struct config *c = config();

    snprintf(to.spool, sizeof to.spool, "%s/" SENTRY_SPOOL, c->state_dir);
    snprintf(to.sending, sizeof to.sending, "%s/" SENTRY_SPOOL ".sending", c->state_dir);
    snprintf(to.lock, sizeof to.lock, "%s/" SENTRY_SPOOL ".lock", c->state_dir);
    if (gethostname(to.host, sizeof to.host - 1) != 0)
        to.host[0] = '\0';
    if (c->sentry_dsn == NULL)
        return EX_OK;
    if (!read_dsn(c->sentry_dsn)) {
        fprintf(stderr, "selliko-report-errors: SENTRY_DSN is not {https}://{key}@{host}/{project}\n");
        return EX_CONFIG;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || (to.curl = curl_easy_init()) == NULL)
        return EX_OSERR;
    return EX_OK;
}

static void
end(void)
{
    curl_easy_cleanup(to.curl);
    curl_global_cleanup();
}

int
main(int argc, char **argv)
{
    static const struct cron job = {
        .name = "selliko-report-errors", .pause_ms = PAUSE_MS, .unreported = true, .begin = begin, .work = report, .end = end,
    };

    return cron_main(&job, argc, argv);
}
