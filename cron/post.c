/* post -- see post.h. */
#include "post.h"

#include "crypto.h"
#include "fault.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

/* An answer has some hundred bytes; of a longer one the beginning is judged. */
enum { ANSWER_MAX = 16 * 1024 };

/* Kept connections are given up before servers usually do so (Node's default is five seconds, load
 * balancers' sixty): a call that meets the closing of its connection ends with an unknown outcome. */
static const long KEPT_FOR_S = 4;

struct call {
    CURL *easy;
    bool busy;
    struct message message;
    size_t given;            /* bytes of the body that libcurl took: from then on it may have been sent */
    char answer[ANSWER_MAX];
    size_t answer_len;
    char error[CURL_ERROR_SIZE];
};

static struct {
    CURLM *multi;
    struct curl_slist *headers;
    const char *url;
    int call_s;
    int n_busy;
    struct call call[POST_MAX];
} post;

/* The body goes through a callback without a way back, so that libcurl cannot send it a second time, and
 * so that we know whether any of it left. */
static size_t
give_body(char *buf, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    size_t len = c->message.len - c->given;

    if (len > size * n)
        len = size * n;
    memcpy(buf, c->message.body + c->given, len);
    c->given += len;
    return len;
}

static size_t
take_answer(char *data, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    size_t len = size * n, room = sizeof c->answer - c->answer_len;

    memcpy(c->answer + c->answer_len, data, len < room ? len : room);
    c->answer_len += len < room ? len : room;
    return len;
}

static void
must(bool good)
{
    if (!good)
        abort();
}

/* Each of them counts: a POST without its token would stop the queue. */
static void
add_header(const char *line)
{
    struct curl_slist *more = curl_slist_append(post.headers, line);

    must(more != NULL);
    post.headers = more;
}

void
post_open(const char *url, const char *token, int call_s)
{
    size_t len = strlen(token) + sizeof "Authorization: Bearer ";
    char *bearer = malloc(len);

    must(bearer != NULL && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    snprintf(bearer, len, "Authorization: Bearer %s", token);
    post.url = url;
    post.call_s = call_s;
    add_header(bearer);
    add_header("Content-Type: application/json");
    add_header("Accept: application/json");
    add_header("Expect:");
    free(bearer);
    must((post.multi = curl_multi_init()) != NULL);
    curl_multi_setopt(post.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)POST_MAX);
    curl_multi_setopt(post.multi, CURLMOPT_MAXCONNECTS, (long)POST_MAX);
    curl_multi_setopt(post.multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);

    for (int i = 0; i < POST_MAX; i++) {
        struct call *c = &post.call[i];
        CURL *easy = c->easy = curl_easy_init();

        must(easy != NULL);
        must(curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK
             && curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        curl_easy_setopt(easy, CURLOPT_PIPEWAIT, strncmp(url, "https:", 6) == 0 ? 1L : 0L);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, post.headers);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "selliko");
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(easy, CURLOPT_READDATA, c);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->error);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, KEPT_FOR_S);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 16384L);
    }
}

void
post_close(void)
{
    if (post.multi == NULL)
        return;
    for (int i = 0; i < POST_MAX; i++) {
        struct call *c = &post.call[i];

        if (c->busy)
            curl_multi_remove_handle(post.multi, c->easy);
        curl_easy_cleanup(c->easy);
        message_clear(&c->message);
    }
    curl_multi_cleanup(post.multi);
    curl_slist_free_all(post.headers);
    curl_global_cleanup();
    post.multi = NULL;
}

int
post_room(void)
{
    return POST_MAX - post.n_busy;
}

bool
post_begin(struct message *m)
{
    struct call *c = post.call;
    long ms = post.call_s * 1000L;

    while (c->busy)
        c++;
    if (m->ms_left >= 0 && m->ms_left < ms)   /* an OTP is not even under way when it expires */
        ms = m->ms_left > 0 ? m->ms_left : 1;
    c->message = *m;
    m->body = NULL;
    c->busy = true;
    c->given = 0;
    c->answer_len = 0;
    c->error[0] = '\0';
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE, (long)c->message.len);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, ms);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, ms < 5000 ? ms : 5000L);
    if (curl_multi_add_handle(post.multi, c->easy) != CURLM_OK) {   /* no memory: nothing was sent */
        message_clear(&c->message);
        c->busy = false;
        return false;
    }
    post.n_busy++;
    return true;
}

/* What became of C, which libcurl ended with RESULT. */
static void
judge(struct outcome *out, struct call *c, CURLcode result)
{
    long status = 0;
    curl_off_t retry_after = 0;
    uint16_t chance;

    *out = (struct outcome){ .id = c->message.id, .attempt = c->message.attempt };
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &retry_after);
    if (result == CURLE_OK || status >= 200) {   /* with a status it has been answered, however the rest went */
        whatsapp_answer(&out->answer, (int)status, c->answer, c->answer_len);
    } else if (c->given == 0) {   /* refused, not found, no TLS, timed out before: nothing was sent */
        out->answer.outcome = WHATSAPP_RETRY;
        snprintf(out->answer.error, sizeof out->answer.error, "no connection: %s", curl_easy_strerror(result));
    } else {
        out->answer.outcome = WHATSAPP_UNKNOWN;
        snprintf(out->answer.error, sizeof out->answer.error, "outcome unknown: %s", curl_easy_strerror(result));
    }
    crypto_random(&chance, sizeof chance);
    out->delay_s = whatsapp_delay(out->answer.outcome, out->attempt, (double)retry_after, chance / 65535.0);
}

int
post_ended(struct outcome *out, int n)
{
    int running, left, ended = 0;
    CURLMsg *msg;

    curl_multi_perform(post.multi, &running);
    while (ended < n && (msg = curl_multi_info_read(post.multi, &left)) != NULL) {
        struct call *c = NULL;
        CURLcode result = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &c);
        judge(&out[ended++], c, result);
        curl_multi_remove_handle(post.multi, c->easy);
        message_clear(&c->message);
        c->busy = false;
        post.n_busy--;
        FAULT("answered");
    }
    return ended;
}

void
post_wait(const int *fd, int n, int ms)
{
    struct curl_waitfd extra[4];
    unsigned int n_extra = 0;

    for (int i = 0; i < n; i++)
        if (fd[i] >= 0 && n_extra < sizeof extra / sizeof extra[0])
            extra[n_extra++] = (struct curl_waitfd){ .fd = fd[i], .events = CURL_WAIT_POLLIN };
    curl_multi_poll(post.multi, extra, n_extra, ms, NULL);
}
