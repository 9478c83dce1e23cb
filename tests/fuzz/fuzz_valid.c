/* Any bytes as a value: what valid.h and money.h accept is what the patterns say, and nothing else. */
#include "../../lib/money.h"
#include "../../lib/valid.h"

#include <stdio.h>
#include <time.h>

#include "reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
same(bool fast, bool slow)
{
    if (fast != slow)
        abort();
}

static bool
slow_date(const char *s)
{
    int year, month, day;
    if (!MATCHES("[0-9]{4}-[0-9]{2}-[0-9]{2}", s) || sscanf(s, "%d-%d-%d", &year, &month, &day) != 3 || year == 0)
        return false;
    struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
    (void)timegm(&tm);   /* moves a day that does not exist to one that does */
    return tm.tm_year == year - 1900 && tm.tm_mon == month - 1 && tm.tm_mday == day;
}

static bool
slow_time(const char *s)
{
    char day[11];
    if (strlen(s) < 10)
        return false;
    memcpy(day, s, 10);
    day[10] = '\0';
    return slow_date(day)
        && MATCHES("([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?"
                   "([Zz]|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)?)?", s + 10);
}

/* What is written is what was read. */
static void
judge_money(const char *s, size_t len)
{
    int64_t paise, again;
    char text[MONEY_SIZE], people[MONEY_PEOPLE_SIZE], plain[MONEY_PEOPLE_SIZE];
    size_t n = 0;

    if (!money_parse(s, len, &paise)) {
        /* Refused for its form, or for being more than there can be. */
        if (MATCHES("[0-9]{1,12}(\\.[0-9]{1,2})?", s))
            abort();
        return;
    }
    if (!MATCHES("[0-9]+(\\.[0-9]{1,2})?", s) || paise < 0 || paise > MONEY_MAX_PAISE)
        abort();
    if (!money_parse(text, money_json(paise, text), &again) || again != paise)
        abort();
    size_t people_len = money_people(paise, people);
    for (size_t i = 3; i < people_len; i++)   /* behind the rupee sign */
        if (people[i] != ',')
            plain[n++] = people[i];
    if (!money_parse(plain, n, &again) || again != paise)
        abort();
    if (money_share(paise, "0") != 0 || money_share(paise, "100") != paise || money_share(paise, "50") != (paise + 1) / 2)
        abort();
}

static void
judge_text(const char *s, size_t len)
{
    same(valid_utf8(s, len), slow_utf8(s, len));
    if (!valid_utf8(s, len))
        return;
    size_t trimmed = len, twice;
    const char *t = valid_trim(s, &trimmed);
    if (t < s || t + trimmed > s + len || !slow_utf8(t, trimmed))
        abort();
    twice = trimmed;
    if (valid_trim(t, &twice) != t || twice != trimmed)
        abort();
    size_t points = 0;
    for (size_t i = 0; i < len; points++) {
        size_t n = valid_utf8_first(s + i, len - i);
        if (n == 0)
            abort();
        i += n;
    }
    if (points != valid_code_points(s, len))
        abort();
    bool control = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        control |= c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[i + 1] < 0xa0);
    }
    same(valid_no_controls(s, len, false), !control);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *s = malloc(size + 1), uuid[37];
    int64_t n = 0;

    if (s == NULL)
        return 0;
    if (size > 0)
        memcpy(s, data, size);
    s[size] = '\0';
    judge_text(s, size);
    same(valid_visible_ascii(s, size, 1, 255), strlen(s) == size && MATCHES("[!-~]{1,255}", s));
    if (strlen(s) != size) {   /* the others' callers know that no NUL is inside, or it is a digit out of place */
        if (valid_uuid(s, size, NULL) || valid_int(s, size, INT64_MIN, INT64_MAX, &n) || valid_date(s, size) || valid_time(s, size)
            || valid_decimal(s, size, 9, 9, true) || money_parse(s, size, &n))
            abort();
        free(s);
        return 0;
    }
    same(valid_phone(s), MATCHES("\\+91[6-9][0-9]{9}", s));
    same(valid_imei(s), MATCHES("[0-9]{15}", s));
    same(valid_pincode(s), MATCHES("[0-9]{6}", s));
    same(valid_otp(s), MATCHES("[0-9]{6}", s));
    same(valid_uuid(s, size, uuid), MATCHES("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", s));
    same(valid_decimal(s, size, 3, 4, false), MATCHES("[0-9]{1,3}(\\.[0-9]{1,4})?", s));
    same(valid_decimal(s, size, 3, 15, true), MATCHES("-?[0-9]{1,3}(\\.[0-9]{1,15})?", s));
    same(valid_int(s, size, 10, 99999, &n), MATCHES("0*[1-9][0-9]{1,4}", s));
    if (valid_int(s, size, 0, INT64_MAX, &n) && (!MATCHES("[0-9]+", s) || n != (int64_t)strtoull(s, NULL, 10)))
        abort();
    same(valid_date(s, size), slow_date(s));
    same(valid_time(s, size), slow_time(s));
    judge_money(s, size);
    free(s);
    return 0;
}
