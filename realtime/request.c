/* request -- what an HTTP request to the transports says, and who sends it. */
#include "transport_private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct query
request_query(struct lws *wsi)
{
    struct query q = {0};
    char         arg[HEADERS_BYTES];
    int          len;

    for (int i = 0; (len = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i)) > 0; i++) {
        if (len >= (int)sizeof(arg) ||
            lws_hdr_copy_fragment(wsi, arg, sizeof(arg), WSI_TOKEN_HTTP_URI_ARGS, i) < 0)
            continue;
        if (strncmp(arg, "EIO=", 4) == 0)
            q.eio4 = strcmp(arg + 4, "4") == 0;
        else if (strncmp(arg, "transport=", 10) == 0) {
            q.polling = strcmp(arg + 10, "polling") == 0;
            q.websocket = strcmp(arg + 10, "websocket") == 0;
        } else if (strncmp(arg, "sid=", 4) == 0) {
            q.has_sid = true;
            q.sid_len = strlen(arg + 4);
            if (q.sid_len >= sizeof(q.sid))
                q.sid_len = 0; /* nobody's */
            memcpy(q.sid, arg + 4, q.sid_len);
        }
    }
    return q;
}

void
request_address(struct engineio *server, struct lws *wsi, char out[static 46])
{
    struct sockaddr_storage peer;
    socklen_t               len = sizeof(peer);
    unsigned char           ignored[16];

    if (server->settings.trust_real_ip &&
        lws_hdr_copy(wsi, out, 46, WSI_TOKEN_HTTP_X_REAL_IP) > 0 &&
        (inet_pton(AF_INET, out, ignored) == 1 || inet_pton(AF_INET6, out, ignored) == 1))
        return;
    out[0] = '\0';
    if (getpeername(lws_get_socket_fd(wsi), (struct sockaddr *)&peer, &len) == 0) {
        if (peer.ss_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, out, 46);
        else if (peer.ss_family == AF_INET6)
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, out, 46);
    }
    if (!out[0])
        snprintf(out, 46, "local");
}

long long
request_body_len(struct lws *wsi)
{
    char text[16];
    int  len = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH);

    if (!len)
        return -1;
    if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 || len > 12 ||
        strspn(text, "0123456789") != strlen(text))
        return -2;
    return strtoll(text, NULL, 10);
}
