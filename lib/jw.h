/* jw -- a writer of JSON text into an arena; reading is jr's business.
 *
 * Members are written in order, commas set themselves:
 *
 *   jw_object(j, NULL);  jw_str(j, "id", id);  jw_rupees(j, "amount", paise);  jw_end(j);
 *
 * KEY names a member of the open object, a constant of plain ASCII; it is NULL for an element of an
 * array and for the outermost value.  A NULL string is written as null.  Strings are UTF-8 (as
 * everything in the database is); ill-formed bytes become U+FFFD.  Nothing here fails: where there is no
 * memory the arena's handler is called.  One thread at a time. */
#ifndef SELLIKO_JW_H
#define SELLIKO_JW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct jw;

/* A writer that lives as long as ARENA's contents. */
struct jw *jw_new(struct arena *a);

/* Open an object or array, close the innermost open one. */
void jw_object(struct jw *j, const char *key);
void jw_array(struct jw *j, const char *key);
void jw_end(struct jw *j);

/* A string, NUL-terminated or of LEN bytes; escaped as RFC 8259 §7 says. */
void jw_str(struct jw *j, const char *key, const char *s);
void jw_strn(struct jw *j, const char *key, const char *s, size_t len);

void jw_int(struct jw *j, const char *key, int64_t n);
void jw_bool(struct jw *j, const char *key, bool b);
void jw_null(struct jw *j, const char *key);

/* PAISE as a number of rupees (money_json). */
void jw_rupees(struct jw *j, const char *key, int64_t paise);

/* TEXT as PostgreSQL writes a timestamptz in UTC ("2026-11-22 10:11:12.3456+00"), written as
 * "2026-11-22T10:11:12.345Z"; NULL as null. */
void jw_time(struct jw *j, const char *key, const char *text);

/* LEN bytes that are a JSON value already, as they are. */
void jw_raw(struct jw *j, const char *key, const char *value, size_t len);

/* LEN bytes of ready-made members ("a":1,"b":2), which may be none, into the open object. */
void jw_members(struct jw *j, const char *members, size_t len);

/* Make room for N bytes now: writing that many afterwards asks for no memory. */
void jw_reserve(struct jw *j, size_t n);

/* The text so far (NUL-terminated, valid until the next write) and its length. */
const char *jw_text(struct jw *j, size_t *len);

#endif
