/* reply -- the ways to answer, and the answers that only the loop gives. */
#include "req_inside.h"

#include "config.h"
#include "log.h"

static const struct {
    int status;
    const char *code, *sentence;
} errors[] = {
#define ERRORS_ROW(name, status, code, sentence) { status, code, sentence },
    ERRORS(ERRORS_ROW)
};

struct jw *
answer(struct req *r)
{
    if (r->inside->out_json == NULL) {
        r->inside->out_json = jw_new(r->arena);
        jw_object(r->inside->out_json, NULL);
        jw_bool(r->inside->out_json, "success", true);
    }
    return r->inside->out_json;
}

struct jw *
error_extra(struct req *r)
{
    if (r->inside->extra == NULL) {
        r->inside->extra = jw_new(r->arena);
        jw_object(r->inside->extra, NULL);
    }
    return r->inside->extra;
}

static reply
make(struct req *r, int status, const char *type, const char *body, size_t len, enum error e)
{
    r->inside->answer = (struct req_answer){
        .status = status, .content_type = type, .body = body, .len = len, .error = e,
    };
    return (reply){ &r->inside->answer };
}

#define JSON_TYPE "application/json; charset=utf-8"

static reply
done(struct req *r, int status)
{
    struct jw *j = answer(r);
    jw_end(j);
    size_t len;
    const char *body = jw_text(j, &len);
    return make(r, status, JSON_TYPE, body, len, ERR_COUNT);
}

int
reply_status(reply made)
{
    return made.made->status;
}

reply
ok(struct req *r)
{
    return done(r, 200);
}

reply
created(struct req *r)
{
    return done(r, 201);
}

reply
plain(struct req *r, int status, const char *content_type, const char *body, size_t len)
{
    return make(r, status, content_type, body, len, ERR_COUNT);
}

reply
replay(struct req *r, int status, const char *body, size_t len)
{
    return make(r, status, JSON_TYPE, body, len, ERR_COUNT);
}

static reply
refuse(struct req *r, enum error e, const char *sentence)
{
    struct jw *j = jw_new(r->arena);
    jw_object(j, NULL);
    jw_bool(j, "success", false);
    jw_str(j, "error", sentence);
    jw_str(j, "code", errors[e].code);
    if (r->inside->wrong != NULL && e == ERR_VALIDATION_FAILED) {
        jw_array(j, "details");
        for (const struct req_field *f = r->inside->wrong; f != NULL; f = f->next) {
            jw_object(j, NULL);
            jw_str(j, "field", f->name);
            jw_str(j, "message", f->value);
            jw_end(j);
        }
        jw_end(j);
    }
    if (r->inside->extra != NULL) {   /* {"minimumBid":…}: its inside is copied */
        size_t len;
        const char *text = jw_text(r->inside->extra, &len);
        jw_members(j, text + 1, len - 1);
    }
    jw_str(j, "requestId", r->id);
    jw_end(j);
    if (errors[e].status == 401 && e != ERR_SIGNATURE_INVALID)
        header(r, "WWW-Authenticate", e == ERR_TOKEN_EXPIRED
               ? "Bearer error=\"invalid_token\", error_description=\"The access token expired\"" : "Bearer");
    if (errors[e].status == 503)
        header(r, "Retry-After", "2");
    size_t len;
    const char *body = jw_text(j, &len);
    return make(r, errors[e].status, JSON_TYPE, body, len, e);
}

reply
fail(struct req *r, enum error e)
{
    return refuse(r, e, errors[e].sentence);
}

reply
failf(struct req *r, enum error e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *sentence = arena_vprintf(r->arena, fmt, ap);
    va_end(ap);
    return refuse(r, e, sentence);
}

reply
refuse_input(struct req *r)
{
    const struct req_field *f = r->inside->wrong;
    if (f != NULL && f->next == NULL)
        return failf(r, ERR_VALIDATION_FAILED, "%s %s.", f->name, f->value);
    return fail(r, ERR_VALIDATION_FAILED);
}

reply
fail_field(struct req *r, const char *name, const char *message)
{
    wrong(r, name, message);
    return refuse_input(r);
}

void
header(struct req *r, const char *name, const char *value)
{
    struct req_inside *in = r->inside;
    for (int i = 0; i < in->n_headers; i++)
        if (strcmp(in->header[i].name, name) == 0) {
            in->header[i].value = value;
            return;
        }
    if (in->n_headers == REQ_MAX_HEADERS)
        abort();
    in->header[in->n_headers].name = name;
    in->header[in->n_headers++].value = value;
}

void
answer_pagination(struct req *r, const struct page *page, int64_t total)
{
    struct jw *j = answer(r);
    int64_t pages = (total + page->limit - 1) / page->limit;
    jw_object(j, "pagination");
    jw_int(j, "page", page->page);
    jw_int(j, "limit", page->limit);
    jw_int(j, "total", total);
    jw_int(j, "totalPages", pages);
    jw_bool(j, "hasNext", page->page < pages);
    jw_bool(j, "hasPrev", page->page > 1);
    jw_end(j);
}

/* ---- rate limits ---- */

SQL(rate, "SELECT hits, reset_s FROM rate_hit($1, $2, $3)");

void
rate_headers(struct req *r, const char *name, int hits, int reset_s)
{
    const struct config_limit *limit = config_limit(name);
    if (limit == NULL)
        return;
    header(r, "RateLimit-Limit", p_int(r, limit->max));
    header(r, "RateLimit-Remaining", p_int(r, hits < limit->max ? limit->max - hits : 0));
    header(r, "RateLimit-Reset", p_int(r, reset_s));
    if (hits > limit->max)
        header(r, "Retry-After", p_int(r, reset_s));
}

bool
rate_ok(struct req *r, const char *name, const char *key)
{
    const struct config_limit *limit = config_limit(name);
    if (limit == NULL)
        return true;
    const struct rows *hit = db_the_row(r, rate, arena_printf(r->arena, "%s:%s", name, key), p_int(r, limit->max),
                                        p_int(r, limit->window_s));
    int hits = (int)rows_int(hit, 0, "hits");
    rate_headers(r, name, hits, (int)rows_int(hit, 0, "reset_s"));
    return hits <= limit->max;
}

reply
refuse_rate(struct req *r)
{
    return fail(r, ERR_RATE_LIMITED);
}

/* ---- leaving early ---- */

void
req_leave(struct req *r, reply with)
{
    (void)with;   /* it is r->inside->answer already */
    longjmp(r->inside->out, 1);
}

void
give_up(struct req *r, enum error e)
{
    r->inside->wrong = NULL;
    r->inside->extra = NULL;
    req_leave(r, fail(r, e));
}
