/* reference -- what the parsers are held against: slow, plain, and written from the standards alone. */
#ifndef SELLIKO_FUZZ_REFERENCE_H
#define SELLIKO_FUZZ_REFERENCE_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3629's table, spelled out. */
static inline bool
slow_utf8(const void *text, size_t len)
{
    const uint8_t *p = text;

    for (size_t i = 0; i < len;) {
        uint32_t c = p[i];
        size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;

        if (n == 0 || len - i < n)
            return false;
        if (n > 1)
            c &= 0xffu >> (n + 1);
        for (size_t j = 1; j < n; j++) {
            if (p[i + j] >> 6 != 2)
                return false;
            c = c << 6 | (p[i + j] & 63);
        }
        if ((n == 2 && c < 0x80) || (n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff
            || (c >= 0xd800 && c <= 0xdfff))
            return false;
        i += n;
    }
    return true;
}

/* Whether all of TEXT matches the extended regular expression PATTERN, which stays the same for each KEPT. */
static inline bool
slow_matches(regex_t **kept, const char *pattern, const char *text)
{
    if (*kept == NULL) {
        *kept = calloc(1, sizeof **kept);
        if (*kept == NULL || regcomp(*kept, pattern, REG_EXTENDED | REG_NOSUB) != 0)
            abort();
    }
    return regexec(*kept, text, 0, NULL, 0) == 0;
}
#define MATCHES(pattern, text) __extension__({ static regex_t *kept; slow_matches(&kept, "^(" pattern ")$", text); })

#endif
