#include "asks.h"

#include "db.h"
#include "must.h"

#include <pthread.h>
#include <stdlib.h>

struct list {
    struct ask *first, **last;
};

struct asks {
    struct ev_loop *loop;
    ev_async        news;
    pthread_mutex_t lock;
    pthread_cond_t  work;
    struct list     waiting, finished;
    bool            stopping;
    int             n;
    pthread_t       thread[];
};

static void
append(struct list *l, struct ask *ask)
{
    ask->next = NULL;
    *l->last = ask;
    l->last = &ask->next;
}

static struct ask *
take(struct list *l)
{
    struct ask *ask = l->first;

    if (ask && !(l->first = ask->next))
        l->last = &l->first;
    return ask;
}

static void *
worker(void *arg)
{
    struct asks *asks = arg;
    struct db   *db = db_open();
    struct ask  *ask;

    pthread_mutex_lock(&asks->lock);
    for (;;) {
        while (!asks->stopping && !asks->waiting.first)
            pthread_cond_wait(&asks->work, &asks->lock);
        if (asks->stopping)
            break;
        ask = take(&asks->waiting);
        pthread_mutex_unlock(&asks->lock);
        ask->unanswered = !ask->work(ask, db);
        pthread_mutex_lock(&asks->lock);
        append(&asks->finished, ask);
        ev_async_send(asks->loop, &asks->news);
    }
    pthread_mutex_unlock(&asks->lock);
    db_close(db);
    return NULL;
}

static void
finish(struct list *l)
{
    struct ask *ask;

    while ((ask = take(l)))
        ask->done(ask);
}

static void
finish_some(struct ev_loop *loop, ev_async *w, int revents)
{
    struct asks *asks = w->data;
    struct list  mine = {0};

    (void)loop;
    (void)revents;
    mine.last = &mine.first;
    pthread_mutex_lock(&asks->lock);
    if (asks->finished.first) {
        mine = asks->finished;
        asks->finished.first = NULL;
        asks->finished.last = &asks->finished.first;
    }
    pthread_mutex_unlock(&asks->lock);
    finish(&mine);
}

struct asks *
asks_begin(struct ev_loop *loop, int n)
{
    struct asks *asks = must_alloc(sizeof(*asks) + (size_t)n * sizeof(pthread_t));

    asks->loop = loop;
    asks->waiting.last = &asks->waiting.first;
    asks->finished.last = &asks->finished.first;
    pthread_mutex_init(&asks->lock, NULL);
    pthread_cond_init(&asks->work, NULL);
    ev_async_init(&asks->news, finish_some);
    asks->news.data = asks;
    ev_async_start(loop, &asks->news);
    for (asks->n = 0; asks->n < n; asks->n++)
        if (pthread_create(&asks->thread[asks->n], NULL, worker, asks) != 0)
            abort();
    return asks;
}

void
asks_put(struct asks *asks, struct ask *ask)
{
    pthread_mutex_lock(&asks->lock);
    append(&asks->waiting, ask);
    pthread_cond_signal(&asks->work);
    pthread_mutex_unlock(&asks->lock);
}

void
asks_end(struct asks *asks)
{
    if (!asks)
        return;
    pthread_mutex_lock(&asks->lock);
    asks->stopping = true;
    pthread_cond_broadcast(&asks->work);
    pthread_mutex_unlock(&asks->lock);
    for (int i = 0; i < asks->n; i++)
        pthread_join(asks->thread[i], NULL);
    ev_async_stop(asks->loop, &asks->news);
    for (struct ask *a = asks->waiting.first; a; a = a->next)
        a->unanswered = true;
    finish(&asks->finished);
    finish(&asks->waiting);
    pthread_mutex_destroy(&asks->lock);
    pthread_cond_destroy(&asks->work);
    free(asks);
}
