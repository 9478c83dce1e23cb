#include "table.h"

#include "must.h"

#include <stdlib.h>
#include <string.h>

#define MIN_BUCKETS 64

/* Eight bytes a step, each mixed by a multiplication whose high half is folded back. */
static uint32_t
hash(uint64_t seed, const void *key, size_t len)
{
    const unsigned char *p = key;
    uint64_t             h = seed ^ (len * 0x9e3779b97f4a7c15u);

    while (len) {
        uint64_t word = 0;
        size_t   n = len < 8 ? len : 8;

        memcpy(&word, p, n);
        __uint128_t product = (__uint128_t)(h ^ word) * (0xff51afd7ed558ccdu ^ (seed | 1));
        h = (uint64_t)product ^ (uint64_t)(product >> 64);
        p += n;
        len -= n;
    }
    h ^= h >> 29;
    return (uint32_t)(h ^ (h >> 32));
}

static void
resize(struct table *t, size_t n_buckets)
{
    struct table_node **buckets = must_alloc(n_buckets * sizeof(*buckets));

    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct table_node *node = t->buckets[i], *next; node; node = next) {
            struct table_node **slot = &buckets[node->hash & (n_buckets - 1)];

            next = node->next;
            node->next = *slot;
            *slot = node;
        }
    free(t->buckets);
    t->buckets = buckets;
    t->n_buckets = n_buckets;
}

struct table_node *
table_find(const struct table *t, const void *key, size_t len)
{
    if (!t->n)
        return NULL;
    uint32_t h = hash(t->seed, key, len);
    for (struct table_node *node = t->buckets[h & (t->n_buckets - 1)]; node; node = node->next)
        if (node->hash == h && node->key_len == len && memcmp(node->key, key, len) == 0)
            return node;
    return NULL;
}

void
table_add(struct table *t, struct table_node *node, const void *key, size_t len)
{
    if (!t->n_buckets) {
        must_random(&t->seed, sizeof(t->seed));
        resize(t, MIN_BUCKETS);
    } else if (t->n >= t->n_buckets)
        resize(t, t->n_buckets * 2);
    node->key = key;
    node->key_len = (uint32_t)len;
    node->hash = hash(t->seed, key, len);
    struct table_node **slot = &t->buckets[node->hash & (t->n_buckets - 1)];
    node->next = *slot;
    *slot = node;
    t->n++;
}

void
table_remove(struct table *t, struct table_node *node)
{
    struct table_node **slot = &t->buckets[node->hash & (t->n_buckets - 1)];

    while (*slot != node)
        slot = &(*slot)->next;
    *slot = node->next;
    t->n--;
}

void
table_each(struct table *t, void (*fn)(struct table_node *, void *), void *arg)
{
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct table_node *node = t->buckets[i], *next; node; node = next) {
            next = node->next;
            fn(node, arg);
        }
    /* Shrinking only here keeps add and remove from moving buckets to and fro at a boundary. */
    size_t fit = t->n_buckets;
    while (fit > MIN_BUCKETS && t->n < fit / 8)
        fit /= 2;
    if (fit != t->n_buckets)
        resize(t, fit);
}

void
table_end(struct table *t)
{
    free(t->buckets);
    *t = (struct table){0};
}
