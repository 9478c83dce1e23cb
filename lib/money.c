#include "money.h"

#include <assert.h>

bool
money_parse(const char *s, size_t len, int64_t *paise)
{
    const int64_t max_rupees = MONEY_MAX_PAISE / 100;
    int64_t rupees = 0, fraction = 0;
    size_t i = 0;

    for (; i < len && s[i] >= '0' && s[i] <= '9'; i++) {
        rupees = rupees * 10 + (s[i] - '0');
        if (rupees > max_rupees)
            return false;
    }
    if (i == 0)
        return false;
    if (i < len) {
        size_t decimals = len - i - 1;
        if (s[i] != '.' || decimals < 1 || decimals > 2)
            return false;
        for (size_t k = i + 1; k < len; k++) {
            if (s[k] < '0' || s[k] > '9')
                return false;
            fraction = fraction * 10 + (s[k] - '0');
        }
        if (decimals == 1)
            fraction *= 10;
    }
    int64_t sum = rupees * 100 + fraction;
    if (sum > MONEY_MAX_PAISE)
        return false;
    *paise = sum;
    return true;
}

/* The digits of N at TO, without a NUL; how many. */
static size_t
put_digits(char *to, uint64_t n)
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    for (size_t i = 0; i < count; i++)
        to[i] = digits[count - 1 - i];
    return count;
}

/* The absolute value; of INT64_MIN too. */
static uint64_t
magnitude(int64_t n)
{
    return n < 0 ? -(uint64_t)n : (uint64_t)n;
}

size_t
money_json(int64_t paise, char out[MONEY_SIZE])
{
    uint64_t abs = magnitude(paise);
    uint64_t fraction = abs % 100;
    char *p = out;

    if (paise < 0)
        *p++ = '-';
    p += put_digits(p, abs / 100);
    if (fraction > 0) {
        *p++ = '.';
        *p++ = (char)('0' + fraction / 10);
        if (fraction % 10 > 0)
            *p++ = (char)('0' + fraction % 10);
    }
    *p = '\0';
    return (size_t)(p - out);
}

size_t
money_people(int64_t paise, char out[MONEY_PEOPLE_SIZE])
{
    static const char rupee[] = "\xe2\x82\xb9";   /* U+20B9 */
    uint64_t abs = magnitude(paise);
    char digits[20];
    char *p = out;

    if (paise < 0)
        *p++ = '-';
    for (const char *s = rupee; *s != '\0'; s++)
        *p++ = *s;
    size_t n = put_digits(digits, abs / 100);
    for (size_t i = 0; i < n; i++) {
        size_t left = n - i;   /* the last three together, in twos before */
        if (i > 0 && left >= 3 && left % 2 == 1)
            *p++ = ',';
        *p++ = digits[i];
    }
    if (abs % 100 > 0) {
        *p++ = '.';
        *p++ = (char)('0' + abs % 100 / 10);
        *p++ = (char)('0' + abs % 10);
    }
    *p = '\0';
    return (size_t)(p - out);
}

int64_t
money_share(int64_t paise, const char *percent)
{
    int64_t scaled = 0;   /* percent * 10^decimals */
    int64_t one = 1;      /* 10^decimals */
    bool behind_point = false;

    assert(paise >= 0);
    for (const char *s = percent; *s != '\0'; s++) {
        if (*s == '.') {
            behind_point = true;
            continue;
        }
        assert(*s >= '0' && *s <= '9' && scaled < 100000000);
        scaled = scaled * 10 + (*s - '0');
        if (behind_point)
            one *= 10;
    }
    __extension__ typedef __int128 wide;
    wide divisor = (wide)100 * one;
    return (int64_t)(((wide)paise * scaled + divisor / 2) / divisor);
}
