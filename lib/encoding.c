/* encoding -- see encoding.h. */
#include "encoding.h"

size_t
encoding_hex(char *out, const void *data, size_t len)
{
    static const char hex_digits[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_digits[p[i] >> 4];
        out[2 * i + 1] = hex_digits[p[i] & 15];
    }
    out[2 * len] = '\0';
    return 2 * len;
}

/* A table, because a page of sealed values has thousands of digits, which no branch predictor can guess. */
static int
hex_value(char c)
{
    static const uint8_t above[256] = {   /* 0: no digit */
        ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
        ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
        ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    };
    return above[(unsigned char)c] - 1;
}

ssize_t
encoding_unhex(void *out, size_t cap, const char *s, size_t hex_len)
{
    uint8_t *to = out;

    if (hex_len % 2 != 0 || hex_len / 2 > cap)
        return -1;
    for (size_t i = 0; i < hex_len; i += 2) {
        int high = hex_value(s[i]), low = hex_value(s[i + 1]);
        if (high < 0 || low < 0)
            return -1;
        *to++ = (uint8_t)(high << 4 | low);
    }
    return (ssize_t)(hex_len / 2);
}

size_t
encoding_b64url(char *out, const void *data, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *p = data;
    char *to = out;
    size_t i = 0;

    for (; i + 2 < len; i += 3) {
        unsigned n = (unsigned)p[i] << 16 | (unsigned)p[i + 1] << 8 | p[i + 2];
        *to++ = alphabet[n >> 18];
        *to++ = alphabet[n >> 12 & 63];
        *to++ = alphabet[n >> 6 & 63];
        *to++ = alphabet[n & 63];
    }
    if (i < len) {
        unsigned n = (unsigned)p[i] << 16 | (i + 1 < len ? (unsigned)p[i + 1] << 8 : 0);
        *to++ = alphabet[n >> 18];
        *to++ = alphabet[n >> 12 & 63];
        if (i + 1 < len)
            *to++ = alphabet[n >> 6 & 63];
    }
    *to = '\0';
    return (size_t)(to - out);
}

/* The value of each character plus one; zero for those outside of the alphabet. */
#define B64(c, v) [c] = (v) + 1
static const uint8_t b64_values[256] = {
    B64('A', 0),  B64('B', 1),  B64('C', 2),  B64('D', 3),  B64('E', 4),  B64('F', 5),  B64('G', 6),  B64('H', 7),
    B64('I', 8),  B64('J', 9),  B64('K', 10), B64('L', 11), B64('M', 12), B64('N', 13), B64('O', 14), B64('P', 15),
    B64('Q', 16), B64('R', 17), B64('S', 18), B64('T', 19), B64('U', 20), B64('V', 21), B64('W', 22), B64('X', 23),
    B64('Y', 24), B64('Z', 25), B64('a', 26), B64('b', 27), B64('c', 28), B64('d', 29), B64('e', 30), B64('f', 31),
    B64('g', 32), B64('h', 33), B64('i', 34), B64('j', 35), B64('k', 36), B64('l', 37), B64('m', 38), B64('n', 39),
    B64('o', 40), B64('p', 41), B64('q', 42), B64('r', 43), B64('s', 44), B64('t', 45), B64('u', 46), B64('v', 47),
    B64('w', 48), B64('x', 49), B64('y', 50), B64('z', 51), B64('0', 52), B64('1', 53), B64('2', 54), B64('3', 55),
    B64('4', 56), B64('5', 57), B64('6', 58), B64('7', 59), B64('8', 60), B64('9', 61), B64('-', 62), B64('_', 63),
};

ssize_t
encoding_b64url_decode(void *out, size_t cap, const char *s, size_t len)
{
    uint8_t *to = out;
    size_t tail = len % 4;   /* characters behind the last whole four: none, or two or three */
    size_t bytes = len / 4 * 3 + (tail > 0 ? tail - 1 : 0);
    uint32_t bits = 0;

    if (tail == 1 || bytes > cap)
        return -1;
    for (size_t i = 0; i < len; i++) {
        unsigned v = b64_values[(uint8_t)s[i]];
        if (v == 0)
            return -1;
        bits = bits << 6 | (v - 1);
        if (i % 4 == 3) {
            *to++ = (uint8_t)(bits >> 16);
            *to++ = (uint8_t)(bits >> 8);
            *to++ = (uint8_t)bits;
            bits = 0;
        }
    }
    /* Twelve bits hold one byte, eighteen two: what is left of them must be zero. */
    if ((tail == 2 && (bits & 0x0f) != 0) || (tail == 3 && (bits & 0x03) != 0))
        return -1;
    if (tail == 2)
        *to++ = (uint8_t)(bits >> 4);
    if (tail == 3) {
        *to++ = (uint8_t)(bits >> 10);
        *to++ = (uint8_t)(bits >> 2);
    }
    return (ssize_t)bytes;
}
