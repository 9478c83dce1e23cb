/* json -- a writer of JSON text into an arena; reading is json-c's business (see input.h).
 *
 * Members are written in order, commas set themselves:
 *
 *   json_object(j, NULL);  json_str(j, "id", id);  json_rupees(j, "amount", paise);  json_end(j);
 *
 * KEY names a member of the open object, a constant of plain ASCII; it is NULL for an element of an
 * array and for the outermost value.  A NULL string is written as null.  Strings are UTF-8 (as
 * everything in the database is); ill-formed bytes become U+FFFD.  One thread at a time. */
#ifndef SELLIKO_JSON_H
#define SELLIKO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct json;

/* A writer that lives as long as ARENA's contents. */
struct json *json_new(struct arena *a);

/* Open an object or array, close the innermost open one. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_end(struct json *j);

void json_str(struct json *j, const char *key, const char *s);
void json_strn(struct json *j, const char *key, const char *s, size_t len);
void json_int(struct json *j, const char *key, int64_t n);
void json_bool(struct json *j, const char *key, bool b);
void json_null(struct json *j, const char *key);
void json_rupees(struct json *j, const char *key, int64_t paise);

/* TEXT as PostgreSQL writes a timestamptz in UTC ("2026-11-22 10:11:12.3456+00"), written as
 * "2026-11-22T10:11:12.345Z"; NULL as null. */
void json_time(struct json *j, const char *key, const char *text);

/* LEN bytes that are a JSON value already, as they are. */
void json_raw(struct json *j, const char *key, const char *value, size_t len);

/* LEN bytes of ready-made members ("a":1,"b":2), which may be none, into the open object. */
void json_members(struct json *j, const char *members, size_t len);

/* The text so far (NUL-terminated, valid until the next write) and its length. */
const char *json_text(struct json *j, size_t *len);

#endif
