/* clock -- time that only runs forward (CLOCK_MONOTONIC): to measure with and to wait by, never to write down.
 * What is kept is dated by the database. */
#ifndef SELLIKO_CLOCK_H
#define SELLIKO_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since some moment before the process began.  Cannot fail. */
static inline uint64_t
clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The same in microseconds, and in milliseconds. */
static inline int64_t
clock_us(void)
{
    return (int64_t)(clock_ns() / 1000);
}

static inline int64_t
clock_ms(void)
{
    return (int64_t)(clock_ns() / 1000000);
}

#endif
