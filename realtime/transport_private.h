/* transport_private -- what the transports' files share: transport.c (libwebsockets' callback, and what
 * sessions want of it), polling.c, websocket.c, handover.c, request.c and answer.c.  All of them, and they alone,
 * know libwebsockets.
 *
 * An int that comes without a word is a callback's: 0 goes on, -1 closes the connection. */
#ifndef REALTIME_TRANSPORT_PRIVATE_H
#define REALTIME_TRANSPORT_PRIVATE_H

#include "engineio_private.h"

#define HEADERS_BYTES 8192

/* -- request.c ---------------------------------------------------------------------------------- */

struct query {
    bool   eio4, polling, websocket, has_sid;
    size_t sid_len;
    char   sid[MAX_SID_LEN + 1];
};

/* What the query of a request says; what it does not say is false. */
struct query request_query(struct lws *wsi);

/* The client's address as text: the proxy's word, where it is to be believed, or the connection's. */
void request_address(struct engineio *server, struct lws *wsi, char out[static 46]);

/* The declared length of a request's body; -1: there is none declared, -2: not a number. */
long long request_body_len(struct lws *wsi);

/* -- answer.c ----------------------------------------------------------------------------------- */

/* The Node server's errors: its code, its sentence, and our status. */
enum problem {
    UNKNOWN_TRANSPORT,
    UNKNOWN_SID,
    BAD_METHOD,
    BAD_REQUEST,
    BAD_VERSION,
    NOT_FOUND,
    NO_LENGTH,
    TOO_LARGE,
    TOO_MANY,
    FULL,
    N_PROBLEMS
};

/* Answers with text and goes on to the connection's next request.  The connection's struct conn may be
 * gone when this returns, as with all of these. */
int answer_text(struct engineio *server, struct lws *wsi, unsigned status, const char *body, size_t len);

/* The same with a problem. */
int answer_problem(struct engineio *server, struct lws *wsi, enum problem p);

/* The same, and closes the connection behind it: for requests whose body nobody wants to read. */
int answer_problem_and_close(struct engineio *server, struct lws *wsi, enum problem p);

/* Writes the answer alone: the caller completes the transaction, or closes the connection. */
int answer_problem_only(struct engineio *server, struct lws *wsi, enum problem p, bool closing);

/* What a browser asks before it asks. */
int answer_preflight(struct engineio *server, struct lws *wsi);

/* -- polling.c ---------------------------------------------------------------------------------- */

/* A request whose headers are complete; part of a body; all of it; the connection can take an answer. */
int polling_request(struct engineio *server, struct lws *wsi, struct conn *conn);
int polling_body(struct engineio *server, struct conn *conn, const void *data, size_t len);
int polling_body_complete(struct engineio *server, struct lws *wsi, struct conn *conn);
int polling_writable(struct engineio *server, struct lws *wsi, struct conn *conn);

/* Looks no more whether the client of a waiting poll hangs up. */
void polling_unwatch(struct conn *conn);

/* -- websocket.c -------------------------------------------------------------------------------- */

/* Whether a WebSocket may begin; what is wrong is answered as HTTP.  The value is that of
 * LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: 0 go on, 1 answered, -1 hang up. */
int websocket_confirm(struct engineio *server, struct lws *wsi, const char *protocol);

/* It has begun; has brought a message, or part of one; can take more. */
int websocket_begin(struct engineio *server, struct lws *wsi, struct conn *conn);
int websocket_received(struct engineio *server, struct lws *wsi, struct conn *conn, const char *data,
                       size_t len);
int websocket_writable(struct conn *conn);

/* -- handover.c --------------------------------------------------------------------------------- */

/* Whether nginx offers to give us the client's own connection, should the WebSocket begin. */
bool handover_offered(struct engineio *server, struct lws *wsi);

/* Says in the headers of an answer that we would take it.  0 or -1. */
int handover_accept(struct engineio *server, struct lws *wsi, struct lws_process_html_args *answer);

/* Writes and reads nothing more on a WebSocket that has just begun, until it is given or will not be. */
void handover_await(struct conn *conn);

/* Waits no more; the connection goes on as it is.  Does nothing where it does not wait. */
void handover_end(struct conn *conn);

void handover_begin_all(struct engineio *server);

/* -- transport.c -------------------------------------------------------------------------------- */

/* Tells the connection's session, if it has one, that it is gone. */
void conn_detach(struct conn *conn);

/* What has come in of a body or message, piece by piece. */
void conn_append(struct conn *conn, const void *data, size_t len);
void conn_forget_body(struct conn *conn);

#endif
