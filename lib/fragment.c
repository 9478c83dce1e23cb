/* fragment -- see fragment.h.  Sets of WAYS slots, chosen by hash; in a set the one that was not asked for the
 * longest is overwritten.  (One slot a hash would let two rows of one page push each other out for ever.) */
#include "fragment.h"

#include <pthread.h>

/* 4,096 listings of the marketplace are about 7 MB. */
enum { SETS = 1024, WAYS = 4, ID_LEN = 36 };

static struct {
    pthread_mutex_t lock;
    uint64_t clock;
    struct slot {
        char id[ID_LEN];
        int64_t edition, hour;
        uint64_t epoch, asked;
        char *members;   /* NULL: empty */
        size_t len, room;
    } slot[SETS][WAYS];
} kept = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct slot *
set_of(const struct fragment_key *key)
{
    uint32_t h = 2166136261u;   /* FNV-1a */
    for (int i = 0; i < ID_LEN; i++)
        h = (h ^ (unsigned char)key->id[i]) * 16777619u;
    return kept.slot[h % SETS];
}

static bool
is_row(const struct slot *s, const struct fragment_key *key)
{
    return s->members != NULL && memcmp(s->id, key->id, ID_LEN) == 0;
}

bool
fragment_open(struct jw *j, const struct fragment_key *key)
{
    struct slot *set = set_of(key);
    bool found = false;
    /* J grows before the lock is taken: where there is no memory for that, the request is left by a jump. */
    jw_reserve(j, FRAGMENT_MAX + 8);
    pthread_mutex_lock(&kept.lock);
    for (int i = 0; i < WAYS && !found; i++)
        if (is_row(&set[i], key) && set[i].edition == key->edition && set[i].hour == key->hour
            && set[i].epoch == key->epoch) {
            set[i].asked = ++kept.clock;
            jw_object(j, NULL);
            jw_members(j, set[i].members, set[i].len);
            found = true;
        }
    pthread_mutex_unlock(&kept.lock);
    return found;
}

void
fragment_keep(const struct fragment_key *key, const char *members, size_t len)
{
    if (len > FRAGMENT_MAX)
        return;
    struct slot *set = set_of(key), *s = &set[0];
    pthread_mutex_lock(&kept.lock);
    for (int i = 0; i < WAYS; i++) {
        if (is_row(&set[i], key)) {   /* its former edition, or the same from another thread */
            s = &set[i];
            break;
        }
        if (set[i].asked < s->asked)
            s = &set[i];
    }
    if (s->room < len) {
        free(s->members);
        s->members = malloc(len);
        s->room = s->members != NULL ? len : 0;
    }
    if (s->members != NULL) {
        memcpy(s->id, key->id, ID_LEN);
        memcpy(s->members, members, len);
        s->edition = key->edition;
        s->hour = key->hour;
        s->epoch = key->epoch;
        s->len = len;
        s->asked = ++kept.clock;
    }
    pthread_mutex_unlock(&kept.lock);
}
