/* A table of indices by hash that lives as long as a decision: open addressing in the arena, never
 * more than half full. A search looks at PITH_TABLE_PROBES_MAX places, so that no text makes it
 * slow. */
#ifndef PITH_DECIDE_TABLE_H
#define PITH_DECIDE_TABLE_H

#include "runtime/base/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum { PITH_TABLE_PROBES_MAX = 64 };

typedef struct pith_table {
    uint32_t *slots; /* [mask + 1] index + 1, or 0 */
    uint32_t mask;
} pith_table;

/* For `n` entries at most; false: the arena refuses. */
static inline bool pith_table_init(pith_table *table, pith_arena *arena, size_t n) {
    size_t size = 16;
    while (size < 2 * n) {
        size *= 2;
    }
    table->mask = (uint32_t)(size - 1);
    table->slots = pith_arena_calloc(arena, size, sizeof *table->slots);
    return table->slots != NULL;
}

/* The slot to look at in the probe-th place. */
static inline uint32_t *pith_table_at(const pith_table *table, uint32_t hash, uint32_t probe) {
    return &table->slots[(hash + probe) & table->mask];
}

/* FNV-1a, 64 bits: start, add the bytes, fold to 32. */
#define PITH_HASH_START UINT64_C(14695981039346656037)

static inline uint64_t pith_hash_add(uint64_t hash, unsigned char byte) {
    return (hash ^ byte) * UINT64_C(1099511628211);
}

static inline uint32_t pith_hash_end(uint64_t hash) {
    return (uint32_t)(hash ^ hash >> 32);
}

#endif
