/* address -- who has how many sessions: the limits of engineio_settings, per client address. */
#include "engineio_private.h"

#include "must.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define FORGET_MS 60000 /* an address' bucket is full again by then */

struct address {
    struct table_node by_key;
    struct lapse_node forgetting; /* since its last session went */
    unsigned char     key[16];
    unsigned          sessions;
    double            tokens; /* handshakes that are left to it: a bucket that fills in a minute */
    int64_t           filled_us;
};

/* IPv4 as an IPv4-mapped address, IPv6 as its /64, which is what one customer has. */
static void
address_key(unsigned char key[16], const char *text)
{
    memset(key, 0, 16);
    if (inet_pton(AF_INET, text, key + 12) == 1) {
        key[10] = key[11] = 0xff;
        return;
    }
    if (inet_pton(AF_INET6, text, key) == 1)
        memset(key + 8, 0, 8);
}

struct address *
address_of(struct engineio *server, const char *text)
{
    unsigned char key[16];

    address_key(key, text);
    struct table_node *found = table_find(&server->addresses, key, sizeof(key));
    if (found)
        return TABLE_OWNER(found, struct address, by_key);

    struct address *a = must_alloc(sizeof(*a));
    memcpy(a->key, key, sizeof(key));
    a->tokens = server->settings.opens_per_address_minute;
    a->filled_us = clock_us();
    table_add(&server->addresses, &a->by_key, a->key, sizeof(a->key));
    lapse_add(&server->forgetting, &a->forgetting, a->filled_us);
    return a;
}

static void
forget(struct lapse_queue *q, struct lapse_node *node)
{
    struct engineio *server = q->owner;
    struct address  *a = TABLE_OWNER(node, struct address, forgetting);

    table_remove(&server->addresses, &a->by_key);
    free(a);
}

bool
address_admit(struct engineio *server, const char *text)
{
    const struct engineio_settings *set = &server->settings;
    struct address                 *a = address_of(server, text);
    int64_t                         now_us = clock_us();

    if (set->sessions_per_address && a->sessions >= set->sessions_per_address)
        return false;
    if (!set->opens_per_address_minute)
        return true;
    a->tokens += (double)(now_us - a->filled_us) * set->opens_per_address_minute / 60e6;
    if (a->tokens > set->opens_per_address_minute)
        a->tokens = set->opens_per_address_minute;
    a->filled_us = now_us;
    if (!a->sessions)
        lapse_add(&server->forgetting, &a->forgetting, now_us);
    if (a->tokens < 1)
        return false;
    a->tokens -= 1;
    return true;
}

void
address_take(struct address *a)
{
    a->sessions++;
    lapse_remove(&a->forgetting);
}

void
address_give_back(struct engineio *server, struct address *a)
{
    if (--a->sessions == 0)
        lapse_add(&server->forgetting, &a->forgetting, clock_us());
}

void
address_begin(struct engineio *server)
{
    lapse_begin(&server->forgetting, server->loop, FORGET_MS, forget, server);
}

static void
drop(struct table_node *node, void *arg)
{
    struct address *a = TABLE_OWNER(node, struct address, by_key);

    lapse_remove(&a->forgetting);
    table_remove(arg, node);
    free(a);
}

void
address_end(struct engineio *server)
{
    table_each(&server->addresses, drop, &server->addresses);
    table_end(&server->addresses);
    lapse_end(&server->forgetting);
}
