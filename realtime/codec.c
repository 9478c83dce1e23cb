#include "codec.h"

#include <stdint.h>
#include <string.h>

bool
codec_utf8_valid(const void *text, size_t len)
{
    const unsigned char *p = text, *end = p + len;

    while (p < end) {
        /* Nearly all that comes is ASCII: eight bytes a step. */
        while (end - p >= 8) {
            uint64_t word;
            memcpy(&word, p, 8);
            if (word & 0x8080808080808080u)
                break;
            p += 8;
        }
        if (p == end)
            break;

        unsigned char c = *p++;
        int           more;
        unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
        if (c < 0x80)
            continue;
        if (c < 0xc2)
            return false;
        if (c < 0xe0)
            more = 1;
        else if (c < 0xf0) {
            more = 2;
            if (c == 0xe0)
                low = 0xa0;
            else if (c == 0xed)
                high = 0x9f; /* U+D800 and up are surrogates */
        } else if (c < 0xf5) {
            more = 3;
            if (c == 0xf0)
                low = 0x90;
            else if (c == 0xf4)
                high = 0x8f;
        } else
            return false;
        if (end - p < more || p[0] < low || p[0] > high)
            return false;
        for (int i = 1; i < more; i++)
            if ((p[i] & 0xc0) != 0x80)
                return false;
        p += more;
    }
    return true;
}

size_t
codec_base64_encode(char *out, const void *bytes, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    char                *at = out;

    for (; len >= 3; p += 3, len -= 3) {
        uint32_t word = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *at++ = alphabet[word >> 18];
        *at++ = alphabet[word >> 12 & 63];
        *at++ = alphabet[word >> 6 & 63];
        *at++ = alphabet[word & 63];
    }
    if (len) {
        uint32_t word = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);
        *at++ = alphabet[word >> 18];
        *at++ = alphabet[word >> 12 & 63];
        *at++ = len == 2 ? alphabet[word >> 6 & 63] : '=';
        *at++ = '=';
    }
    return (size_t)(at - out);
}

static int
value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool
codec_base64_decode(void *out, size_t *out_len, const char *text, size_t len)
{
    unsigned char *at = out;
    uint32_t       word = 0;

    if (len && len % 4 == 0 && text[len - 1] == '=')
        len -= text[len - 2] == '=' ? 2 : 1;
    for (size_t i = 0; i < len; i++) {
        int v = value_of(text[i]);
        if (v < 0)
            return false;
        word = word << 6 | (uint32_t)v;
        if (i % 4 == 3) {
            *at++ = (unsigned char)(word >> 16);
            *at++ = (unsigned char)(word >> 8);
            *at++ = (unsigned char)word;
            word = 0;
        }
    }
    switch (len % 4) {
    case 1:
        return false;
    case 2:
        if (word & 0xf)
            return false;
        *at++ = (unsigned char)(word >> 4);
        break;
    case 3:
        if (word & 0x3)
            return false;
        *at++ = (unsigned char)(word >> 10);
        *at++ = (unsigned char)(word >> 2);
        break;
    }
    *out_len = (size_t)(at - (unsigned char *)out);
    return true;
}
