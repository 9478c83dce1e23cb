#include "valid.h"

#include <string.h>

static bool
digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
all_digits(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!digit(s[i]))
            return false;
    return true;
}

bool
valid_phone(const char *s)
{
    return strlen(s) == 13 && memcmp(s, "+91", 3) == 0 && s[3] >= '6' && s[3] <= '9' && all_digits(s + 4, 9);
}

bool
valid_imei(const char *s)
{
    return strlen(s) == 15 && all_digits(s, 15);
}

bool
valid_pincode(const char *s)
{
    return strlen(s) == 6 && all_digits(s, 6);
}

bool
valid_otp(const char *s)
{
    return strlen(s) == 6 && all_digits(s, 6);
}

bool
valid_luhn(const char *s)
{
    size_t len = strlen(s);
    int sum = 0;

    if (len == 0 || !all_digits(s, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        int d = s[len - 1 - i] - '0';
        if (i % 2 == 1 && (d *= 2) > 9)
            d -= 9;
        sum += d;
    }
    return sum % 10 == 0;
}

bool
valid_uuid(const char *s, size_t len, char out[37])
{
    char lower[37];

    if (len != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        char c = s[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (c >= 'A' && c <= 'F')
            c = (char)(c | 0x20);
        if (dash ? c != '-' : !(digit(c) || (c >= 'a' && c <= 'f')))
            return false;
        lower[i] = c;
    }
    lower[36] = '\0';
    if (out != NULL)
        memcpy(out, lower, sizeof lower);
    return true;
}

/* ---- text ---- */

size_t
valid_utf8_first(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char lead = s[0], low = 0x80, high = 0xbf;   /* bounds of the second byte */
    size_t n;

    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        n = 2;
    else if (lead >= 0xe0 && lead <= 0xef) {
        n = 3;
        if (lead == 0xe0)
            low = 0xa0;   /* shorter forms exist */
        if (lead == 0xed)
            high = 0x9f;   /* surrogates */
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        n = 4;
        if (lead == 0xf0)
            low = 0x90;
        if (lead == 0xf4)
            high = 0x8f;   /* nothing above U+10FFFF */
    } else
        return 0;
    if (len < n || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return n;
}

bool
valid_utf8(const char *s, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        /* Eight ASCII bytes at a time: nearly all text is. */
        uint64_t word;
        if (len - i >= sizeof word && (memcpy(&word, s + i, sizeof word), (word & 0x8080808080808080U) == 0)) {
            n = sizeof word;
            continue;
        }
        n = valid_utf8_first(s + i, len - i);
        if (n == 0)
            return false;
    }
    return true;
}

size_t
valid_code_points(const char *s, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

/* The bytes of the white space character at S, 0 when there is another one.  ECMA-262 §12.2, §12.3:
 * tab, LF, VT, FF, CR, space, U+00A0, U+1680, U+2000-200A, U+2028, U+2029, U+202F, U+205F, U+3000,
 * U+FEFF. */
static size_t
white(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;

    if (len >= 1 && (p[0] == ' ' || (p[0] >= 0x09 && p[0] <= 0x0d)))
        return 1;
    if (len >= 2 && p[0] == 0xc2 && p[1] == 0xa0)
        return 2;
    if (len < 3)
        return 0;
    unsigned code = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
    bool is = (code >= 0xe28080 && code <= 0xe2808a) || code == 0xe19a80 || code == 0xe280a8 || code == 0xe280a9
              || code == 0xe280af || code == 0xe2819f || code == 0xe38080 || code == 0xefbbbf;
    return is ? 3 : 0;
}

const char *
valid_trim(const char *s, size_t *len)
{
    size_t n;

    while (*len > 0 && (n = white(s, *len)) > 0) {
        s += n;
        *len -= n;
    }
    while (*len > 0) {
        n = 1;
        while (n < 3 && n < *len && ((unsigned char)s[*len - n] & 0xc0) == 0x80)
            n++;
        if (white(s + *len - n, n) != n)
            break;
        *len -= n;
    }
    return s;
}

bool
valid_no_controls(const char *s, size_t len, bool lines)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (lines && (c == '\t' || c == '\n' || c == '\r'))
            continue;
        if (c < 0x20 || c == 0x7f)
            return false;
        /* C1 controls are U+0080 to U+009F: C2 80 to C2 9F. */
        if (c == 0xc2 && i + 1 < len && (unsigned char)s[i + 1] >= 0x80 && (unsigned char)s[i + 1] <= 0x9f)
            return false;
    }
    return true;
}

bool
valid_visible_ascii(const char *s, size_t len, size_t min, size_t max)
{
    if (len < min || len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if (s[i] < 0x21 || s[i] > 0x7e)
            return false;
    return true;
}

/* ---- numbers ---- */

bool
valid_int(const char *s, size_t len, int64_t min, int64_t max, int64_t *out)
{
    int64_t n = 0;

    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!digit(s[i]) || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, s[i] - '0', &n))
            return false;
    if (n < min || n > max)
        return false;
    *out = n;
    return true;
}

