/* valid -- what a value must look like.  The patterns are the integration guide's.
 *
 * Pure functions on text, for any thread.  Those that take a length look at exactly these bytes, which
 * may hold anything; the others want a NUL-terminated string.  None allocates. */
#ifndef SELLIKO_VALID_H
#define SELLIKO_VALID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool valid_phone(const char *s);     /* +91, then 6 to 9, then nine digits */
bool valid_imei(const char *s);      /* fifteen digits */
bool valid_pincode(const char *s);   /* six digits */
bool valid_otp(const char *s);       /* six digits */

/* Whether the last digit is the Luhn check digit of the ones before.  False unless S is digits only. */
bool valid_luhn(const char *s);

/* A UUID in its usual form of 36 characters, of either case.  OUT (when not NULL) gets it in lower
 * case, with a NUL; it may be S itself. */
bool valid_uuid(const char *s, size_t len, char out[37]);

/* ---- text ---- */

/* Well-formed UTF-8 (Unicode, table 3-7: no surrogates, no overlong forms). */
bool valid_utf8(const char *s, size_t len);

/* The bytes (1 to 4) of the well-formed character at S, of which LEN > 0 bytes are there; 0 when there
 * is none. */
size_t valid_utf8_first(const char *s, size_t len);

/* The number of code points in well-formed UTF-8. */
size_t valid_code_points(const char *s, size_t len);

/* The trimmed part of the *LEN bytes of UTF-8 at S: its beginning, and its length in *LEN.  What
 * counts as white space is ECMAScript's WhiteSpace and LineTerminator, as String.prototype.trim. */
const char *valid_trim(const char *s, size_t *len);

/* No NUL and no other control character (C0, DEL, C1); with LINES tab, LF and CR are fine. */
bool valid_no_controls(const char *s, size_t len, bool lines);

/* MIN to MAX bytes, all of them visible ASCII (0x21 to 0x7e). */
bool valid_visible_ascii(const char *s, size_t len, size_t min, size_t max);

/* ---- numbers ---- */

/* Digits only, MIN to MAX.  Leading zeros are fine, a sign is not. */
bool valid_int(const char *s, size_t len, int64_t min, int64_t max, int64_t *out);

/* A decimal number as a person writes it, [-]digits[.digits]: at most INT_DIGITS digits before and
 * DECIMALS behind the point, a minus only when SIGNED_OK; no plus, exponent or blanks. */
bool valid_decimal(const char *s, size_t len, int int_digits, int decimals, bool signed_ok);

/* ---- time ---- */

/* A calendar day, YYYY-MM-DD, years 0001 to 9999. */
bool valid_date(const char *s, size_t len);

/* An ISO 8601 date, or date and time: `T` (or `t`, or a blank), HH:MM, optional :SS and up to nine
 * decimals, optional Z, +HH:MM, +HHMM or +HH.  PostgreSQL reads all that is accepted here. */
bool valid_time(const char *s, size_t len);

#endif
