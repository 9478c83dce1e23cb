/* files -- who may fetch a stored file, and the agent's photos of a verification.
 *
 * nginx serves the bytes; before it does it asks here (auth_request) whether the URL's signature is right,
 * and keeps the answer as long as the URL lives. */
#include "app.h"

#include "fileurl.h"

#define ROUTES(X) \
    X(GET, "/_verify", verify_url, UNASKED, 0)
ROUTES(ROUTE_PROTOTYPE)

/* The subrequest of nginx, with the client's query as its own: 204, which nginx may keep until the URL
 * expires, or 403 for what is unsigned, tampered with or expired. */
static reply
verify_url(struct req *r)
{
    const char *path = req_header(r, "X-File-Path");
    switch (fileurl_verify(path != NULL ? path : "", r->query, req_now(r))) {
    case FILEURL_OK: {
        int64_t left = query_int(r, "exp", 0, INT64_MAX) - req_now(r);
        header(r, "Cache-Control", arena_printf(r->arena, "max-age=%lld", (long long)(left > 1 ? left : 1)));
        return plain(r, 204, "text/plain", "", 0);
    }
    case FILEURL_EXPIRED: return failf(r, ERR_FORBIDDEN, "The link has expired.");
    case FILEURL_BAD: break;
    }
    return failf(r, ERR_FORBIDDEN, "The link is not valid.");
}

APP("files", ROUTES)
