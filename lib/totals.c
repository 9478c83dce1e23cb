/* totals -- see totals.h.  A small table, overwritten by hash: a forgotten total is counted again. */
#include "totals.h"

#include <pthread.h>
#include <time.h>

enum { SLOTS = 256, KEY_MAX = 200, LIFE_MS = 2000 };

static struct {
    pthread_mutex_t lock;
    struct slot {
        char key[KEY_MAX];
        int64_t total, until_ms;
    } slot[SLOTS];
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int64_t
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct slot *
slot_of(const char *key)
{
    uint32_t h = 2166136261u;   /* FNV-1a */
    for (const char *s = key; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return &table.slot[h % SLOTS];
}

static bool
remembered(const char *key, int64_t *total)
{
    struct slot *s = slot_of(key);
    pthread_mutex_lock(&table.lock);
    bool found = strcmp(s->key, key) == 0 && now_ms() < s->until_ms;
    if (found)
        *total = s->total;
    pthread_mutex_unlock(&table.lock);
    return found;
}

static void
remember(const char *key, int64_t total)
{
    struct slot *s = slot_of(key);
    pthread_mutex_lock(&table.lock);
    snprintf(s->key, sizeof s->key, "%s", key);
    s->total = total;
    s->until_ms = now_ms() + LIFE_MS;
    pthread_mutex_unlock(&table.lock);
}

int64_t
totals_of(struct req *r, const struct page *page, int n, const char *key,
          struct sql *count, const char *const *param, int n_param)
{
    int64_t before = (page->page - 1) * page->limit, total;
    if (n < page->limit && (n > 0 || before == 0))
        return before + n;
    bool keeps = key != NULL && strlen(key) < KEY_MAX;
    if (keeps && remembered(key, &total))
        return total;
    const struct rows *rows = db_row_(r, count, param, n_param, true);
    total = rows_int(rows, 0, "count");
    if (keeps)
        remember(key, total);
    return total;
}
