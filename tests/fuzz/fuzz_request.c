/* A whole request through the loop of lib/app.c, to handlers that read everything there is to read.
 *
 *     METHOD PATH?QUERY
 *     Header: value          as nginx gives them; Content-Type and Content-Length, too
 *                            an empty line, and the body
 *
 * Whatever it is: no crash; JSON that was accepted is JSON to a second reader, every value is what its
 * reader promises, and the answer is well-formed to the last byte. */
#include <fcgiapp.h>

/* The stream below is not libfcgi's to free, and the answer is looked at here. */
#define FCGX_Finish_r(request) ((void)(request))
#define FCGX_PutStr(text, len, out) answered(text, len)
static void answered(const char *text, int len);
#include "../../lib/app.c"

#include "../../lib/money.h"
#include "../../realtime/socketpacket.h"
#include "reference.h"

#include <ctype.h>

static char answer_text[1 << 20];
static size_t answer_len;

static void
answered(const char *text, int len)
{
    if (len < 0 || (size_t)len > sizeof answer_text - answer_len)
        abort();
    memcpy(answer_text + answer_len, text, (size_t)len);
    answer_len += (size_t)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
    if (!good)
        abort();
}

/* ---- what a handler may ask for ---- */

static void
judge_text(const char *s, size_t min, size_t max, bool lines)
{
    if (s == NULL)
        return;
    size_t len = strlen(s), points = valid_code_points(s, len);
    must(slow_utf8(s, len) && points >= min && points <= max);
    for (size_t i = 0; i < len; i++)
        must((unsigned char)s[i] >= 0x20 || (lines && strchr("\t\r\n", s[i]) != NULL));
}

static void
judge_json(const char *s)
{
    must(socketpacket_json_end(s, s + strlen(s)) == s + strlen(s) && slow_utf8(s, strlen(s)));
    for (; (s = strchr(s, '\\')) != NULL; s += 2)
        must(strncmp(s, "\\u0000", 6) != 0);
}

static bool
is_even(const char *s)
{
    return strlen(s) % 2 == 0;
}

