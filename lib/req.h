/* req -- a request as a handler sees it: who asks, what he sent, and the ways to answer.
 *
 * The rhythm of a handler: read input, one check, look up, guards, act, reply.
 *
 *     const char *listing = body_uuid(r, "listingId");
 *     int64_t paise = body_rupees(r, "amount", PRICE_MIN_PAISE, PRICE_MAX_PAISE);
 *     if (bad_input(r))
 *         return refuse_input(r);
 *
 * Readers take a field from the JSON body or the form (body_…) or from the query string (query_…).
 * One that does not find what it wants notes the field and returns zero, so that all input is read
 * first and judged once, and the caller hears of every wrong field at once.  Text is trimmed.  What
 * they return lives as long as the request.
 *
 * The first reader of a body reads and parses it: one that is too long (413), of another content type (415) or no
 * JSON object (400) ends the request there.  Where there is no memory the request ends with a 503.  A request, and
 * all that is here, belongs to the thread of its handler. */
#ifndef SELLIKO_REQ_H
#define SELLIKO_REQ_H

#include "arena.h"
#include "db.h"
#include "errors.h"
#include "jr.h"
#include "jw.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The guide's bounds of asking prices and bids. */
#define PRICE_MIN_PAISE INT64_C(100000)
#define PRICE_MAX_PAISE INT64_C(100000000)

/* Roles, as bits: a route names those it admits. */
enum role { ROLE_CLIENT = 1, ROLE_VENDOR = 2, ROLE_AGENT = 4, ROLE_ADMIN = 8 };

struct user {
    const char *id;          /* NULL: anonymous */
    const char *session_id;
    const char *phone;       /* from the token */
    enum role role;          /* the database's, known after the first statement or req_user; 0 before */
    const char *claimed;     /* his role as the token has it ("VENDOR"): where to look first, never what he may */
};

struct req {
    struct arena *arena;
    const char *method, *path, *query;   /* HEAD is GET here; query "" when there is none */
    bool is_head;                        /* nobody will see the answer's body */
    const char *id;                      /* X-Request-Id */
    const char *ip;
    const char *user_agent;              /* "" when there is none, at most 300 bytes of valid UTF-8 */
    const char *arg[4];                  /* the {…} of the route, in order; UUIDs in lower case */
    struct user user;
    const char *idempotency_key;         /* NULL when there is none; only on routes that take one */
    struct req_inside *inside;
};

/* ---- who ---- */

/* The user, his role included: costs a round trip unless a statement went before.  A bad session
 * ends the request here.  On a route for ANYONE the id may be NULL. */
const struct user *req_user(struct req *r);

/* A header ("Authorization"), NULL when it is not there. */
const char *req_header(struct req *r, const char *name);

/* The raw body, *LEN bytes and a NUL behind them, read whole and once.  One that is longer than the route allows
 * ends the request (413), one that ends early, too (400). */
const char *req_body(struct req *r, size_t *len);

/* Up to N bytes of the body into BUF, for those that read it as a stream: the number of bytes, 0 at
 * its end, -1 when the client went away. */
long req_read(struct req *r, void *buf, size_t n);

/* The request's Content-Type, "" when there is none. */
const char *req_content_type(struct req *r);

/* Unix seconds of this host, for signatures and tokens only: what business decides by is now() in SQL. */
int64_t req_now(struct req *r);

/* ---- input ---- */

enum source { FROM_BODY, FROM_QUERY };

/* Whether the field was sent: JSON null and an empty form field count as left out; an empty query
 * value does not (it is a value of no type). */
bool in_has(struct req *r, enum source s, const char *name);

/* Each of these reads a field that must be there: one that may be left out is asked for with in_has first.  NULL, 0 or
 * false, and the field is noted, when it is not there or not what is wanted. */

/* MIN to MAX characters (code points) after trimming.  MIN 0: may be left out, which gives "".
 * No control characters; in_lines admits tab and line ends. */
const char *in_text(struct req *r, enum source s, const char *name, int min, int max);
const char *in_lines(struct req *r, enum source s, const char *name, int min, int max);

/* Text that IS accepts (valid_phone, valid_imei …), else "must be WHAT". */
const char *in_match(struct req *r, enum source s, const char *name, bool (*is)(const char *), const char *what);

const char *in_uuid(struct req *r, enum source s, const char *name);   /* in lower case */
int64_t in_int(struct req *r, enum source s, const char *name, int64_t min, int64_t max);
int64_t in_rupees(struct req *r, enum source s, const char *name, int64_t min_paise, int64_t max_paise);
bool in_bool(struct req *r, enum source s, const char *name);

/* A decimal number as text for SQL (numeric): at most INT_DIGITS before and DECIMALS behind the point. */
const char *in_decimal(struct req *r, enum source s, const char *name, int int_digits, int decimals, bool signed_ok);

/* One of the words in WORDS, separated by '|'. */
const char *in_choice(struct req *r, enum source s, const char *name, const char *words);

/* An ISO 8601 date or time, as text for SQL (timestamptz); a calendar day. */
const char *in_time(struct req *r, enum source s, const char *name);
const char *in_date(struct req *r, enum source s, const char *name);

/* A JSON object of at most MAX bytes, as JSON text, without NUL inside; body only. */
const char *body_object(struct req *r, const char *name, size_t max);

/* The JSON value of a member, for shapes that no reader has; JR_ABSENT when it is left out or null. */
struct jr body_json(struct req *r, const char *name);

