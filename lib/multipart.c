/* multipart -- see multipart.h.
 *
 *                      delimiter                CR LF              empty line
 *     PREAMBLE ───────────────────► DELIMITED ─────────► HEADERS ─────────────► BODY
 *                                    │     ▲                                     │
 *                                 -- │     └─────────────────────────────────────┘
 *                                    ▼                    delimiter
 *                                 EPILOGUE (anything)
 *
 * The delimiter is CR LF "--" boundary, and a boundary holds no CR: a failed match can only begin again
 * at the byte that failed it, so looking for it needs no table and never looks back. */
#include "multipart.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static bool
is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* RFC 9110 section 5.6.2 */
static bool
is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* RFC 2046 section 5.1.1, bchars */
static bool
is_boundary(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
}

static const char *
skip_space(const char *s)
{
    while (is_space(*s))
        s++;
    return s;
}

static bool
is_word(const char *s, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(s, word, len) == 0;
}

/* One parameter of a header: ; name=value or ; name="value".  The value is decoded into OUT. */
struct parameter {
    const char *name;
    size_t name_len;
    const char *value; /* as sent, without the quotes */
    size_t value_len;
    bool quoted;
};

/* Read the parameter at *AT and move *AT behind it.  1: there was one, 0: the header is over, -1: malformed.
 * Browsers leave backslashes as they are and write %22 for a quote, curl writes \" and \\: so a backslash
 * hides a following quote or backslash and is itself otherwise. */
static int
next_parameter(const char **at, struct parameter *p)
{
    const char *s = skip_space(*at);

    while (*s == ';') {
        s = skip_space(s + 1);
        if (*s != '\0' && *s != ';')
            goto found;
    }
    *at = s;
    return *s == '\0' ? 0 : -1;

found:
    p->name = s;
    while (is_token(*s))
        s++;
    p->name_len = (size_t)(s - p->name);
    s = skip_space(s);
    if (p->name_len == 0 || *s != '=')
        return -1;
    s = skip_space(s + 1);
    p->quoted = *s == '"';
    if (p->quoted) {
        p->value = ++s;
        while (*s != '\0' && *s != '"')
            s += s[0] == '\\' && (s[1] == '"' || s[1] == '\\') ? 2 : 1;
        if (*s != '"')
            return -1;
        p->value_len = (size_t)(s++ - p->value);
    } else {
        p->value = s;
        while (*s != '\0' && *s != ';' && !is_space(*s) && *s != '"')
            s++;
        p->value_len = (size_t)(s - p->value);
        if (p->value_len == 0)
            return -1;
    }
    s = skip_space(s);
    *at = s;
    return *s == '\0' || *s == ';' ? 1 : -1;
}

enum multipart_error
multipart_boundary(const char *content_type, char boundary[MULTIPART_BOUNDARY_MAX + 1])
{
    static const char type[] = "multipart/form-data";
    struct parameter p;
    const char *at;
    bool found = false;
    int more;

    if (content_type == NULL)
        return MULTIPART_NOT_FORM_DATA;
    at = skip_space(content_type);
    if (strncasecmp(at, type, sizeof type - 1) != 0)
        return MULTIPART_NOT_FORM_DATA;
    at += sizeof type - 1;
    if (*at != '\0' && *at != ';' && !is_space(*at))
        return MULTIPART_NOT_FORM_DATA;
    while ((more = next_parameter(&at, &p)) == 1) {
        if (!is_word(p.name, p.name_len, "boundary"))
            continue;
        if (found || p.value_len == 0 || p.value_len > MULTIPART_BOUNDARY_MAX ||
            p.value[p.value_len - 1] == ' ')
            return MULTIPART_BAD_BOUNDARY;
        for (size_t i = 0; i < p.value_len; i++)
            if (!is_boundary(p.value[i]))
                return MULTIPART_BAD_BOUNDARY;
        memcpy(boundary, p.value, p.value_len);
        boundary[p.value_len] = '\0';
        found = true;
    }
    return more == 0 && found ? MULTIPART_OK : MULTIPART_BAD_BOUNDARY;
}

void
multipart_init(struct multipart *m, const char *boundary, const struct multipart_limits *limits,
               const struct multipart_events *events, void *ctx)
{
    size_t len = strlen(boundary);

    assert(len >= 1 && len <= MULTIPART_BOUNDARY_MAX);
    assert(limits->headers_max_len <= MULTIPART_HEADERS_MAX);
    m->limits = *limits;
    m->events = events;
    m->ctx = ctx;
    m->error = MULTIPART_OK;
    m->state = MP_PREAMBLE;
    m->n_parts = 0;
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, len + 1);
    m->delimiter_len = len + 4;
    /* the first delimiter stands at the body's begin, without a line before it */
    m->matched = m->implied = 2;
    m->headers_len = 0;
}

