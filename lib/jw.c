/* jw -- see jw.h.  Written for the marketplace, where 20 listings are 38 kB a page: text is
 * scanned for the next byte that needs care and copied in runs. */
#include "jw.h"

#include "arena.h"
#include "money.h"
#include "valid.h"

struct jw {
    struct arena *arena;
    char *buf;
    size_t len, cap;
    uint64_t closer;   /* a bit for each open level, the lowest is the innermost: 1 is an array */
    bool comma;        /* the next value stands behind another one */
};

struct jw *
jw_new(struct arena *a)
{
    struct jw *j = arena_zalloc(a, 1, sizeof *j);
    j->arena = a;
    j->cap = 4096;
    j->buf = arena_alloc(a, j->cap);
    return j;
}

/* Room for N more bytes and a NUL. */
static char *
room(struct jw *j, size_t n)
{
    if (j->cap - j->len <= n) {
        size_t cap = j->cap * 2 + n;
        char *buf = arena_alloc(j->arena, cap);
        memcpy(buf, j->buf, j->len);
        j->buf = buf;
        j->cap = cap;
    }
    return j->buf + j->len;
}

static void
put(struct jw *j, const char *s, size_t len)
{
    memcpy(room(j, len), s, len);
    j->len += len;
}

static void
put_char(struct jw *j, char c)
{
    *room(j, 1) = c;
    j->len++;
}

static void
begin_value(struct jw *j, const char *key)
{
    if (j->comma)
        put_char(j, ',');
    j->comma = true;
    if (key != NULL) {
        size_t len = strlen(key);
        char *p = room(j, len + 3);
        *p++ = '"';
        memcpy(p, key, len);
        p += len;
        *p++ = '"';
        *p = ':';
        j->len += len + 3;
    }
}

static void
open_level(struct jw *j, const char *key, bool array)
{
    begin_value(j, key);
    put_char(j, array ? '[' : '{');
    j->closer = j->closer << 1 | array;
    j->comma = false;
}

void
jw_object(struct jw *j, const char *key)
{
    open_level(j, key, false);
}

void
jw_array(struct jw *j, const char *key)
{
    open_level(j, key, true);
}

void
jw_end(struct jw *j)
{
    put_char(j, (j->closer & 1) != 0 ? ']' : '}');
    j->closer >>= 1;
    j->comma = true;
}

static void
put_escaped(struct jw *j, const char *s, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    static const bool plain[256] = { [0x20 ... 0x21] = true, [0x23 ... 0x5b] = true, [0x5d ... 0x7f] = true };
    size_t first = 0;   /* that needs care: seldom there is one */
    while (first < len && plain[(unsigned char)s[first]])
        first++;
    bool wellformed = true;
    for (size_t i = first; i < len; i++)
        if ((unsigned char)s[i] >= 0x80) {
            wellformed = valid_utf8(s, len);
            break;
        }
    size_t from = 0;
    for (size_t i = first; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\' && (c < 0x80 || wellformed))
            continue;
        put(j, s + from, i - from);
        from = i + 1;
        switch (c) {
        case '"': put(j, "\\\"", 2); break;
        case '\\': put(j, "\\\\", 2); break;
        case '\n': put(j, "\\n", 2); break;
        case '\r': put(j, "\\r", 2); break;
        case '\t': put(j, "\\t", 2); break;
        default:
            if (c >= 0x80)
                put(j, "\xef\xbf\xbd", 3);
            else
                put(j, (const char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
        }
    }
    put(j, s + from, len - from);
}

void
jw_strn(struct jw *j, const char *key, const char *s, size_t len)
{
    begin_value(j, key);
    put_char(j, '"');
    put_escaped(j, s, len);
    put_char(j, '"');
}

void
jw_str(struct jw *j, const char *key, const char *s)
{
    if (s == NULL)
        jw_null(j, key);
    else
        jw_strn(j, key, s, strlen(s));
}

void
jw_raw(struct jw *j, const char *key, const char *value, size_t len)
{
    begin_value(j, key);
    put(j, value, len);
}

void
jw_reserve(struct jw *j, size_t n)
{
    (void)room(j, n + 1);   /* and a comma */
}

void
jw_members(struct jw *j, const char *members, size_t len)
{
    if (len > 0)
        jw_raw(j, NULL, members, len);
}

void
jw_int(struct jw *j, const char *key, int64_t n)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)n);
    jw_raw(j, key, text, (size_t)len);
}

void
jw_bool(struct jw *j, const char *key, bool b)
{
    jw_raw(j, key, b ? "true" : "false", b ? 4 : 5);
}

void
jw_null(struct jw *j, const char *key)
{
    jw_raw(j, key, "null", 4);
}

void
jw_rupees(struct jw *j, const char *key, int64_t paise)
{
    char text[MONEY_SIZE];
    size_t len = money_json(paise, text);
    jw_raw(j, key, text, len);
}

void
jw_time(struct jw *j, const char *key, const char *text)
{
    /* "YYYY-MM-DD hh:mm:ss[.ffffff]+00": the fraction has lost its trailing zeros. */
    if (text == NULL || strlen(text) < 19) {
        jw_null(j, key);
        return;
    }
    char out[27] = "\"";
    memcpy(out + 1, text, 19);
    out[11] = 'T';
    memcpy(out + 20, ".000Z\"", 6);
    for (int i = 0; text[19] == '.' && i < 3 && text[20 + i] >= '0' && text[20 + i] <= '9'; i++)
        out[21 + i] = text[20 + i];
    jw_raw(j, key, out, 26);
}

const char *
jw_text(struct jw *j, size_t *len)
{
    *room(j, 1) = '\0';
    if (len != NULL)
        *len = j->len;
    return j->buf;
}
