/* jr -- see jr.h.  What checks (check_…) believes nothing; what walks afterwards believes that the text was
 * checked: every string ends, every bracket has its other one. */
#include "jr.h"

#include "arena.h"
#include "valid.h"

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *
skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p;
}

/* ---- checking: from P, the place behind what was expected, or NULL ---- */

static int
hex_value(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static const char *
check_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p != '\\')
            continue;
        if (++p == end || *p == '\0' || strchr("\"\\/bfnrtu", *p) == NULL)
            return NULL;
        for (int i = 0; *p == 'u' && i < 4; i++)
            if (end - p <= i + 1 || hex_value(p[i + 1]) < 0)
                return NULL;
    }
    return p < end ? p + 1 : NULL;
}

static const char *
check_digits(const char *p, const char *end)
{
    const char *from = p;
    while (p < end && is_digit(*p))
        p++;
    return p > from ? p : NULL;
}

static const char *
check_number(const char *p, const char *end)
{
    p += *p == '-';
    bool zero = p < end && *p == '0';
    const char *whole = check_digits(p, end);
    if (whole == NULL || (zero && whole - p > 1))
        return NULL;
    p = whole;
    if (p < end && *p == '.' && (p = check_digits(p + 1, end)) == NULL)
        return NULL;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        p = check_digits(p, end);
    }
    return p;
}

static const char *
check_word(const char *p, const char *end, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

static const char *check_value(const char *p, const char *end, int depth);

/* An array or object; CLOSE ends it. */
static const char *
check_list(const char *p, const char *end, int depth, char close)
{
    p = skip_blanks(p + 1, end);
    if (p < end && *p == close)
        return p + 1;
    for (;;) {
        if (close == '}') {
            if (p == end || *p != '"' || (p = check_string(p, end)) == NULL)
                return NULL;
            p = skip_blanks(p, end);
            if (p == end || *p++ != ':')
                return NULL;
            p = skip_blanks(p, end);
        }
        if ((p = check_value(p, end, depth)) == NULL)
            return NULL;
        p = skip_blanks(p, end);
        if (p < end && *p == close)
            return p + 1;
        if (p == end || *p++ != ',')
            return NULL;
        p = skip_blanks(p, end);
    }
}

static const char *
check_value(const char *p, const char *end, int depth)
{
    if (p == end)
        return NULL;
    switch (*p) {
    case '"': return check_string(p, end);
    case '{': return depth > 0 ? check_list(p, end, depth - 1, '}') : NULL;
    case '[': return depth > 0 ? check_list(p, end, depth - 1, ']') : NULL;
    case 't': return check_word(p, end, "true");
    case 'f': return check_word(p, end, "false");
    case 'n': return check_word(p, end, "null");
    default: return *p == '-' || is_digit(*p) ? check_number(p, end) : NULL;
    }
}

/* ---- walking ---- */

static const char *
skip_string(const char *p)
{
    for (p++; *p != '"'; p++)
        p += *p == '\\';
    return p + 1;
}

/* Behind the value at P. */
static const char *
skip_value(const char *p, const char *end)
{
    int open = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        open += *p == '{' || *p == '[';
        open -= *p == '}' || *p == ']';
        p++;
    } while (open > 0);
    /* What began with neither bracket nor quote was a number or a word, of which one byte is behind us. */
    if (p[-1] != '"' && p[-1] != '}' && p[-1] != ']')
        while (p < end && (is_digit(*p) || (*p >= 'a' && *p <= 'z') || *p == '.' || *p == 'E' || *p == '+' || *p == '-'))
            p++;
    return p;
}

static struct jr
value_at(const char *p, const char *end)
{
    enum jr_kind kind = *p == '"' ? JR_STRING : *p == '{' ? JR_OBJECT : *p == '[' ? JR_ARRAY
        : *p == 'n' ? JR_NULL : *p == 't' || *p == 'f' ? JR_BOOL : JR_NUMBER;
    return (struct jr){ .kind = kind, .s = p, .len = (size_t)(skip_value(p, end) - p) };
}

bool
jr_first(const char *text, size_t len, int depth, struct jr *first)
{
    const char *end = text + len, *from = skip_blanks(text, end), *to = check_value(from, end, depth);
    if (to != NULL)
        *first = value_at(from, to);
    return to != NULL;
}

bool
jr_check(const char *text, size_t len, int depth, struct jr *root)
{
    const char *end = text + len;
    return jr_first(text, len, depth, root) && skip_blanks(root->s + root->len, end) == end;
}

struct jr_walk
jr_walk(struct jr v)
{
    struct jr_walk w = { 0 };
    if (v.kind == JR_ARRAY || v.kind == JR_OBJECT) {
        w.end = v.s + v.len - 1;   /* its closing bracket */
        w.at = skip_blanks(v.s + 1, w.end);
    }
    return w;
}

