/* money -- rupees for people and JSON, paise (int64_t) inside.
 *
 * Never through binary floating point: text is read and written digit by digit. */
#ifndef SELLIKO_MONEY_H
#define SELLIKO_MONEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MONEY_MAX_PAISE INT64_C(100000000000000)   /* ten to the twelfth rupees: more is a mistake */
#define MONEY_SIZE 24                              /* room for money_json, with its NUL */
#define MONEY_PEOPLE_SIZE 40                       /* room for money_people, with its NUL */

/* Rupees of LEN bytes of text ("25000", "25000.5", "25000.50") in paise.  False when it is anything
 * else: a sign, an exponent, blanks, a third decimal, no digit on either side of the point, or more
 * than MONEY_MAX_PAISE. */
bool money_parse(const char *s, size_t len, int64_t *paise);

/* A JSON number of rupees, without needless zeros: 25000, 25000.5, 25000.05.  Returns the length. */
size_t money_json(int64_t paise, char out[MONEY_SIZE]);

/* For people, grouped as in India: ₹1,24,950 or ₹1,24,950.50 (UTF-8).  Returns the length in bytes. */
size_t money_people(int64_t paise, char out[MONEY_PEOPLE_SIZE]);

/* PERCENT ("2", "2.5", at most four decimals, as config checked it) of PAISE, rounded half up to the
 * paisa; the same as round(paise * percent / 100) in SQL.  PAISE is not negative. */
int64_t money_share(int64_t paise, const char *percent);

#endif