/* Undo what senders do to a quote or a line's end inside a quoted string (the HTML standard's %22, %0D,
 * %0A; curl's backslash), in place. */
static char *
decode(char *s, size_t len, bool quoted)
{
    char *out = s;

    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (quoted && c == '\\' && i + 1 < len && (s[i + 1] == '"' || s[i + 1] == '\\')) {
            c = s[++i];
        } else if (c == '%' && i + 2 < len) {
            if (s[i + 1] == '2' && s[i + 2] == '2')
                c = '"', i += 2;
            else if (s[i + 1] == '0' && (s[i + 2] == 'D' || s[i + 2] == 'd'))
                c = '\r', i += 2;
            else if (s[i + 1] == '0' && (s[i + 2] == 'A' || s[i + 2] == 'a'))
                c = '\n', i += 2;
        }
        *out++ = c;
    }
    *out = '\0';
    return s;
}

/* form-data; name="…"; filename="…" */
static enum multipart_error
read_disposition(char *value, struct multipart_part *part, size_t name_max_len)
{
    const char *at = value;
    char *name = NULL, *filename = NULL;
    size_t name_len = 0, filename_len = 0;
    bool name_quoted = false, filename_quoted = false;
    struct parameter p;
    int more;

    while (is_token(*at))
        at++;
    if (!is_word(value, (size_t)(at - value), "form-data"))
        return MULTIPART_BAD_DISPOSITION;
    while ((more = next_parameter(&at, &p)) == 1) {
        char *start = value + (p.value - value);
        if (is_word(p.name, p.name_len, "name")) {
            if (name != NULL)
                return MULTIPART_BAD_DISPOSITION;
            name = start, name_len = p.value_len, name_quoted = p.quoted;
        } else if (is_word(p.name, p.name_len, "filename")) {
            if (filename != NULL)
                return MULTIPART_BAD_DISPOSITION;
            filename = start, filename_len = p.value_len, filename_quoted = p.quoted;
        }
        /* filename* must not be used in a form (RFC 7578 section 4.2) and, like the rest, is ignored */
    }
    if (more < 0)
        return MULTIPART_BAD_DISPOSITION;
    if (name == NULL || name_len == 0)
        return MULTIPART_NO_NAME;
    /* decoding writes a NUL behind the value, so only now, when all parameters were read */
    part->name = decode(name, name_len, name_quoted);
    if (filename != NULL)
        part->filename = decode(filename, filename_len, filename_quoted);
    return strlen(part->name) > name_max_len ? MULTIPART_NAME_TOO_LONG : MULTIPART_OK;
}

/* The header block is whole: lines that end with CR LF, the empty one not among them. */
static enum multipart_error
read_headers(struct multipart *m, struct multipart_part *part)
{
    char *line = m->headers, *end = m->headers + m->headers_len;
    char *disposition = NULL;

    *part = (struct multipart_part){0};
    while (line < end) {
        char *cr = memchr(line, '\r', (size_t)(end - line));
        char *name = line, *value, *last;
        size_t name_len;

        assert(cr != NULL && cr + 1 < end);
        if (cr[1] != '\n' || memchr(line, '\0', (size_t)(cr - line)) != NULL ||
            memchr(line, '\n', (size_t)(cr - line)) != NULL)
            return MULTIPART_BAD_HEADERS;
        *cr = '\0';
        line = cr + 2;
        for (value = name; is_token(*value); value++)
            ;
        name_len = (size_t)(value - name);
        if (name_len == 0 || *value != ':') /* also a folded line: nobody sends one in a form */
            return MULTIPART_BAD_HEADERS;
        for (value++; is_space(*value); value++)
            ;
        for (last = cr; last > value && is_space(last[-1]); last--)
            ;
        *last = '\0';
        if (is_word(name, name_len, "content-disposition")) {
            if (disposition != NULL)
                return MULTIPART_BAD_DISPOSITION;
            disposition = value;
        } else if (is_word(name, name_len, "content-type")) {
            if (part->content_type != NULL)
                return MULTIPART_BAD_HEADERS;
            part->content_type = value;
        } else if (is_word(name, name_len, "content-transfer-encoding")) {
            /* what browsers never send; taking base64 for the value itself would be worse than refusing */
            if (strcasecmp(value, "7bit") != 0 && strcasecmp(value, "8bit") != 0 &&
                strcasecmp(value, "binary") != 0)
                return MULTIPART_BAD_ENCODING;
        }
    }
    if (disposition == NULL)
        return MULTIPART_BAD_DISPOSITION;
    return read_disposition(disposition, part, m->limits.name_max_len);
}

