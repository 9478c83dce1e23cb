#include "socketpacket.h"

#include <string.h>

/* -- JSON, as far as finding where a value ends ------------------------------------------------- */

static const char *
skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const char *
skip_string(const char *p, const char *end) /* p is behind the opening quote */
{
    while (p < end) {
        unsigned char c = (unsigned char)*p++;
        if (c == '"')
            return p;
        if (c < 0x20)
            return NULL;
        if (c != '\\')
            continue;
        if (p == end)
            return NULL;
        c = (unsigned char)*p++;
        if (c == 'u') {
            if (end - p < 4 || !is_hex(p[0]) || !is_hex(p[1]) || !is_hex(p[2]) || !is_hex(p[3]))
                return NULL;
            p += 4;
        } else if (!c || !strchr("\"\\/bfnrt", c))
            return NULL;
    }
    return NULL;
}

static const char *
skip_digits(const char *p, const char *end)
{
    if (p == end || !is_digit(*p))
        return NULL;
    while (p < end && is_digit(*p))
        p++;
    return p;
}

static const char *
skip_number(const char *p, const char *end)
{
    if (*p == '-')
        p++;
    if (p < end && *p == '0')
        p++;
    else if (!(p = skip_digits(p, end)))
        return NULL;
    if (p < end && *p == '.' && !(p = skip_digits(p + 1, end)))
        return NULL;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        p = skip_digits(p, end);
    }
    return p;
}

static const char *
skip_word(const char *p, const char *end, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

static const char *
skip_scalar(const char *p, const char *end)
{
    switch (*p) {
    case '"': return skip_string(p + 1, end);
    case 't': return skip_word(p, end, "true");
    case 'f': return skip_word(p, end, "false");
    case 'n': return skip_word(p, end, "null");
    default: return skip_number(p, end);
    }
}

/* "key" : and the white space around it. */
static const char *
skip_key(const char *p, const char *end)
{
    p = skip_space(p, end);
    if (p == end || *p != '"' || !(p = skip_string(p + 1, end)))
        return NULL;
    p = skip_space(p, end);
    return p < end && *p == ':' ? p + 1 : NULL;
}

const char *
socketpacket_json_end(const char *p, const char *end)
{
    char stack[SOCKETPACKET_MAX_DEPTH]; /* what closes what is open */
    int  depth = 0;

    for (;;) {
        /* Here a value begins. */
        p = skip_space(p, end);
        if (p == end)
            return NULL;
        if (*p == '[' || *p == '{') {
            char close = *p == '[' ? ']' : '}';
            p = skip_space(p + 1, end);
            if (p < end && *p == close)
                p++; /* empty: a value is complete */
            else {
                if (depth == SOCKETPACKET_MAX_DEPTH)
                    return NULL;
                stack[depth++] = close;
                if (close == '}' && !(p = skip_key(p, end)))
                    return NULL;
                continue;
            }
        } else if (!(p = skip_scalar(p, end)))
            return NULL;

        /* Here one is complete: so are, perhaps, those that it was the last of. */
        for (;;) {
            if (!depth)
                return p;
            p = skip_space(p, end);
            if (p == end)
                return NULL;
            if (*p == stack[depth - 1]) {
                p++;
                depth--;
                continue;
            }
            if (*p++ != ',')
                return NULL;
            if (stack[depth - 1] == '}' && !(p = skip_key(p, end)))
                return NULL;
            break;
        }
    }
}

/* -- packets ------------------------------------------------------------------------------------ */

static bool
is(const struct socketpacket *packet, const char *name)
{
    return packet->name_len == strlen(name) && memcmp(packet->name, name, packet->name_len) == 0;
}

/* Cuts '["name",args…]' into name and args. */
static bool
cut_event(const char *p, const char *end, struct socketpacket *packet)
{
    p = skip_space(p + 1, end); /* behind the bracket; the whole is known to be an array */
    if (*p == '"') {
        packet->name = p + 1;
        p = skip_string(p + 1, end);
        packet->name_len = (size_t)(p - 1 - packet->name);
    } else if (*p == '-' || is_digit(*p)) {
        packet->name = p;
        p = skip_number(p, end);
        packet->name_len = (size_t)(p - packet->name);
    } else
        return false; /* empty, or not a name */
    if (is(packet, "connect") || is(packet, "connect_error") || is(packet, "disconnect") ||
        is(packet, "disconnecting") || is(packet, "newListener") || is(packet, "removeListener"))
        return false;
    p = skip_space(p, end);
    if (*p == ',')
        p = skip_space(p + 1, end);
    packet->args = p;
    packet->args_len = (size_t)(end - 1 - p); /* end is behind the closing bracket */
    return true;
}

static bool
cut_payload(const char *p, const char *end, struct socketpacket *packet)
{
    if (packet->type == SOCKETPACKET_DISCONNECT)
        return p == end;
    if (packet->type == SOCKETPACKET_CONNECT && p == end) {
        packet->args = "{}";
        packet->args_len = 2;
        return true;
    }
    /* JSON.stringify puts no white space around its result, nor do we take any. */
    if (p == end || socketpacket_json_end(p, end) != end)
        return false;
    switch (packet->type) {
    case SOCKETPACKET_CONNECT:
        packet->args = p;
        packet->args_len = (size_t)(end - p);
        return *p == '{';
    case SOCKETPACKET_EVENT:
    case SOCKETPACKET_BINARY_EVENT:
        return *p == '[' && cut_event(p, end, packet);
    case SOCKETPACKET_ACK:
    case SOCKETPACKET_BINARY_ACK:
        packet->args = p + 1;
        packet->args_len = (size_t)(end - p) - 2;
        return *p == '[' && packet->id != SOCKETPACKET_NO_ID;
    default:
        return false;
    }
}

/* Decimal digits, at most 15 of them: JavaScript's safe integers.  -1: none, -2: too many. */
static int64_t
read_number(const char **p, const char *end)
{
    int64_t n = -1;

    for (int digits = 0; *p < end && is_digit(**p); (*p)++) {
        if (++digits > 15)
            return -2;
        n = (n < 0 ? 0 : n * 10) + (**p - '0');
    }
    return n;
}

bool
socketpacket_decode(const char *text, size_t len, struct socketpacket *packet)
{
    const char *p = text, *end = text + len;

    if (!len || *p < '0' || *p > '6' || *p == '4')
        return false; /* CONNECT_ERROR is the server's to send */
    *packet = (struct socketpacket){.type = (enum socketpacket_type)(*p++ - '0'),
                                    .nsp = "/",
                                    .nsp_len = 1,
                                    .id = SOCKETPACKET_NO_ID,
                                    .name = "",
                                    .args = ""};
    if (packet->type >= SOCKETPACKET_BINARY_EVENT) {
        int64_t n = read_number(&p, end);
        if (n < 0 || n > SOCKETPACKET_MAX_ATTACHMENTS || p == end || *p++ != '-')
            return false;
        packet->attachments = (unsigned)n;
    }
    if (p < end && *p == '/') {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        packet->nsp = p;
        packet->nsp_len = (size_t)((comma ? comma : end) - p);
        p = comma ? comma + 1 : end;
    }
    packet->id = read_number(&p, end);
    return packet->id >= SOCKETPACKET_NO_ID && cut_payload(p, end, packet);
}
