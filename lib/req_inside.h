/* req_inside -- what the modules behind req.h share of a request (app, input, reply, dbreq). */
#ifndef SELLIKO_REQ_INSIDE_H
#define SELLIKO_REQ_INSIDE_H

#include "app.h"
#include "db_inside.h"
#include "jr.h"
#include "token.h"

#include <fcgiapp.h>
#include <setjmp.h>

enum { REQ_MAX_QUEUED = 8, REQ_MAX_HEADERS = 16, REQ_JSON_MAX = 1048576, REQ_RAW_MAX = 3 * 1048576 };

struct req_answer {
    int status;
    const char *content_type;
    const char *body;
    size_t len;
    enum error error;      /* ERR_COUNT when it is none */
};

struct req_field {         /* a wrong field, or a form's or query's field */
    struct req_field *next;
    const char *name, *value;
    size_t len;
};

struct req_inside {
    FCGX_Request *fcgi;
    const struct route *route;
    jmp_buf out;                      /* give_up: back to the loop */
    struct req_answer answer;
    bool streams;                     /* counts among those that may take long */

    /* who */
    struct token_claims claims;
    bool has_token, checked;          /* checked: the database judged the session; unless it refused, user.role is set */

    /* database */
    struct db *db;                    /* borrowed from the pool, or the replica's */
    time_t public_since;              /* of a public page: when its first statement went, where a replica may serve it */
    struct db_call queued[REQ_MAX_QUEUED];
    int n_queued;
    bool in_transaction;
    const char *wake[4];
    int n_wake;

    /* input */
    long content_length;
    bool body_read, json_parsed, query_parsed, is_form;
    char *body;
    size_t body_len;
    struct jr json;                 /* the body, JR_ABSENT when it is empty */
    struct req_field *form, *form_tail, *query, *wrong, *wrong_tail;

    /* output */
    struct jw *out_json, *extra;
    struct { const char *name, *value; } header[REQ_MAX_HEADERS];
    int n_headers;
};

/* End the request with an answer made before (the reply of a refused session, a 400 from a reader). */
_Noreturn void req_leave(struct req *r, reply with);

/* The answer of a session_check that failed with SQLSTATE; false when it is not one of its states. */
bool req_session_refused(struct req *r, const char *sqlstate, reply *refusal);

/* Roll back what is open, give the connection back, and (COMMITTED) wake whom the handler named. */
void req_db_end(struct req *r, bool committed);

#endif