/* Take header bytes up to and with the empty line.  How many of the LEN bytes were used. */
static size_t
feed_headers(struct multipart *m, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct multipart_part part;
        const char *end;

        if (m->headers_len == m->limits.headers_max_len) {
            m->error = MULTIPART_HEADERS_TOO_LONG;
            return i;
        }
        m->headers[m->headers_len++] = bytes[i];
        if (bytes[i] != '\n' || m->headers_len < 2)
            continue;
        end = m->headers + m->headers_len;
        if (end[-2] != '\r' || (m->headers_len > 2 && (m->headers_len < 4 || memcmp(end - 4, "\r\n", 2) != 0)))
            continue;
        m->headers_len -= 2;
        if ((m->error = read_headers(m, &part)) != MULTIPART_OK)
            return i;
        if (!m->events->part_begin(m->ctx, &part)) {
            m->error = MULTIPART_STOPPED;
            return i;
        }
        m->state = MP_BODY;
        /* "a part may have no body and no line's end before the delimiter" (RFC 2046 section 5.1.1) */
        m->matched = m->implied = 2;
        return i + 1;
    }
    return len;
}

static bool
emit(struct multipart *m, const char *bytes, size_t len)
{
    if (len == 0 || m->state == MP_PREAMBLE || m->events->part_data(m->ctx, bytes, len))
        return true;
    m->error = MULTIPART_STOPPED;
    return false;
}

/* Hand on data up to the next delimiter.  How many of the LEN bytes were used. */
static size_t
feed_body(struct multipart *m, const char *bytes, size_t len)
{
    size_t i = 0;

    while (i < len) {
        if (m->matched == 0) {
            const char *cr = memchr(bytes + i, '\r', len - i);
            size_t n = cr == NULL ? len - i : (size_t)(cr - bytes) - i;
            if (!emit(m, bytes + i, n))
                return i;
            i += n;
            if (cr == NULL)
                return i;
            m->matched = 1;
            m->implied = 0;
            i++;
        } else if (bytes[i] == m->delimiter[m->matched]) {
            i++;
            if (++m->matched < m->delimiter_len)
                continue;
            if (m->state == MP_BODY && !m->events->part_end(m->ctx)) {
                m->error = MULTIPART_STOPPED;
                return i;
            }
            m->state = MP_DELIMITED;
            return i;
        } else {
            /* what looked like a delimiter was data */
            if (!emit(m, m->delimiter + m->implied, m->matched - m->implied))
                return i;
            m->matched = m->implied = 0;
        }
    }
    return i;
}

/* One byte after a delimiter: white space and a line's end, or the two dashes of the last one. */
static void
feed_delimited(struct multipart *m, char c)
{
    if (m->state == MP_CLOSING && c == '-') {
        m->state = MP_EPILOGUE;
    } else if (m->state == MP_DELIMITED_CR && c == '\n') {
        if (m->n_parts == m->limits.parts_max) {
            m->error = MULTIPART_TOO_MANY_PARTS;
            return;
        }
        m->n_parts++;
        m->headers_len = 0;
        m->state = MP_HEADERS;
    } else if (m->state == MP_DELIMITED && c == '\r') {
        m->state = MP_DELIMITED_CR;
    } else if (m->state == MP_DELIMITED && c == '-' && m->matched == m->delimiter_len) {
        m->state = MP_CLOSING;
    } else if (m->state == MP_DELIMITED && is_space(c)) {
        m->matched = 0; /* after a space there can be no closing dashes */
    } else {
        m->error = MULTIPART_BAD_DELIMITER;
    }
}

enum multipart_error
multipart_feed(struct multipart *m, const void *bytes, size_t len)
{
    const char *s = bytes;
    size_t i = 0;

    while (i < len && m->error == MULTIPART_OK) {
        switch (m->state) {
        case MP_PREAMBLE:
        case MP_BODY:
            i += feed_body(m, s + i, len - i);
            break;
        case MP_DELIMITED:
        case MP_DELIMITED_CR:
        case MP_CLOSING:
            feed_delimited(m, s[i++]);
            break;
        case MP_HEADERS:
            i += feed_headers(m, s + i, len - i);
            break;
        case MP_EPILOGUE:
            return MULTIPART_OK;
        }
    }
    return m->error;
}

enum multipart_error
multipart_finish(struct multipart *m)
{
    if (m->error == MULTIPART_OK && m->state != MP_EPILOGUE)
        m->error = MULTIPART_TRUNCATED;
    return m->error;
}

const char *
multipart_strerror(enum multipart_error error)
{
    static const char *const sentences[] = {
#define X(code, sentence) [MULTIPART_##code] = sentence,
        MULTIPART_ERRORS(X)
#undef X
    };
    return sentences[error];
}
