/* input -- the readers of req.h: fields of the JSON body, a form or the query string.
 *
 * All three come down to one shape, a length of bytes with a kind, so that each reader judges once
 * and a number may come as a JSON number or as a string of digits alike. */
#include "req_inside.h"

#include "money.h"
#include "valid.h"

#include <ctype.h>
#include <errno.h>

/* Objects and arrays in each other; nothing that is asked for here has more than four. */
enum { JSON_DEPTH = 32 };

struct value {
    enum { ABSENT, TEXT, NUMBER, BOOL, OTHER } kind;
    const char *s;   /* TEXT, NUMBER: as it was written */
    size_t len;
    bool b;
};

void
wrong(struct req *r, const char *name, const char *message)
{
    struct req_inside *in = r->inside;
    for (const struct req_field *f = in->wrong; f != NULL; f = f->next)
        if (strcmp(f->name, name) == 0)
            return;   /* one complaint a field */
    struct req_field *f = arena_alloc(r->arena, sizeof *f);
    *f = (struct req_field){ .name = name, .value = message };
    if (in->wrong_tail != NULL)
        in->wrong_tail->next = f;
    else
        in->wrong = f;
    in->wrong_tail = f;
}

bool
bad_input(struct req *r)
{
    return r->inside->wrong != NULL;
}

/* ---- where fields come from ---- */

void
req_form_field(struct req *r, const char *name, const char *value, size_t len)
{
    struct req_inside *in = r->inside;
    struct req_field *f = arena_alloc(r->arena, sizeof *f);
    *f = (struct req_field){ .name = name, .value = value, .len = len };
    if (in->form_tail != NULL)
        in->form_tail->next = f;
    else
        in->form = f;
    in->form_tail = f;
    in->is_form = true;
}

/* %XX and + of LEN bytes at S, decoded.  False when a percent sign leads nowhere. */
static bool
url_decode(struct req *r, const char *s, size_t len, const char **out, size_t *out_len)
{
    char *p = arena_alloc(r->arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '+') {
            p[n++] = ' ';
        } else if (s[i] != '%') {
            p[n++] = s[i];
        } else {
            if (len - i < 3 || !isxdigit((unsigned char)s[i + 1]) || !isxdigit((unsigned char)s[i + 2]))
                return false;
            char hex[3] = { s[i + 1], s[i + 2], '\0' };
            p[n++] = (char)strtoul(hex, NULL, 16);
            i += 2;
        }
    }
    p[n] = '\0';
    *out = p;
    *out_len = n;
    return true;
}

static void
parse_query(struct req *r)
{
    struct req_inside *in = r->inside;
    if (in->query_parsed)
        return;
    in->query_parsed = true;
    for (const char *s = r->query; *s != '\0';) {
        size_t len = strcspn(s, "&");
        size_t name_len = strcspn(s, "&=");
        struct req_field *f = arena_zalloc(r->arena, 1, sizeof *f);
        size_t plain_len;
        if (len > 0) {
            bool good = url_decode(r, s, name_len, &f->name, &plain_len);
            if (name_len < len)
                good = good && url_decode(r, s + name_len + 1, len - name_len - 1, &f->value, &f->len);
            else
                f->value = "";
            if (!good) {
                wrong(r, "query", "must be percent-encoded UTF-8");
            } else {
                f->next = in->query;
                in->query = f;
            }
        }
        s += len;
        s += *s == '&';
    }
}

/* application/json, of which UTF-8 is the only charset. */
static bool
is_json(const char *type)
{
    size_t len = strcspn(type, "; \t");
    if (len != 16 || strncasecmp(type, "application/json", 16) != 0)
        return false;
    const char *charset = strcasestr(type + len, "charset=");
    if (charset == NULL)
        return true;
    charset += 8;
    charset += *charset == '"';
    len = strcspn(charset, "\"; \t");
    return (len == 5 && strncasecmp(charset, "utf-8", 5) == 0) || (len == 4 && strncasecmp(charset, "utf8", 4) == 0)
        || (len == 8 && strncasecmp(charset, "us-ascii", 8) == 0);
}

