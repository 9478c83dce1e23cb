/* request -- a request made by hand, for the tests of what handlers use.  It has no connection behind it:
 * the body lies in memory, and what would end the request jumps back to made_run. */
#ifndef SELLIKO_TEST_REQUEST_H
#define SELLIKO_TEST_REQUEST_H

#include "../../lib/req_inside.h"

#include <string.h>

struct made {
    struct req req;
    struct req_inside inside;
    struct route route;
    FCGX_Request fcgi;
    char type[100];
    char *envp[2];
};

/* A request with CONTENT_TYPE, BODY (LEN bytes) and QUERY; freed by made_free. */
static inline struct made *
made_new(const char *content_type, const char *body, size_t len, const char *query)
{
    struct made *m = calloc(1, sizeof *m);
    if (m == NULL)
        abort();
    snprintf(m->type, sizeof m->type, "CONTENT_TYPE=%s", content_type);
    m->envp[0] = m->type;
    m->fcgi.envp = m->envp;
    m->inside.fcgi = &m->fcgi;
    m->inside.route = &m->route;
    m->req.inside = &m->inside;
    m->req.arena = arena_new();
    m->req.id = "0123456789abcdef0123456789abcdef";
    m->req.query = query;
    m->req.path = m->req.method = m->req.ip = m->req.user_agent = "";
    m->inside.body_read = true;
    m->inside.body = arena_memdup0(m->req.arena, body, len);
    m->inside.body_len = len;
    return m;
}

#define made_json(text) made_new("application/json", text, strlen(text), "")
#define made_query(text) made_new("", "", 0, text)

static inline void
made_free(struct made *m)
{
    arena_free(m->req.arena);
    free(m);
}

/* Run FN(r); true when it returned, false when the request was left (m->inside.answer says how). */
static inline bool
made_run(struct made *m, void (*fn)(struct req *r))
{
    if (setjmp(m->inside.out) != 0)
        return false;
    fn(&m->req);
    return true;
}

/* What was noted of the field NAME, NULL when nothing. */
static inline const char *
made_wrong(const struct made *m, const char *name)
{
    for (const struct req_field *f = m->inside.wrong; f != NULL; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f->value;
    return NULL;
}

#endif
