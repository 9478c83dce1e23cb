/* arena -- see arena.h.  Blocks of growing size in a list, the newest first; a guest list beside it. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>

enum { FIRST_BLOCK = 16 * 1024, MAX_BLOCK = 1024 * 1024 };

struct block {
    struct block *next;
    size_t cap, used;
    alignas(max_align_t) unsigned char bytes[];
};

struct guest {
    struct guest *next;
    void *what;
    void (*release)(void *what);
};

struct arena {
    struct block *blocks;   /* newest first; the last one is kept by a reset */
    struct guest *guests;   /* newest first */
    void (*oom)(void *ctx);
    void *oom_ctx;
};

static struct block *
block_new(size_t cap)
{
    struct block *b = malloc(sizeof *b + cap);
    if (b != NULL) {
        b->next = NULL;
        b->cap = cap;
        b->used = 0;
    }
    return b;
}

struct arena *
arena_new(void)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->blocks = block_new(FIRST_BLOCK);
    if (a->blocks == NULL) {
        free(a);
        return NULL;
    }
    return a;
}

void
arena_release(struct arena *a)
{
    /* A release function may allocate nothing from the arena, so the list only shrinks. */
    while (a->guests != NULL) {
        struct guest *g = a->guests;
        a->guests = g->next;
        g->release(g->what);
    }
}

void
arena_reset(struct arena *a)
{
    arena_release(a);
    while (a->blocks->next != NULL) {
        struct block *b = a->blocks;
        a->blocks = b->next;
        free(b);
    }
    a->blocks->used = 0;
}

void
arena_free(struct arena *a)
{
    if (a == NULL)
        return;
    arena_reset(a);
    free(a->blocks);
    free(a);
}

void
arena_on_oom(struct arena *a, void (*handler)(void *ctx), void *ctx)
{
    a->oom = handler;
    a->oom_ctx = ctx;
}

static _Noreturn void
no_memory(struct arena *a)
{
    if (a->oom != NULL)
        a->oom(a->oom_ctx);
    abort();
}

static void *
try_alloc(struct arena *a, size_t len)
{
    const size_t align = alignof(max_align_t);
    if (len > SIZE_MAX / 4)
        return NULL;
    size_t need = (len + align - 1) / align * align;
    struct block *b = a->blocks;
    if (b->cap - b->used < need) {
        size_t cap = b->cap < MAX_BLOCK ? b->cap * 2 : MAX_BLOCK;
        if (cap < need)
            cap = need;
        b = block_new(cap);
        if (b == NULL)
            return NULL;
        b->next = a->blocks;
        a->blocks = b;
    }
    void *p = b->bytes + b->used;
    b->used += need;
    return p;
}

void *
arena_alloc(struct arena *a, size_t len)
{
    void *p = try_alloc(a, len);
    if (p == NULL)
        no_memory(a);
    return p;
}

void *
arena_zalloc(struct arena *a, size_t n, size_t size)
{
    size_t len;
    if (__builtin_mul_overflow(n, size, &len))
        no_memory(a);
    return memset(arena_alloc(a, len), 0, len);
}

char *
arena_memdup0(struct arena *a, const void *s, size_t len)
{
    char *copy = arena_alloc(a, len + 1);
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *
arena_strdup(struct arena *a, const char *s)
{
    return arena_memdup0(a, s, strlen(s));
}

char *
arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    if (len < 0)
        no_memory(a);
    char *s = arena_alloc(a, (size_t)len + 1);
    vsnprintf(s, (size_t)len + 1, fmt, again);
    va_end(again);
    return s;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}

void
arena_own(struct arena *a, void *guest, void (*release)(void *guest))
{
    if (guest == NULL)
        return;
    struct guest *g = try_alloc(a, sizeof *g);
    if (g == NULL) {
        release(guest);
        no_memory(a);
    }
    g->what = guest;
    g->release = release;
    g->next = a->guests;
    a->guests = g;
}

size_t
arena_bytes(const struct arena *a)
{
    size_t bytes = 0;
    for (const struct block *b = a->blocks; b != NULL; b = b->next)
        bytes += sizeof *b + b->cap;
    return bytes;
}