/* Note that NAME is wrong: MESSAGE, "must be …".  Both are constants or of the request's arena. */
void wrong(struct req *r, const char *name, const char *message);

/* Whether anything was, so far. */
bool bad_input(struct req *r);

/* A person's id to filter a list by, NULL for none; OTHERS becomes true when it is not the caller's (who
 * is signed in). */
const char *query_party(struct req *r, const char *name, bool *others);

/* Page and limit of a list: page >= 1 (1), limit 1 or more (20), above 100 it is 100. */
struct page {
    int64_t page, limit;
    const char *limit_text, *offset_text;   /* for LIMIT and OFFSET */
};
struct page in_page(struct req *r);

/* The shorthands that handlers use. */
#define body_has(r, name) in_has(r, FROM_BODY, name)
#define body_text(r, name, min, max) in_text(r, FROM_BODY, name, min, max)
#define body_lines(r, name, min, max) in_lines(r, FROM_BODY, name, min, max)
#define body_match(r, name, is, what) in_match(r, FROM_BODY, name, is, what)
#define body_uuid(r, name) in_uuid(r, FROM_BODY, name)
#define body_int(r, name, min, max) in_int(r, FROM_BODY, name, min, max)
#define body_rupees(r, name, min, max) in_rupees(r, FROM_BODY, name, min, max)
#define body_bool(r, name) in_bool(r, FROM_BODY, name)
#define body_decimal(r, name, digits, decimals, signed_ok) in_decimal(r, FROM_BODY, name, digits, decimals, signed_ok)
#define body_choice(r, name, words) in_choice(r, FROM_BODY, name, words)
#define body_time(r, name) in_time(r, FROM_BODY, name)
#define query_has(r, name) in_has(r, FROM_QUERY, name)
#define query_text(r, name, min, max) in_text(r, FROM_QUERY, name, min, max)
#define query_uuid(r, name) in_uuid(r, FROM_QUERY, name)
#define query_int(r, name, min, max) in_int(r, FROM_QUERY, name, min, max)
#define query_rupees(r, name, min, max) in_rupees(r, FROM_QUERY, name, min, max)
#define query_bool(r, name) in_bool(r, FROM_QUERY, name)
#define query_choice(r, name, words) in_choice(r, FROM_QUERY, name, words)
#define query_date(r, name) in_date(r, FROM_QUERY, name)

/* Fields that another reader has parsed (a form): from then on body_… reads these.  VALUE may hold
 * any bytes; both are copied by reference and live as long as the request. */
void req_form_field(struct req *r, const char *name, const char *value, size_t len);

/* Parameters for statements, as PostgreSQL reads them; they live as long as the request. */
const char *p_int(struct req *r, int64_t n);
const char *p_bool(bool b);

/* "" as null, for text that may be left out; and what stands in a key or message for null. */
static inline const char *or_null(const char *s) { return s != NULL && *s != '\0' ? s : NULL; }
static inline const char *or_dash(const char *s) { return s != NULL ? s : "-"; }

/* ---- answering ---- */

/* Made by the functions below only, so that the compiler proves that every path answers. */
typedef struct { const struct req_answer *made; } reply;

/* The answer's JSON object, opened, with "success": true in it.  The first call begins it. */
struct jw *answer(struct req *r);

int reply_status(reply made);   /* its HTTP status */

reply ok(struct req *r);        /* 200, with what answer() holds */
reply created(struct req *r);   /* 201 */

/* Another kind of body (metrics, the webhook's challenge, the verdict on a file URL).  CONTENT_TYPE and the LEN bytes
 * of BODY are kept, not copied, until the answer is out; so are those of replay. */
reply plain(struct req *r, int status, const char *content_type, const char *body, size_t len);

/* A finished JSON answer from before (idempotency). */
reply replay(struct req *r, int status, const char *body, size_t len);

/* The refusal E with its own sentence, or a better one, with what error_extra holds; a 401 says WWW-Authenticate, a 503
 * Retry-After. */
reply fail(struct req *r, enum error e);
reply failf(struct req *r, enum error e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* 400 validation_failed with all the fields noted so far. */
reply refuse_input(struct req *r);

/* 400 with one wrong field, for what only a look-up can tell. */
reply fail_field(struct req *r, const char *name, const char *message);

/* An open object for members beside error and code ("minimumBid", "allowed"): write them before fail(). */
struct jw *error_extra(struct req *r);

/* A response header, at most sixteen of them, 16 KB in all (more is a bug); NAME and VALUE without line ends, kept, not
 * copied.  The same name again replaces the value. */
void header(struct req *r, const char *name, const char *value);

/* Write the member "pagination" into answer()'s object: TOTAL rows in all. */
void answer_pagination(struct req *r, const struct page *page, int64_t total);

/* Count one request against the rule NAME of RATE_LIMITS ("send-otp") for KEY (no personal data in clear), in a round
 * trip of its own: false when it is too many, and then fail with refuse_rate (429).  Sets the RateLimit-… headers.
 * A rule that is off admits everybody. */
bool rate_ok(struct req *r, const char *name, const char *key);

/* The headers alone, for what another statement has counted: HITS in the window that ends in RESET_S seconds. */
void rate_headers(struct req *r, const char *name, int hits, int reset_s);
reply refuse_rate(struct req *r);

/* ---- giving up: our trouble, not the caller's ---- */

/* End the request with E now, from wherever it is (not from inside a library's callback): fields and members noted so
 * far are forgotten, the transaction is rolled back, what the arena owns is released. */
_Noreturn void give_up(struct req *r, enum error e);

#endif
