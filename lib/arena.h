/* arena -- one lifetime for all that a request allocates.
 *
 * A request has one arena.  What a handler needs comes from it and is never freed singly; what other
 * libraries allocate (a PGresult, a json_object, a curl handle) is handed to it where it is made and
 * released, newest first, when the arena is reset.  Not for sharing between threads: an arena belongs
 * to the thread that uses it.
 *
 * Allocation never returns NULL.  When there is no memory, the arena's out-of-memory handler is called
 * and must not return (the request loop's answers 503; without one the process aborts). */
#ifndef SELLIKO_ARENA_H
#define SELLIKO_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena;

/* A new arena, owned by the caller until arena_free.  NULL only when there is no memory for it. */
struct arena *arena_new(void);

/* Release all guests (newest first) and keep the memory. */
void arena_release(struct arena *a);

/* Release all guests (newest first) and all memory but the first block, which is kept for reuse. */
void arena_reset(struct arena *a);

/* arena_reset, and the arena itself.  arena_free(NULL) does nothing. */
void arena_free(struct arena *a);

/* Called with CTX when memory runs out; must not return. */
void arena_on_oom(struct arena *a, void (*handler)(void *ctx), void *ctx);

/* LEN bytes, aligned for any type, not initialised.  Valid until the next reset.  LEN 0 is allowed. */
void *arena_alloc(struct arena *a, size_t len) __attribute__((malloc, alloc_size(2), returns_nonnull));

/* The same for N things of SIZE bytes each, zeroed; an overflowing product counts as no memory. */
void *arena_zalloc(struct arena *a, size_t n, size_t size) __attribute__((malloc, alloc_size(2, 3), returns_nonnull));

/* A NUL-terminated copy of S, or of S's first LEN bytes (which may hold anything). */
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_memdup0(struct arena *a, const void *s, size_t len) __attribute__((returns_nonnull));

/* As printf, into the arena. */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3), returns_nonnull));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0), returns_nonnull));

/* Hand GUEST to the arena: RELEASE(GUEST) is called at the next reset.  A NULL guest is ignored.
 * When there is no memory for the note, the guest is released at once and the handler called. */
void arena_own(struct arena *a, void *guest, void (*release)(void *guest));

/* Bytes that the arena holds now, in all its blocks (for tests and metrics). */
size_t arena_bytes(const struct arena *a);

#endif
