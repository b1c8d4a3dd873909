#include "server/observe/heap.h"

#include <stddef.h>
#include <stdint.h>

/* jemalloc's, where it is linked: not in the sanitizers' builds. jemalloc(3), "MALLCTL NAMESPACE".
 */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len)
    __attribute__((weak));

static bool read_size(const char *name, size_t *value) {
    size_t len = sizeof *value;
    return mallctl(name, value, &len, NULL, 0) == 0;
}

bool pith_heap_allocated(size_t *bytes) {
    size_t allocated;
    size_t cached;
    size_t internal; /* the allocator's own: each thread's cache, from the thread's first use on */
    uint64_t epoch = 1;
    size_t len = sizeof epoch;
    /* Arena 4096 stands for all of them (MALLCTL_ARENAS_ALL). Statistics are of the last epoch. */
    bool known = mallctl != NULL && mallctl("epoch", &epoch, &len, &epoch, len) == 0 &&
                 read_size("stats.allocated", &allocated) &&
                 read_size("stats.arenas.4096.tcache_bytes", &cached) &&
                 read_size("stats.arenas.4096.internal", &internal);
    *bytes = known && allocated > cached + internal ? allocated - cached - internal : 0;
    return known;
}