static void
read_all(struct req *r, enum source s)
{
    const char *text = in_text(r, s, "text", 1, 20), *lines = in_lines(r, s, "lines", 0, 50);
    const char *matched = in_match(r, s, "match", is_even, "even");
    const char *phone = in_match(r, s, "phone", valid_phone, "a phone number");
    const char *uuid = in_uuid(r, s, "uuid"), *choice = in_choice(r, s, "choice", "one|three|two"), *when = in_time(r, s, "time");
    const char *day = in_date(r, s, "date"), *decimal = in_decimal(r, s, "decimal", 4, 3, true);
    int64_t n = in_int(r, s, "int", 3, 300), paise = in_rupees(r, s, "rupees", PRICE_MIN_PAISE, PRICE_MAX_PAISE);
    bool yes = in_bool(r, s, "bool");

    judge_text(text, 1, 20, false);
    judge_text(lines, 0, 50, true);
    must(matched == NULL || is_even(matched));
    must(phone == NULL || (strlen(phone) == 13 && phone[0] == '+'));
    must(uuid == NULL || MATCHES("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid));
    must(choice == NULL || MATCHES("one|two|three", choice));
    must(when == NULL || (strlen(when) >= 10 && strlen(when) <= 35));
    must(day == NULL || strlen(day) == 10);
    must(decimal == NULL || MATCHES("-?[0-9]{1,4}(\\.[0-9]{1,3})?", decimal));
    must(n == 0 || (n >= 3 && n <= 300));
    must(paise == 0 || (paise >= PRICE_MIN_PAISE && paise <= PRICE_MAX_PAISE));
    if (!bad_input(r)) {
        jw_str(answer(r), "text", text);
        jw_str(answer(r), "lines", lines);
        jw_str(answer(r), "time", when);
        jw_rupees(answer(r), "rupees", paise);
        jw_bool(answer(r), "bool", yes);
    }
    for (int i = 0; i < 4; i++)
        jw_str(answer(r), "argument", r->arg[i]);
    jw_str(answer(r), "agent", r->user_agent);
    jw_str(answer(r), "key", r->idempotency_key);
    must(r->idempotency_key == NULL || MATCHES("[!-~]{1,255}", r->idempotency_key));
}

static reply
read_body_fields(struct req *r)
{
    size_t len;

    read_all(r, FROM_BODY);
    const char *body = req_body(r, &len);
    if (r->inside->json.kind != JR_ABSENT) {
        const char *end = socketpacket_json_end(body, body + len);
        must(end != NULL && end + strspn(end, " \t\r\n") == body + len);
    }
    if (body_has(r, "object")) {
        const char *object = body_object(r, "object", 200);
        if (object != NULL) {
            judge_json(object);
            must(strlen(object) <= 200);
            jw_raw(answer(r), "object", object, strlen(object));
        }
    }
    return bad_input(r) ? refuse_input(r) : created(r);
}

static reply
read_query_fields(struct req *r)
{
    struct page page = in_page(r);

    must(page.limit <= 100 && page.page >= 0 && page.page < INT64_C(1) << 53 && page.offset_text[0] != '-');
    read_all(r, FROM_QUERY);
    return bad_input(r) ? refuse_input(r) : ok(r);
}

static reply
stream(struct req *r)
{
    char piece[7];
    size_t all = 0;

    for (long n; (n = req_read(r, piece, sizeof piece)) > 0;)
        all += (size_t)n;
    jw_int(answer(r), "bytes", (int64_t)all);
    return body_has(r, "text") ? ok(r) : fail(r, ERR_MALFORMED_MULTIPART);
}

static reply
raw(struct req *r)
{
    size_t len;
    const char *body = req_body(r, &len);

    must(body[len] == '\0');
    return plain(r, 200, "text/plain", body, len);
}

static struct route routes[] = {
    { "POST", "/bodies", read_body_fields, UNASKED, TAKES_KEY, NULL },
    { "PUT", "/bodies/{uuid}", read_body_fields, ANYONE, 0, NULL },
    { "GET", "/queries", read_query_fields, ANYONE, CACHEABLE | TAKES_KEY, NULL },
    { "GET", "/words/{name}/{uuid}/{name}/{name}", read_query_fields, UNASKED, 0, NULL },
    { "POST", "/streams", stream, UNASKED, STREAMS, NULL },
    { "POST", "/raw", raw, UNASKED, RAW_BODY, NULL },
    { "GET", "/closed", read_query_fields, CLIENT | ADMIN, 0, NULL },
};

/* ---- the request ---- */

static void
end_of_body(FCGX_Stream *in)
{
    in->isClosed = 1;
}

/* "Status: …", known headers, the announced length of body; JSON is JSON. */
static void
judge_answer(const char *s, size_t len)
{
    const char *end = memmem(s, len, "\r\n\r\n", 4), *type = "";
    size_t body_len = 0;
    int status = 0;

    must(end != NULL);
    for (const char *line = s; line < end + 2;) {
        const char *eol = memmem(line, len - (size_t)(line - s), "\r\n", 2);
        char copy[300];
        must(eol != NULL && (size_t)(eol - line) < sizeof copy);
        memcpy(copy, line, (size_t)(eol - line));
        copy[eol - line] = '\0';
        must(MATCHES("(Status|Content-Type|Content-Length|Cache-Control|Allow|WWW-Authenticate|Retry-After): [ -~]+", copy));
        if (sscanf(copy, "Status: %d", &status) != 1 && sscanf(copy, "Content-Length: %zu", &body_len) != 1
            && strcmp(copy, "Content-Type: application/json; charset=utf-8") == 0)
            type = "json";
        line = eol + 2;
    }
    const char *body = end + 4;
    must(status >= 200 && status < 500 && len == (size_t)(body - s) + body_len);
    if (*type != '\0')
        must(slow_utf8(body, body_len) && socketpacket_json_end(body, body + body_len) == body + body_len);
}

/* NAME=value, in ENVP, with memory of its own. */
static void
set(char **envp, int *n, const char *name, const char *value)
{
    size_t len = strlen(name) + strlen(value) + 2;
    envp[*n] = malloc(len);
    must(envp[*n] != NULL);
    snprintf(envp[(*n)++], len, "%s=%s", name, value);
}

/* A header's line as nginx makes a parameter of it; no other names can come from a client. */
static bool
set_header(char **envp, int *n, char *line)
{
    char name[100] = "HTTP_", *value = strchr(line, ':');
    size_t len = value != NULL ? (size_t)(value - line) : 0;

    if (value == NULL || len == 0 || len > 80 || strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != len)
        return false;
    bool plain_name = strncasecmp(line, "Content-Type:", 13) == 0 || strncasecmp(line, "Content-Length:", 15) == 0;
    for (size_t i = 0, at = plain_name ? 0 : 5; i < len; i++, at++) {
        name[at] = (char)(line[i] == '-' ? '_' : toupper((unsigned char)line[i]));
        name[at + 1] = '\0';
    }
    value += 1 + strspn(value + 1, " ");
    set(envp, n, name, value);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    enum { HEADERS_MAX = 12 };
    char *envp[HEADERS_MAX + 10] = { NULL }, number[24];
    int n = 0;

    if (arena == NULL) {
        arena = arena_new();
        must(arena != NULL);
        log_open("fuzz", "error");
        token_init("0123456789abcdef0123456789abcdef");
        app.routes = routes;
        app.n_routes = sizeof routes / sizeof routes[0];
        for (size_t i = 0; i < app.n_routes; i++)
            routes[i].metrics = metrics_route("fuzz", routes[i].pattern, routes[i].method);
    }
    const uint8_t *gap = memmem(data, size, "\n\n", 2);
    if (gap == NULL || size > 20000 || memchr(data, '\0', (size_t)(gap - data)) != NULL)
        return 0;
    size_t head_len = (size_t)(gap - data), body_len = size - head_len - 2;
    char *head = strndup((const char *)data, head_len), *rest = head, *line = strsep(&rest, "\n");
    unsigned char *body = malloc(body_len + 1);
    must(head != NULL && body != NULL);
    memcpy(body, gap + 2, body_len);

    for (char *header_line; n < HEADERS_MAX && (header_line = strsep(&rest, "\n")) != NULL;)
        if (!set_header(envp, &n, header_line))
            break;
    char *method = strsep(&line, " "), *path = line != NULL ? strsep(&line, "?") : NULL;
    set(envp, &n, "REQUEST_METHOD", method);
    set(envp, &n, "DOCUMENT_URI", path != NULL ? path : "");
    set(envp, &n, "QUERY_STRING", line != NULL ? line : "");
    set(envp, &n, "REQUEST_ID", "0123456789abcdef0123456789abcdef");
    set(envp, &n, "REMOTE_ADDR", "192.0.2.1");
    snprintf(number, sizeof number, "%zu", body_len);
    set(envp, &n, "CONTENT_LENGTH", number);   /* the first one counts */

    FCGX_Stream in = { .rdNext = body, .wrNext = body + body_len, .stop = body + body_len, .stopUnget = body, .isReader = 1,
                       .fillBuffProc = end_of_body };
    struct conn conn = { .fcgi = { .in = &in, .envp = envp, .ipcFd = -1 } };
    answer_len = 0;
    serve(&conn, arena);
    judge_answer(answer_text, answer_len);

    for (int i = 0; i < n; i++)
        free(envp[i]);
    free(head);
    free(body);
    return 0;
}
