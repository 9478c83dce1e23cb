/* answer -- HTTP answers of the transports, the Node server's errors among them, with the CORS headers
 * that belong to them. */
#include "transport_private.h"

#include "must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *
status_text(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 411: return "Length Required";
    case 413: return "Payload Too Large";
    case 429: return "Too Many Requests";
    case 503: return "Service Unavailable";
    }
    return "Error";
}

/* The CORS headers for this request's origin, if it is one of ours. */
static void
cors_headers(struct engineio *server, struct lws *wsi, char *out, size_t room)
{
    char origin[256];

    *out = '\0';
    if (!server->settings.origins || lws_hdr_copy(wsi, origin, sizeof(origin), WSI_TOKEN_ORIGIN) <= 0)
        return;
    for (const char *const *allowed = server->settings.origins; *allowed; allowed++) {
        bool any = strcmp(*allowed, "*") == 0;
        if (any || strcmp(*allowed, origin) == 0) {
            snprintf(out, room, "Access-Control-Allow-Origin: %s\r\n%s", any ? "*" : origin,
                     any ? "" : "Vary: Origin\r\n");
            return;
        }
    }
}

/* What libwebsockets is going to do after the answer; a client that keeps a pool of connections must
 * hear of it, or it sends its next request to a connection that is being closed. */
static const char *
connection_header(struct lws *wsi, bool closing)
{
    char version[12], wish[24];
    bool old = lws_hdr_copy(wsi, version, sizeof(version), WSI_TOKEN_HTTP) <= 0 ||
               strcmp(version, "HTTP/1.1") != 0;

    if (lws_hdr_copy(wsi, wish, sizeof(wish), WSI_TOKEN_CONNECTION) <= 0)
        wish[0] = '\0';
    if (closing || strcasecmp(wish, "close") == 0 || (old && strcasecmp(wish, "keep-alive") != 0))
        return "Connection: close\r\n";
    return old ? "Connection: keep-alive\r\n" : "";
}

/* Writes a whole answer; the caller completes the transaction, or closes the connection. */
static int
write_answer(struct engineio *server, struct lws *wsi, unsigned status, const char *type,
             const char *body, size_t len, bool closing)
{
    char  cors[384];
    char *out = must_resize(NULL, LWS_PRE + 1024 + len), *at = out + LWS_PRE;
    int   n;

    cors_headers(server, wsi, cors, sizeof(cors));
    n = snprintf(at, 1024,
                 "HTTP/1.1 %u %s\r\n%s%s%sContent-Length: %zu\r\nCache-Control: no-store\r\n%s%s\r\n",
                 status, status_text(status), len ? "Content-Type: " : "", len ? type : "",
                 len ? "\r\n" : "", len, connection_header(wsi, closing), cors);
    if (len)
        memcpy(at + n, body, len);
    int sent = lws_write(wsi, (unsigned char *)at, (size_t)n + len, LWS_WRITE_HTTP_HEADERS);
    free(out);
    return sent < 0 ? -1 : 0;
}

int
answer_text(struct engineio *server, struct lws *wsi, unsigned status, const char *body, size_t len)
{
    if (write_answer(server, wsi, status, "text/plain; charset=UTF-8", body, len, false) < 0)
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static const struct {
    unsigned    status;
    const char *body;
} problems[N_PROBLEMS] = {
    [UNKNOWN_TRANSPORT] = {400, "{\"code\":0,\"message\":\"Transport unknown\"}"},
    [UNKNOWN_SID] = {400, "{\"code\":1,\"message\":\"Session ID unknown\"}"},
    [BAD_METHOD] = {400, "{\"code\":2,\"message\":\"Bad handshake method\"}"},
    [BAD_REQUEST] = {400, "{\"code\":3,\"message\":\"Bad request\"}"},
    [BAD_VERSION] = {400, "{\"code\":5,\"message\":\"Unsupported protocol version\"}"},
    [NOT_FOUND] = {404, "{\"code\":3,\"message\":\"Not found\"}"},
    [NO_LENGTH] = {411, "{\"code\":3,\"message\":\"Length required\"}"},
    [TOO_LARGE] = {413, "{\"code\":3,\"message\":\"Payload too large\"}"},
    [TOO_MANY] = {429, "{\"code\":4,\"message\":\"Too many connections\"}"},
    [FULL] = {503, "{\"code\":4,\"message\":\"No room for more connections\"}"},
};

int
answer_problem_only(struct engineio *server, struct lws *wsi, enum problem p, bool closing)
{
    return write_answer(server, wsi, problems[p].status, "application/json", problems[p].body,
                        strlen(problems[p].body), closing);
}

int
answer_problem(struct engineio *server, struct lws *wsi, enum problem p)
{
    if (answer_problem_only(server, wsi, p, false) < 0)
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

int
answer_problem_and_close(struct engineio *server, struct lws *wsi, enum problem p)
{
    answer_problem_only(server, wsi, p, true);
    return -1;
}

int
answer_preflight(struct engineio *server, struct lws *wsi)
{
    char cors[384], out[LWS_PRE + 768];

    cors_headers(server, wsi, cors, sizeof(cors));
    int n = snprintf(out + LWS_PRE, sizeof(out) - LWS_PRE,
                     "HTTP/1.1 204 No Content\r\n%s%s%s\r\n",
                     connection_header(wsi, false), cors,
                     *cors ? "Access-Control-Allow-Methods: GET, POST\r\n"
                             "Access-Control-Allow-Headers: Content-Type\r\n"
                           : "");
    if (lws_write(wsi, (unsigned char *)out + LWS_PRE, (size_t)n, LWS_WRITE_HTTP_HEADERS) < 0)
        return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}
