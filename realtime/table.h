/* table -- an intrusive hash table of byte strings.
 *
 * Nodes live inside the caller's structures and point to a key there; the table allocates only its
 * buckets, which grow as needed and shrink in table_each.  The hash is seeded from the kernel's random numbers, so that
 * nobody outside can choose keys that collide.  Not for several threads. */
#ifndef REALTIME_TABLE_H
#define REALTIME_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_node {
    struct table_node *next;
    const void        *key;
    uint32_t           hash;
    uint32_t           key_len;
};

struct table {
    struct table_node **buckets;
    size_t              n, n_buckets; /* n_buckets is zero or a power of two */
    uint64_t            seed;
};

/* The node with that key, or NULL. */
struct table_node *table_find(const struct table *t, const void *key, size_t len);

/* Adds a node under a key that is not in there yet and that stays where it is as long as the node.
 * Ends the process when there is no memory. */
void table_add(struct table *t, struct table_node *node, const void *key, size_t len);

/* Takes out a node that is in there. */
void table_remove(struct table *t, struct table_node *node);

/* Calls fn for each node; fn may take out (and free) the node that it is given. */
void table_each(struct table *t, void (*fn)(struct table_node *, void *), void *arg);

/* Frees the buckets, not the nodes. */
void table_end(struct table *t);

#define TABLE_OWNER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
