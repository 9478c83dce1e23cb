/* s3group -- see s3_inside.h.
 *
 * A session is a libcurl multi handle, whose connections stay open for the next group; sessions that nobody uses lie
 * on a list. */
#include "s3_inside.h"

#include "clock.h"

#include <stdlib.h>

struct s3session {
    CURLM *multi;
    struct s3session *next;
};

struct group {
    CURLM *multi;                      /* NULL: there is none to be had */
    struct s3flight *flight;
    size_t n, left, flying;
    int64_t end_ms;
    bool stop, good;
};

static struct s3session *
take_session(struct s3 *s)
{
    struct s3session *c;

    if (!s3curl_ready())
        return NULL;
    pthread_mutex_lock(&s->lock);
    c = s->idle;
    if (c != NULL)
        s->idle = c->next;
    pthread_mutex_unlock(&s->lock);
    if (c != NULL)
        return c;
    c = calloc(1, sizeof *c);
    if (c == NULL || (c->multi = s3curl.multi_init()) == NULL) {
        free(c);
        return NULL;
    }
    s3curl.multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)S3_PARALLEL);
    return c;
}

static void
put_session(struct s3 *s, struct s3session *c)
{
    pthread_mutex_lock(&s->lock);
    c->next = s->idle;
    s->idle = c;
    pthread_mutex_unlock(&s->lock);
}

void
s3group_close(struct s3 *s)
{
    while (s->idle != NULL) {
        struct s3session *c = s->idle;
        s->idle = c->next;
        s3curl.multi_cleanup(c->multi);
        free(c);
    }
}

static void
done(struct group *g, struct s3flight *f, enum s3_result result)
{
    s3flight_end(f, result);
    g->good = g->good && f->call->result == S3_OK;
    g->left--;
}

/* Begin what waits and may fly; what may not any more is done.  Returns in how many ms to look again. */
static int64_t
take_off(struct group *g)
{
    int64_t now = clock_ms(), wait_ms = 1000;

    for (size_t i = 0; i < g->n; i++) {
        struct s3flight *f = &g->flight[i];
        if (f->state != WAITING)
            continue;
        enum s3_result result = g->multi == NULL || now >= g->end_ms ? S3_UNREACHABLE : S3_OK;
        if (g->stop && !g->good)
            result = f->tries > 0 ? S3_UNREACHABLE : S3_SKIPPED;
        else if (result == S3_OK && f->not_before_ms > now) {
            wait_ms = f->not_before_ms - now < wait_ms ? f->not_before_ms - now : wait_ms;
            continue;
        } else if (result == S3_OK && g->flying == S3_PARALLEL)
            break;
        if (result == S3_OK)
            result = s3flight_begin(f, g->multi, g->end_ms - now);
        if (result == S3_OK)
            g->flying++;
        else
            done(g, f, result);
    }
    return wait_ms;
}

/* The flight that libcurl says has ended; NULL when there is none. */
static struct s3flight *
landed(CURLM *multi, CURLcode *code)
{
    int left;
    CURLMsg *msg;

    while ((msg = s3curl.multi_info_read(multi, &left)) != NULL)
        if (msg->msg == CURLMSG_DONE) {
            char *f = NULL;
            *code = msg->data.result;
            s3curl.easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &f);
            s3curl.multi_remove_handle(multi, msg->easy_handle);
            return (struct s3flight *)(void *)f;
        }
    return NULL;
}

/* Let libcurl work, and judge what has ended.  False when nothing has. */
static bool
land(struct group *g)
{
    struct s3flight *f;
    CURLcode code;
    int running;
    bool any = false;

    s3curl.multi_perform(g->multi, &running);
    for (; (f = landed(g->multi, &code)) != NULL; any = true) {
        enum s3_result result;
        int64_t delay_ms = 0;
        g->flying--;
        if (s3flight_judge(f, code, &result, &delay_ms)) {
            f->state = WAITING;
            f->not_before_ms = clock_ms() + delay_ms;
        } else
            done(g, f, result);
    }
    return any;
}

bool
s3group_fly(struct s3 *s, struct s3flight *flights, size_t n, int within_s, bool stop)
{
    struct s3session *session = take_session(s);
    struct group g = { .multi = session != NULL ? session->multi : NULL, .flight = flights, .n = n, .left = n,
                       .end_ms = clock_ms() + (int64_t)within_s * 1000, .stop = stop, .good = true };

    while (g.left > 0) {
        int64_t wait_ms = take_off(&g);   /* without a session nothing is left */
        if (g.left > 0 && !land(&g))
            s3curl.multi_poll(g.multi, NULL, 0, (int)wait_ms, NULL);
    }
    if (session != NULL)
        put_session(s, session);
    return g.good;
}