bool
jr_next(struct jr_walk *w)
{
    if (w->at == w->end)
        return false;
    const char *p = w->at;
    w->name = (struct jr){ 0 };
    w->value = value_at(p, w->end);
    p = skip_blanks(p + w->value.len, w->end);
    if (p < w->end && *p == ':') {
        w->name = w->value;
        p = skip_blanks(p + 1, w->end);
        w->value = value_at(p, w->end);
        p = skip_blanks(p + w->value.len, w->end);
    }
    w->at = p < w->end ? skip_blanks(p + 1, w->end) : p;   /* over the comma */
    return true;
}

struct jr
jr_member(struct jr o, const char *name)
{
    struct jr found = { 0 };
    if (o.kind != JR_OBJECT)
        return found;
    for (struct jr_walk w = jr_walk(o); jr_next(&w);)
        if (jr_is(w.name, name))
            found = w.value;
    return found;
}

struct jr
jr_member_of(struct jr o, const char *name, enum jr_kind kind)
{
    struct jr v = jr_member(o, name);
    return v.kind == kind ? v : (struct jr){ 0 };
}

size_t
jr_count(struct jr v)
{
    size_t n = 0;
    for (struct jr_walk w = jr_walk(v); jr_next(&w);)
        n++;
    return n;
}

struct jr
jr_element(struct jr v, size_t i)
{
    if (v.kind == JR_ARRAY)
        for (struct jr_walk w = jr_walk(v); jr_next(&w);)
            if (i-- == 0)
                return w.value;
    return (struct jr){ 0 };
}

/* ---- what it says ---- */

static unsigned
hex4(const char *p)
{
    unsigned n = 0;
    for (int i = 0; i < 4; i++)
        n = n << 4 | (unsigned)hex_value(p[i]);
    return n;
}

/* The escape at P (its backslash): at most four bytes into OUT, their number into N.  The place behind it. */
static const char *
unescape(const char *p, char out[4], size_t *n)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *known = strchr(from, p[1]);
    if (p[1] != 'u') {
        out[0] = known != NULL ? to[known - from] : p[1];
        *n = 1;
        return p + 2;
    }
    unsigned c = hex4(p + 2);
    p += 6;
    if (c >= 0xd800 && c < 0xe000) {
        bool pair = c < 0xdc00 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2) >= 0xdc00 && hex4(p + 2) < 0xe000;
        c = pair ? 0x10000 + ((c & 0x3ff) << 10) + (hex4(p + 2) & 0x3ff) : 0xfffd;
        p += pair ? 6 : 0;
    }
    *n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = *n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(*n == 1 ? c : (0xf00u >> *n & 0xf0) | c);
    return p;
}

size_t
jr_decode(struct jr v, char *out, size_t size)
{
    size_t len = 0, kept = 0;
    bool fits = size > 0;
    if (v.kind == JR_STRING)
        for (const char *p = v.s + 1, *end = v.s + v.len - 1; p < end;) {
            char c[4];
            size_t n = 1;
            if (*p == '\\') {
                p = unescape(p, c, &n);
            } else {
                c[0] = *p++;
                while (p < end && ((unsigned char)*p & 0xc0) == 0x80 && n < sizeof c)
                    c[n++] = *p++;
            }
            fits = fits && kept + n < size;
            if (fits) {
                memcpy(out + kept, c, n);
                kept += n;
            }
            len += n;
        }
    if (size > 0)
        out[kept] = '\0';
    return len;
}

char *
jr_text(struct arena *a, struct jr v, size_t *len)
{
    char *out = arena_alloc(a, v.len + 1);
    size_t n = jr_decode(v, out, v.len + 1);
    if (len != NULL)
        *len = n;
    return out;
}

bool
jr_is(struct jr v, const char *text)
{
    char small[128];
    size_t len = strlen(text);
    if (v.kind != JR_STRING)
        return false;
    if (memchr(v.s, '\\', v.len) == NULL)
        return v.len == len + 2 && memcmp(v.s + 1, text, len) == 0;
    return jr_decode(v, small, sizeof small) == len && len < sizeof small && memcmp(small, text, len) == 0;
}

bool
jr_true(struct jr v)
{
    return v.kind == JR_BOOL && v.len == 4;
}

bool
jr_int(struct jr v, int64_t min, int64_t max, int64_t *n)
{
    return v.kind == JR_NUMBER && valid_int(v.s, v.len, min, max, n);
}

char *
jr_compact(struct arena *a, struct jr v, size_t *len)
{
    char *out = arena_alloc(a, v.len + 1), *to = out;
    for (const char *p = v.s, *end = v.s + v.len; p < end;) {
        if (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n') {
            p++;
        } else if (*p != '"') {
            *to++ = *p++;
        } else {
            const char *from = p;
            for (p++; *p != '"';) {
                char c[4];
                size_t n = 0;
                const char *next = *p == '\\' ? unescape(p, c, &n) : p + 1;
                bool half = n == 3 && next == p + 6 && memcmp(c, "\xef\xbf\xbd", 3) == 0;
                memcpy(to + (p - from), half ? "\\ufffd" : p, (size_t)(next - p));
                p = next;
            }
            *to = '"';
            to[p++ - from] = '"';
            to += p - from;
        }
    }
    *to = '\0';
    if (len != NULL)
        *len = (size_t)(to - out);
    return out;
}
