/* totals -- how many rows a list has in all, remembered for two seconds.
 *
 * Counting 20,000 live listings costs more than fetching the 20 that a page shows, and the total of a
 * page may lag by two seconds.  A page that is not full tells its total exactly and needs no count.
 *
 * Of many requests that want one total at the same moment one counts and the others wait for it; and from
 * the first second on one counts it anew while the others still take what there is.  For who is not signed in it
 * is counted anew after a fifth of a second, because his page is kept by the web server for up to two.  Kept in this process
 * alone; any thread. */
#ifndef SELLIKO_TOTALS_H
#define SELLIKO_TOTALS_H

#include "req.h"

/* The total for a page of N rows: from the page itself, else what was counted for KEY (the list and its
 * filters; NULL: count always) within two seconds, else counted now with COUNT, whose one row has one bigint. */
int64_t totals_of(struct req *r, const struct page *page, int n, const char *key,
                  struct sql *count, const char *const *param, int n_param);
#define totals(r, page, n, key, count, ...) totals_of(r, page, n, key, &(count), DB_PARAMS_(__VA_ARGS__))

/* A filter's VALUE as part of a key: no two values read alike, whatever people write, and none like NULL. */
const char *totals_part(struct req *r, const char *value);

/* The total before there is a page. */
int64_t totals_count(struct req *r, const char *key, struct sql *count, const char *const *param, int n_param);

/* What was counted for KEY last, however long ago; -1 when that is not known any more. */
int64_t totals_last(const char *key);

#endif
