/* s3list -- see s3list.h. */
#include "s3list.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* An element's name, and the text that stands before the next tag. */
struct tag {
    const char *name, *text;
    size_t name_len, text_len;
    bool closing;   /* </name>, or <name/> */
};

/* The next tag at or after *AT; false at the end, and when a tag has no end. */
static bool
next_tag(const char **at, const char *end, struct tag *tag)
{
    while (*at != end) {   /* an answer without a body has no bytes to look at, not even none */
        const char *open = memchr(*at, '<', (size_t)(end - *at));
        if (open == NULL)
            return false;
        const char *close = memchr(open, '>', (size_t)(end - open));
        if (close == NULL)
            return false;
        *at = close + 1;
        if (open[1] == '?' || open[1] == '!')
            continue;   /* <?xml?>, a comment (one with > in it ends early: harmless) */
        tag->closing = open[1] == '/' || close[-1] == '/';
        tag->name = open + 1 + (open[1] == '/');
        tag->name_len = 0;
        while (tag->name + tag->name_len < close && memchr(" \t\r\n/", tag->name[tag->name_len], 5) == NULL)
            tag->name_len++;
        tag->text = close + 1;
        const char *then = memchr(tag->text, '<', (size_t)(end - tag->text));
        tag->text_len = (size_t)((then != NULL ? then : end) - tag->text);
        return true;
    }
    return false;
}

static bool
is(const struct tag *tag, const char *name)
{
    return strlen(name) == tag->name_len && memcmp(name, tag->name, tag->name_len) == 0;
}

/* The text of TAG, entities taken apart.  False when it does not fit in SIZE or holds another entity. */
static bool
read_text(const struct tag *tag, char *out, size_t size)
{
    static const struct { const char *name; char c; } entities[] = {
        { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' }, { "&quot;", '"' }, { "&apos;", '\'' }, { "&#39;", '\'' }, { "&#34;", '"' },
        { "&#x2F;", '/' }, { "&#47;", '/' }, { "&#43;", '+' }, { "&#x3D;", '=' }, { "&#61;", '=' },
    };
    size_t n = 0;

    for (size_t i = 0; i < tag->text_len;) {
        char c = tag->text[i];
        size_t took = c == '&' || c == '\0' ? 0 : 1;
        for (size_t k = 0; c == '&' && k < sizeof entities / sizeof entities[0]; k++) {
            size_t len = strlen(entities[k].name);
            if (len <= tag->text_len - i && memcmp(tag->text + i, entities[k].name, len) == 0) {
                c = entities[k].c;
                took = len;
                break;
            }
        }
        if (took == 0 || n + 1 >= size)
            return false;
        out[n++] = c;
        i += took;
    }
    out[n] = '\0';
    return true;
}

static bool
read_number(const struct tag *tag, int64_t *out)
{
    char digits[24], *end;

    if (!read_text(tag, digits, sizeof digits) || digits[0] < '0' || digits[0] > '9' || strlen(digits) > 18)
        return false;
    *out = strtoll(digits, &end, 10);
    return *end == '\0';
}

/* 2026-11-22T11:44:50.000Z */
static bool
read_time(const struct tag *tag, int64_t *out)
{
    struct tm tm = { 0 };
    char text[40];

    if (!read_text(tag, text, sizeof text) ||
        sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *out = (int64_t)timegm(&tm);
    return true;
}

bool
s3list_parse(const char *xml, size_t len, bool (*each)(void *ctx, const struct s3list_entry *entry), void *ctx,
             char next[S3LIST_TOKEN_SIZE])
{
    const char *at = xml, *end = xml + len;
    enum { OUTSIDE, PAGE, CONTENTS, PREFIXES, COMPLETE } where = OUTSIDE;
    bool truncated = false, has_key = false, has_time = false;
    struct s3list_entry e;
    struct tag tag;

    next[0] = '\0';
    while (next_tag(&at, end, &tag)) {
        if (where == OUTSIDE && is(&tag, "ListBucketResult")) {
            where = tag.closing ? COMPLETE : PAGE;
        } else if (where == PAGE && !tag.closing && (is(&tag, "Contents") || is(&tag, "CommonPrefixes"))) {
            where = is(&tag, "Contents") ? CONTENTS : PREFIXES;
            e = (struct s3list_entry){ .folder = where == PREFIXES };
            has_key = has_time = false;
        } else if (where == PAGE && tag.closing && is(&tag, "ListBucketResult")) {
            where = COMPLETE;
        } else if (where == PAGE && !tag.closing && is(&tag, "IsTruncated")) {
            truncated = tag.text_len == 4 && memcmp(tag.text, "true", 4) == 0;
        } else if (where == PAGE && !tag.closing && is(&tag, "NextContinuationToken")) {
            if (!read_text(&tag, next, S3LIST_TOKEN_SIZE))
                return false;
        } else if ((where == CONTENTS && is(&tag, "Key")) || (where == PREFIXES && is(&tag, "Prefix"))) {
            if (!tag.closing && !(has_key = read_text(&tag, e.key, sizeof e.key)))
                return false;
        } else if (where == CONTENTS && !tag.closing && is(&tag, "Size")) {
            if (!read_number(&tag, &e.size))
                return false;
        } else if (where == CONTENTS && !tag.closing && is(&tag, "LastModified")) {
            if (!(has_time = read_time(&tag, &e.modified)))
                return false;
        } else if (tag.closing && ((where == CONTENTS && is(&tag, "Contents")) || (where == PREFIXES && is(&tag, "CommonPrefixes")))) {
            if (!has_key || (where == CONTENTS && !has_time))
                return false;
            where = PAGE;
            if (!each(ctx, &e))
                return true;
        }
    }
    /* cut off in the middle, or more is said to come and nobody says where */
    if (where != COMPLETE || (truncated && next[0] == '\0'))
        return false;
    if (!truncated)
        next[0] = '\0';
    return true;
}

bool
s3list_text(const char *xml, size_t len, const char *name, char *out, size_t size)
{
    const char *at = xml;
    struct tag tag;

    while (next_tag(&at, xml + len, &tag))
        if (!tag.closing && is(&tag, name)) {
            if (read_text(&tag, out, size))
                return true;
            break;
        }
    out[0] = '\0';
    return false;
}

void
s3list_error_code(const char *xml, size_t len, char code[64])
{
    (void)s3list_text(xml, len, "Code", code, 64);
}
