/* One clock pointer, so that tests and the simulator can own time. Any thread. */
#ifndef PITH_BASE_CLOCK_H
#define PITH_BASE_CLOCK_H

#include <stdint.h>

typedef struct pith_clock {
    int64_t (*now_ns)(void *self); /* monotonic nanoseconds */
    void *self;
} pith_clock;

/* CLOCK_MONOTONIC. */
extern const pith_clock pith_clock_system;

static inline int64_t pith_clock_now(const pith_clock *clock) {
    return clock->now_ns(clock->self);
}

/* A deadline that never comes. */
#define PITH_DEADLINE_NONE INT64_MAX

#endif
