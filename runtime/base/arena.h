/* Job arena: a bump allocator that grows by chunks and is released in one go.
 *
 * Owns its chunks. One thread at a time. Bounded: over `bytes_max` every allocation fails.
 * Memory is not cleared unless pith_arena_calloc is used. */
#ifndef PITH_BASE_ARENA_H
#define PITH_BASE_ARENA_H

#include <stddef.h>

typedef struct pith_arena_chunk pith_arena_chunk;

typedef struct pith_arena {
    pith_arena_chunk *chunks; /* newest first */
    size_t bytes_used;        /* of all chunks, alignment included */
    size_t bytes_max;
} pith_arena;

/* Chunks are at least this large; a larger request gets a chunk of its own. */
enum {
    PITH_ARENA_CHUNK_BYTES = 64 * 1024,
    /* The first chunk: a short text needs no more, and jemalloc's threads keep blocks up to 32 KiB
     * at hand. */
    PITH_ARENA_FIRST_BYTES = 16 * 1024
};

void pith_arena_init(pith_arena *arena, size_t bytes_max);

/* `count` elements of `size` bytes, aligned to 64 (a cache line, and an AVX-512 register).
 * NULL when count * size overflows, the arena is over its bound or the allocator refuses;
 * a request of zero bytes returns a valid pointer. */
void *pith_arena_alloc(pith_arena *arena, size_t count, size_t size);
void *pith_arena_calloc(pith_arena *arena, size_t count, size_t size);

/* Frees every chunk; the arena can be used again. */
void pith_arena_reset(pith_arena *arena);

#endif