bool
valid_decimal(const char *s, size_t len, int int_digits, int decimals, bool signed_ok)
{
    if (signed_ok && len > 0 && *s == '-')
        s++, len--;
    const char *point = len > 0 ? memchr(s, '.', len) : NULL;
    size_t before = point != NULL ? (size_t)(point - s) : len;
    if (before == 0 || before > (size_t)int_digits || !all_digits(s, before))
        return false;
    if (point == NULL)
        return true;
    size_t behind = len - before - 1;
    return behind > 0 && behind <= (size_t)decimals && all_digits(point + 1, behind);
}

/* ---- time ---- */

/* The number of exactly N digits at S, -1 when there are others or fewer. */
static int
fixed(const char *s, size_t len, size_t n)
{
    int value = 0;

    if (len < n || !all_digits(s, n))
        return -1;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (s[i] - '0');
    return value;
}

bool
valid_date(const char *s, size_t len)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    if (len != 10 || s[4] != '-' || s[7] != '-')
        return false;
    int year = fixed(s, 4, 4), month = fixed(s + 5, 2, 2), day = fixed(s + 8, 2, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1)
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && leap);
}

/* Z, +HH:MM, +HHMM or +HH.  PostgreSQL's widest offset is below 16 hours. */
static bool
is_offset(const char *s, size_t len)
{
    if (len == 1)
        return s[0] == 'Z' || s[0] == 'z';
    if (len < 3 || (s[0] != '+' && s[0] != '-'))
        return false;
    int hours = fixed(s + 1, len - 1, 2), minutes = 0;
    if (len == 6 && s[3] == ':')
        minutes = fixed(s + 4, 2, 2);
    else if (len == 5)
        minutes = fixed(s + 3, 2, 2);
    else if (len != 3)
        return false;
    return hours >= 0 && hours <= 15 && minutes >= 0 && minutes <= 59;
}

bool
valid_time(const char *s, size_t len)
{
    if (len < 10 || !valid_date(s, 10))
        return false;
    if (len == 10)
        return true;
    if (s[10] != 'T' && s[10] != 't' && s[10] != ' ')
        return false;
    s += 11, len -= 11;
    if (len < 5 || s[2] != ':')
        return false;
    int hour = fixed(s, 2, 2), minute = fixed(s + 3, 2, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return false;
    s += 5, len -= 5;
    if (len >= 3 && s[0] == ':') {
        int second = fixed(s + 1, 2, 2);
        if (second < 0 || second > 59)
            return false;
        s += 3, len -= 3;
        if (len > 0 && s[0] == '.') {
            size_t n = 1;
            while (n < len && digit(s[n]))
                n++;
            if (n == 1 || n > 10)
                return false;
            s += n, len -= n;
        }
    }
    return len == 0 || is_offset(s, len);
}
