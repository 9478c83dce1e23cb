/* kept -- see kept.h.  Sets of WAYS slots, chosen by hash; in a set the one that was not asked for the longest is
 * overwritten.  A list is counted by those who use it, so that it is copied without the lock. */
#include "kept.h"

#include "arena.h"
#include "db.h"
#include "jw.h"
#include "req.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The bytes are what is bounded: some 400 pages of 20 orders.  (As many as there are slots would be 40 MB.) */
enum { SETS = 512, WAYS = 4, BYTES = 8 << 20 };

struct kept {
    atomic_int users;
    size_t version_len, list_len;
    char version[];   /* and the list behind it */
};

static struct {
    pthread_mutex_t lock;
    uint64_t clock;
    size_t bytes, hand;   /* of all lists; the slot whose list goes next when they are too many */
    struct slot {
        char key[KEPT_KEY_MAX];
        uint64_t asked;
        struct kept *kept;   /* NULL: empty */
    } slot[SETS][WAYS];
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct slot *
set_of(const char *key)
{
    uint32_t h = 2166136261u;   /* FNV-1a */
    for (const char *s = key; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return table.slot[h % SETS];
}

static size_t
size_of(const struct kept *kept)
{
    return kept != NULL ? sizeof *kept + kept->version_len + kept->list_len : 0;
}

static void
let_go(void *what)
{
    struct kept *kept = what;
    if (kept != NULL && atomic_fetch_sub(&kept->users, 1) == 1)
        free(kept);
}

const char *
kept_while(struct req *r)
{
    return arena_printf(r->arena, " %lld %llu", (long long)(req_now(r) / 3600), (unsigned long long)db_epoch());
}

const struct kept *
kept_find(struct arena *a, const char *key)
{
    struct slot *set = set_of(key);
    struct kept *found = NULL;
    pthread_mutex_lock(&table.lock);
    for (int i = 0; i < WAYS && found == NULL; i++)
        if (set[i].kept != NULL && strcmp(set[i].key, key) == 0) {
            set[i].asked = ++table.clock;
            found = set[i].kept;
            found->users++;
        }
    pthread_mutex_unlock(&table.lock);
    arena_own(a, found, let_go);
    return found;
}

/* The connection over which ROWS came may have been made only then. */
static bool
is_over(struct req *r, const char *key)
{
    const char *now = kept_while(r);
    size_t len = strlen(key), end = strlen(now);
    return len < end || strcmp(key + len - end, now) != 0;
}

bool
kept_is(struct req *r, const char *key, const struct kept *kept, const struct rows *rows)
{
    size_t len;
    const char *version = rows_version(r->arena, rows, &len);
    return !is_over(r, key) && len == kept->version_len && memcmp(version, kept->version, len) == 0;
}

void
kept_write(struct jw *j, const struct kept *kept)
{
    jw_members(j, kept->version + kept->version_len, kept->list_len);
}

/* The slot of KEY, or the one to be given up for it. */
static struct slot *
slot_for(const char *key)
{
    struct slot *set = set_of(key), *s = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].kept != NULL && strcmp(set[i].key, key) == 0)
            return &set[i];
        if (set[i].asked < s->asked)
            s = &set[i];
    }
    return s;
}

/* KEPT instead of what S has; the lock is held. */
static void
hold_instead(struct slot *s, struct kept *kept)
{
    table.bytes += size_of(kept) - size_of(s->kept);
    let_go(s->kept);
    s->kept = kept;
}

/* The others go in turn, until all fit; the lock is held. */
static void
make_room(const struct slot *newest)
{
    for (; table.bytes > BYTES; table.hand = (table.hand + 1) % (SETS * WAYS)) {
        struct slot *s = &table.slot[table.hand / WAYS][table.hand % WAYS];
        if (s != newest)
            hold_instead(s, NULL);
    }
}

void
kept_put(struct arena *a, const char *key, const struct rows *rows, struct jw *j, size_t from)
{
    size_t version_len, end;
    const char *version = rows_version(a, rows, &version_len), *list = jw_text(j, &end) + from;
    if (strlen(key) >= KEPT_KEY_MAX || end - from > KEPT_LIST_MAX)
        return;
    struct kept *kept = malloc(sizeof *kept + version_len + (end - from));
    if (kept == NULL)
        return;
    kept->users = 1;
    kept->version_len = version_len;
    kept->list_len = end - from;
    memcpy(kept->version, version, version_len);
    memcpy(kept->version + version_len, list, kept->list_len);

    pthread_mutex_lock(&table.lock);
    struct slot *s = slot_for(key);
    memcpy(s->key, key, strlen(key) + 1);
    hold_instead(s, kept);
    s->asked = ++table.clock;
    make_room(s);
    pthread_mutex_unlock(&table.lock);
}