static void
parse_json(struct req *r)
{
    struct req_inside *in = r->inside;
    if (in->json_parsed)
        return;
    in->json_parsed = true;
    if ((in->route->flags & STREAMS) != 0)
        return;   /* the body was a form, perhaps an empty one, and is read already */
    size_t len;
    const char *body = req_body(r, &len);
    if (len == 0)
        return;
    if (!is_json(req_content_type(r)))
        req_leave(r, failf(r, ERR_UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json."));
    const char *coding = req_header(r, "Content-Encoding");
    if (coding != NULL && *coding != '\0' && strcasecmp(coding, "identity") != 0)
        req_leave(r, failf(r, ERR_UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding."));
    struct jr root;
    if (!valid_utf8(body, len) || !jr_check(body, len, JSON_DEPTH, &root))
        req_leave(r, fail(r, ERR_MALFORMED_JSON));
    if (root.kind != JR_OBJECT)
        req_leave(r, fail_field(r, "body", "must be a JSON object"));
    in->json = root;
}

static const struct req_field *
find(const struct req_field *f, const char *name)
{
    while (f != NULL && strcmp(f->name, name) != 0)
        f = f->next;
    return f;
}

struct jr
body_json(struct req *r, const char *name)
{
    parse_json(r);
    struct jr v = jr_member(r->inside->json, name);
    return v.kind == JR_NULL ? (struct jr){ 0 } : v;
}

/* 2.5e3 is the number 2500, and small ones are written so by JavaScript (1e-7): the JSON number TEXT without
 * the exponent, digit for digit.  TEXT itself where it has none, or one that no field here could mean. */
static const char *
without_exponent(struct arena *a, const char *text, size_t *len)
{
    enum { FARTHEST = 40 };
    const char *e = memchr(text, 'e', *len), *digits = text + (*text == '-');
    if (e == NULL)
        e = memchr(text, 'E', *len);
    if (e == NULL)
        return text;
    int64_t shift;
    const char *power = e + 1 + (e[1] == '+' || e[1] == '-');
    if (!valid_int(power, *len - (size_t)(power - text), 0, FARTHEST, &shift))
        return text;
    if (e[1] == '-')
        shift = -shift;
    const char *point = memchr(digits, '.', (size_t)(e - digits));
    int64_t before = (point != NULL ? point : e) - digits, all = e - digits - (point != NULL);
    int64_t at = before + shift;   /* of the point, among the digits */
    int64_t from = at < 1 ? at - 1 : 0, to = at > all ? at : all;
    char *out = arena_alloc(a, (size_t)(to - from) + 3), *p = out;
    if (digits > text)
        *p++ = '-';
    for (int64_t i = from; i < to; i++) {
        if (i == at)
            *p++ = '.';
        *p++ = i < 0 || i >= all ? '0' : digits[i + (point != NULL && i >= before)];
    }
    *p = '\0';
    *len = (size_t)(p - out);
    return out;
}

static struct value
get(struct req *r, enum source s, const char *name)
{
    struct req_inside *in = r->inside;
    if (s == FROM_BODY && !in->is_form) {
        struct jr v = body_json(r, name);
        struct value text = { .kind = TEXT };
        switch (v.kind) {
        case JR_ABSENT: case JR_NULL: return (struct value){ .kind = ABSENT };
        case JR_BOOL: return (struct value){ .kind = BOOL, .b = jr_true(v) };
        case JR_STRING: text.s = jr_text(r->arena, v, &text.len); return text;
        case JR_NUMBER:
            text = (struct value){ .kind = NUMBER, .s = v.s, .len = v.len };
            text.s = without_exponent(r->arena, v.s, &text.len);
            return text;
        case JR_ARRAY: case JR_OBJECT: return (struct value){ .kind = OTHER };
        }
    }
    if (s == FROM_QUERY)
        parse_query(r);
    const struct req_field *f = find(s == FROM_QUERY ? in->query : in->form, name);
    if (f == NULL)
        return (struct value){ .kind = ABSENT };
    if (find(f->next, name) != NULL)
        wrong(r, name, "was given more than once");
    struct value v = { .kind = TEXT, .s = f->value, .len = f->len };
    if (s == FROM_BODY && valid_utf8(v.s, v.len)) {
        size_t len = v.len;
        (void)valid_trim(v.s, &len);
        if (len == 0)
            v.kind = ABSENT;
    }
    return v;
}

bool
in_has(struct req *r, enum source s, const char *name)
{
    return get(r, s, name).kind != ABSENT;
}

/* ---- text ---- */

static const char *
read_text(struct req *r, enum source s, const char *name, int min, int max, bool lines)
{
    struct value v = get(r, s, name);
    if (v.kind == ABSENT && min == 0)
        return "";
    if (v.kind == ABSENT) {
        wrong(r, name, "is required");
        return NULL;
    }
    if (v.kind != TEXT) {
        wrong(r, name, "must be text");
        return NULL;
    }
    if (!valid_utf8(v.s, v.len)) {
        wrong(r, name, "must be valid UTF-8");
        return NULL;
    }
    size_t len = v.len;
    const char *t = valid_trim(v.s, &len);
    if (!valid_no_controls(t, len, lines)) {
        wrong(r, name, "must not contain control characters");
        return NULL;
    }
    size_t n = valid_code_points(t, len);
    if (n < (size_t)min || n > (size_t)max) {
        wrong(r, name, n == 0 ? "is required"
                      : min <= 1 ? arena_printf(r->arena, "must be at most %d characters", max)
                                 : arena_printf(r->arena, "must be %d to %d characters", min, max));
        return NULL;
    }
    return arena_memdup0(r->arena, t, len);
}

const char *
in_text(struct req *r, enum source s, const char *name, int min, int max)
{
    return read_text(r, s, name, min, max, false);
}

const char *
in_lines(struct req *r, enum source s, const char *name, int min, int max)
{
    return read_text(r, s, name, min, max, true);
}

/* The text of a field whose form is judged by the caller: any scalar as it was written, trimmed when
 * it is text.  NULL (and noted) when it is absent or no scalar. */
static const char *
scalar(struct req *r, enum source s, const char *name, const char *what, bool numbers)
{
    struct value v = get(r, s, name);
    if (v.kind == ABSENT) {
        wrong(r, name, "is required");
        return NULL;
    }
    if ((v.kind != TEXT && !(numbers && v.kind == NUMBER)) || !valid_utf8(v.s, v.len)
        || memchr(v.s, '\0', v.len) != NULL) {
        wrong(r, name, arena_printf(r->arena, "must be %s", what));
        return NULL;
    }
    size_t len = v.len;
    const char *t = numbers ? v.s : valid_trim(v.s, &len);
    return arena_memdup0(r->arena, t, len);
}

const char *
in_match(struct req *r, enum source s, const char *name, bool (*is)(const char *), const char *what)
{
    const char *t = scalar(r, s, name, what, false);
    if (t != NULL && !is(t)) {
        wrong(r, name, arena_printf(r->arena, "must be %s", what));
        return NULL;
    }
    return t;
}

const char *
in_uuid(struct req *r, enum source s, const char *name)
{
    const char *t = scalar(r, s, name, "a UUID", false);
    char *out = arena_alloc(r->arena, 37);
    if (t == NULL)
        return NULL;
    if (!valid_uuid(t, strlen(t), out)) {
        wrong(r, name, "must be a UUID");
        return NULL;
    }
    return out;
}

const char *
in_choice(struct req *r, enum source s, const char *name, const char *words)
{
    const char *t = scalar(r, s, name, "text", false);
    if (t == NULL)
        return NULL;
    size_t len = strlen(t);
    for (const char *w = words; *w != '\0';) {
        size_t n = strcspn(w, "|");
        if (n == len && memcmp(w, t, n) == 0)
            return t;
        w += n;
        w += *w == '|';
    }
    char *list = arena_strdup(r->arena, words);
    for (char *p = list; (p = strchr(p, '|')) != NULL;)
        *p = '/';
    wrong(r, name, arena_printf(r->arena, "must be one of %s", list));
    return NULL;
}

/* ---- numbers ---- */

int64_t
in_int(struct req *r, enum source s, const char *name, int64_t min, int64_t max)
{
    const char *what = arena_printf(r->arena, "a whole number from %lld to %lld", (long long)min, (long long)max);
    const char *t = scalar(r, s, name, what, true);
    int64_t n = 0;
    if (t != NULL && !valid_int(t, strlen(t), min, max, &n)) {
        wrong(r, name, arena_printf(r->arena, "must be %s", what));
        return 0;
    }
    return n;
}

int64_t
in_rupees(struct req *r, enum source s, const char *name, int64_t min_paise, int64_t max_paise)
{
    const char *t = scalar(r, s, name, "an amount in rupees", true);
    int64_t paise = 0;
    if (t == NULL)
        return 0;
    if (!money_parse(t, strlen(t), &paise)) {
        wrong(r, name, "must be an amount in rupees with at most two decimals");
        return 0;
    }
    if (paise < min_paise || paise > max_paise) {
        char lo[MONEY_SIZE], hi[MONEY_SIZE];
        (void)money_json(min_paise, lo);
        (void)money_json(max_paise, hi);
        wrong(r, name, arena_printf(r->arena, "must be from %s to %s rupees", lo, hi));
        return 0;
    }
    return paise;
}

const char *
in_decimal(struct req *r, enum source s, const char *name, int int_digits, int decimals, bool signed_ok)
{
    const char *t = scalar(r, s, name, "a number", true);
    if (t != NULL && !valid_decimal(t, strlen(t), int_digits, decimals, signed_ok)) {
        wrong(r, name, "must be a decimal number");
        return NULL;
    }
    return t;
}

bool
in_bool(struct req *r, enum source s, const char *name)
{
    struct value v = get(r, s, name);
    if (v.kind == BOOL)
        return v.b;
    if (v.kind == ABSENT) {
        wrong(r, name, "is required");
        return false;
    }
    size_t len = v.kind == TEXT && valid_utf8(v.s, v.len) ? v.len : 0;
    const char *t = valid_trim(v.s, &len);
    if (len == 4 && memcmp(t, "true", 4) == 0)
        return true;
    if (len != 5 || memcmp(t, "false", 5) != 0)
        wrong(r, name, "must be true or false");
    return false;
}

/* ---- time ---- */

const char *
in_time(struct req *r, enum source s, const char *name)
{
    const char *t = scalar(r, s, name, "an ISO 8601 date or time", false);
    if (t != NULL && !valid_time(t, strlen(t))) {
        wrong(r, name, "must be an ISO 8601 date or time");
        return NULL;
    }
    return t;
}

const char *
in_date(struct req *r, enum source s, const char *name)
{
    const char *t = scalar(r, s, name, "a date (YYYY-MM-DD)", false);
    if (t != NULL && !valid_date(t, strlen(t))) {
        wrong(r, name, "must be a date (YYYY-MM-DD)");
        return NULL;
    }
    return t;
}

/* ---- objects ---- */

/* Why the text of V is nothing for jsonb, or NULL: it holds no NUL, and writes a number with an exponent out in
 * full (1e300 has 301 digits).  Whole numbers beyond 64 bits other readers would take for others. */
static const char *
not_for_jsonb(struct jr v)
{
    bool quoted = false;

    for (const char *p = v.s, *end = v.s + v.len; p < end; p++) {
        if (quoted && *p == '\\') {
            if (strncmp(p + 1, "u0000", 5) == 0)
                return "must not contain NUL characters";
            p++;
        } else if (*p == '"') {
            quoted = !quoted;
        } else if (!quoted && (isdigit((unsigned char)*p) || *p == '-')) {
            const char *behind = p + strcspn(p, ",]} \t\r\n"), *exponent = p + strcspn(p, "eE,]} \t\r\n");
            bool whole = p + strcspn(p, ".eE,]} \t\r\n") == behind;
            errno = 0;
            if (whole)
                (void)(*p == '-' ? strtoll(p, NULL, 10) : (long long)strtoull(p, NULL, 10));
            if (errno == ERANGE || behind - p > 300 || (exponent < behind && labs(strtol(exponent + 1, NULL, 10)) > 40))
                return "must not contain numbers so large or so small";
            p = behind - 1;
        }
    }
    return NULL;
}

const char *
body_object(struct req *r, const char *name, size_t max)
{
    struct jr o = body_json(r, name);
    if (o.kind != JR_OBJECT) {
        wrong(r, name, "must be an object");
        return NULL;
    }
    const char *why = not_for_jsonb(o);
    if (why != NULL) {
        wrong(r, name, why);
        return NULL;
    }
    size_t len;
    const char *text = jr_compact(r->arena, o, &len);
    if (len > max) {
        wrong(r, name, arena_printf(r->arena, "must be at most %zu bytes of JSON", max));
        return NULL;
    }
    return text;
}

/* ---- lists ---- */

const char *
query_party(struct req *r, const char *name, bool *others)
{
    const char *id = query_has(r, name) ? query_uuid(r, name) : NULL;
    if (id != NULL && strcmp(id, r->user.id) != 0)
        *others = true;
    return id;
}

/* The greatest whole number that every client can say, JavaScript's Number.MAX_SAFE_INTEGER. */
#define PAGE_MAX INT64_C(9007199254740991)

struct page
in_page(struct req *r)
{
    struct page p = { .page = 1, .limit = 20 };
    if (query_has(r, "page"))
        p.page = query_int(r, "page", 1, PAGE_MAX);
    if (query_has(r, "limit"))
        p.limit = query_int(r, "limit", 1, PAGE_MAX);
    if (p.limit > 100)
        p.limit = 100;
    p.limit_text = p_int(r, p.limit);
    p.offset_text = p_int(r, p.page > 0 ? (p.page - 1) * p.limit : 0);
    return p;
}

const char *
p_int(struct req *r, int64_t n)
{
    return arena_printf(r->arena, "%lld", (long long)n);
}

const char *
p_bool(bool b)
{
    return b ? "t" : "f";
}
