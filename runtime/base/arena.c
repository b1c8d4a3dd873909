#include "runtime/base/arena.h"

#include "runtime/base/size.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_BYTES = 64 };

struct pith_arena_chunk {
    pith_arena_chunk *next;
    size_t used; /* bytes of `data`, a multiple of ALIGN_BYTES */
    size_t size;
    _Alignas(ALIGN_BYTES) unsigned char data[];
};

void pith_arena_init(pith_arena *arena, size_t bytes_max) {
    *arena = (pith_arena){.bytes_max = bytes_max};
}

static pith_arena_chunk *chunk_new(size_t size) {
    size_t total;
    if (!pith_size_add(size, sizeof(pith_arena_chunk), &total)) {
        return NULL;
    }
    pith_arena_chunk *chunk = aligned_alloc(ALIGN_BYTES, total);
    if (chunk != NULL) {
        *chunk = (pith_arena_chunk){.size = size};
    }
    return chunk;
}

void *pith_arena_alloc(pith_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!pith_size_mul(count, size, &bytes) || !pith_size_add(bytes, ALIGN_BYTES - 1, &bytes)) {
        return NULL;
    }
    bytes &= ~(size_t)(ALIGN_BYTES - 1);
    if (bytes > arena->bytes_max - arena->bytes_used) {
        return NULL;
    }
    pith_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < bytes) {
        size_t least = chunk == NULL ? PITH_ARENA_FIRST_BYTES : PITH_ARENA_CHUNK_BYTES;
        chunk = chunk_new(bytes > least ? bytes : least);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *out = chunk->data + chunk->used;
    chunk->used += bytes;
    arena->bytes_used += bytes;
    return out;
}

void *pith_arena_calloc(pith_arena *arena, size_t count, size_t size) {
    void *out = pith_arena_alloc(arena, count, size);
    if (out != NULL) {
        memset(out, 0, count * size);
    }
    return out;
}

void pith_arena_reset(pith_arena *arena) {
    while (arena->chunks != NULL) {
        pith_arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    arena->bytes_used = 0;
}
