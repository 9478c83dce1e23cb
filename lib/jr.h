/* jr -- a reader of JSON text (RFC 8259, to the letter) that needs no memory: a value is where it stands.
 *
 * jr_check looks at the text once, as a whole; from then on a value is a kind and a place in it, and members
 * and elements are looked up where they are.  So nothing can be left out for want of memory, no digit of a
 * number is lost, and a body that nobody reads costs nothing more.  The text must outlive its values.  Whether
 * it is UTF-8 is not looked at: see valid_utf8.  Pure functions, for any thread; writing is jw's business. */
#ifndef SELLIKO_JR_H
#define SELLIKO_JR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum jr_kind { JR_ABSENT, JR_NULL, JR_BOOL, JR_NUMBER, JR_STRING, JR_ARRAY, JR_OBJECT };

/* The LEN bytes at S: a string with its quotes, a number as it was written. */
struct jr {
    enum jr_kind kind;
    const char *s;
    size_t len;
};

/* Whether the LEN bytes at TEXT are one JSON value, with at most DEPTH arrays and objects in each other; it is
 * then in ROOT.  A name that comes twice is allowed: the last one counts. */
bool jr_check(const char *text, size_t len, int depth, struct jr *root);

/* The same of the value that TEXT begins with, whatever follows it. */
bool jr_first(const char *text, size_t len, int depth, struct jr *first);

/* O's member NAME; JR_ABSENT when it has none, and when O is no object. */
struct jr jr_member(struct jr o, const char *name);

/* The same when it is of KIND, else JR_ABSENT. */
struct jr jr_member_of(struct jr o, const char *name, enum jr_kind kind);

/* Walk over the members or elements: struct jr_walk w = jr_walk(v); while (jr_next(&w)) … w.name, w.value.
 * Of what is no array or object there are none. */
struct jr_walk {
    const char *at, *end;
    struct jr name, value;   /* name: JR_ABSENT in an array */
};
struct jr_walk jr_walk(struct jr v);
bool jr_next(struct jr_walk *w);

/* How many members or elements it has, and element I of an array (JR_ABSENT: there are fewer). */
size_t jr_count(struct jr v);
struct jr jr_element(struct jr v, size_t i);

/* A string's text in OUT (of SIZE bytes, as much as fits, cut between characters), NUL-terminated; it may hold
 * NUL itself.  The length of the whole, which is never more than V's.  Half a surrogate pair is U+FFFD. */
size_t jr_decode(struct jr v, char *out, size_t size);

/* The same, whole, in A; LEN may be NULL. */
char *jr_text(struct arena *a, struct jr v, size_t *len);

/* Whether a string is TEXT. */
bool jr_is(struct jr v, const char *text);

/* Whether V is true, the value. */
bool jr_true(struct jr v);

/* Whether V is a number of digits alone, from MIN to MAX: it is then in N. */
bool jr_int(struct jr v, int64_t min, int64_t max, int64_t *n);

/* V's text in A without the blanks, and with U+FFFD for each half of a surrogate pair; LEN may be NULL. */
char *jr_compact(struct arena *a, struct jr v, size_t *len);

#endif
