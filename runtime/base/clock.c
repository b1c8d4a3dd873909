#include "runtime/base/clock.h"

#include <time.h>

static int64_t system_now(void *self) {
    (void)self;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

const pith_clock pith_clock_system = {.now_ns = system_now, .self = 0};
