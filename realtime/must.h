/* must -- what cannot fail without the process being lost: memory and random numbers.
 *
 * A gateway out of memory cannot keep its promises to anyone.  It dies loudly and is started again;
 * its clients reconnect and ask for what they missed. */
#ifndef REALTIME_MUST_H
#define REALTIME_MUST_H

#include <stddef.h>

/* Zeroed memory, for free(). */
void *must_alloc(size_t len);

/* realloc() that succeeds. */
void *must_resize(void *p, size_t len);

/* Fills p from the kernel's CSPRNG. */
void must_random(void *p, size_t len);

/* Writes 20 characters of base64url, 120 random bits, and a NUL to id. */
#define MUST_ID_LEN 20
void must_id(char id[static MUST_ID_LEN + 1]);

#endif
