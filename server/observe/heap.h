/* What the process allocator has given out. Any thread; costs some microseconds. */
#ifndef PITH_SERVER_OBSERVE_HEAP_H
#define PITH_SERVER_OBSERVE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that were allocated and not freed; the allocator's own, and what the threads' caches keep
 * of freed memory, are not counted. False, and 0, where the allocator does not say. */
bool pith_heap_allocated(size_t *bytes);

#endif
