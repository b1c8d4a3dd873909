/* Attention on a GPU: kernels/attn.h's formula for a batch of packed sequences, head dim 64.
 *
 * Not yet measured on a GPU. PK_ATTN_SAFE runs on sm_80 and later (mma.sync), PK_ATTN_WGMMA on
 * sm_90a (TMA and wgmma; every key only).
 *
 * Numerics: q, k, v, the softmax weights p and the output are f16 or bf16; scores, maxima, sums and
 * accumulators are f32. Tiles start at each sequence's first row; keys ascend, banded in one pass,
 * else in tiles of 64 (SAFE) or 128 (WGMMA) with a running maximum. So a row's bits depend on its
 * sequence and the form alone, never on its neighbours, its place or the grid; SAFE and WGMMA give
 * different bits. Rows past a sequence's end may hold anything: their scores are deselected and
 * their v zeroed. A key outside the window but inside the same sequence has weight 0 times its v: a
 * NaN there can reach queries up to 127 rows away.
 *
 * Roofline, H200, 12 heads, 8,448 rows (790 TFLOP/s and 4.3 TB/s measured; the rest computed):
 *   Bytes: q, k, v and out once, 52 MB, 12 us. From L2 k and v again for each 64 (banded: 3 tiles)
 *   or 128 queries.
 *   Global, one sequence: 4 * 64 FLOPs a pair and head, 219 GFLOP, 278 us at 790 TFLOP/s; one
 *   exponential a pair and head at 16 a clock and multiprocessor takes as long again and bounds
 *   what does not overlap them at 495 TFLOP/s.
 *   Banded: 144 keys a query, 3.7 GFLOP, 5 us; L2 traffic 104 MB, 19 us at 5.5 TB/s, is its limit.
 */
#ifndef PK_CUDA_ATTN_H
#define PK_CUDA_ATTN_H

#include "kernels/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PK_ATTN_CUDA_HEAD_DIM = 64,
    PK_ATTN_CUDA_WINDOW_MAX = 64, /* of the banded form; wider is refused */
    PK_ATTN_CUDA_QUERIES = 128,   /* of one tile of the list */
    PK_ATTN_CUDA_SAFE_CTAS = 3,   /* on a multiprocessor, by registers; a grid of so many times
                                     the multiprocessors is one wave */
    PK_ATTN_CUDA_WGMMA_CTAS = 1,  /* likewise, by registers */
    PK_ATTN_CUDA_INVALID = 1      /* cudaErrorInvalidValue */
};

typedef enum pk_attn_cuda_form { PK_ATTN_SAFE, PK_ATTN_WGMMA } pk_attn_cuda_form;

/* PK_ATTN_CUDA_QUERIES queries of one sequence, fewer at its end. */
typedef struct pk_attn_cuda_tile {
    int32_t begin; /* the sequence's first row */
    int32_t len;   /* its rows */
    int32_t first; /* the tile's first query, a multiple of PK_ATTN_CUDA_QUERIES below len */
    int32_t spare; /* not read: 16 bytes are one load */
} pk_attn_cuda_tile;

/* All pointers are device memory, aligned to 16 bytes, but `n_tiles` to 4. */
typedef struct pk_attn_cuda_task {
    void *out;                      /* [rows_max, heads, 64] dtype; aliases nothing. Rows of no
                                       sequence are not written */
    const void *qkv;                /* [rows_max, 3, heads, 64] dtype; q arrives scaled */
    const pk_attn_cuda_tile *tiles; /* [n_tiles] every query of the batch once, any order */
    const uint32_t *n_tiles;        /* [1], at most tiles_max; read on the device */
    uint32_t tiles_max;
    uint32_t rows_max; /* that may be read; rows_max * 192 * heads below 2^32 */
    uint32_t heads;
    pk_dtype dtype;         /* PK_F16 or PK_BF16 */
    size_t window;          /* at most PK_ATTN_CUDA_WINDOW_MAX, or SIZE_MAX: every key */
    pk_attn_cuda_form form; /* PK_ATTN_WGMMA with a window is refused */
    uint32_t ctas;          /* the grid's size at most, each takes tiles in turn; 0: as many
                               as tiles_max can keep busy */
    bool dependent;         /* programmatic dependent launch */
    void *stream;
} pk_attn_cuda_task;

/* 0, PK_ATTN_CUDA_INVALID, or the cudaError_t of the launch; tiles_max == 0 launches nothing. */
int pk_attn_cuda(const pk_attn_cuda_task *task);

#ifdef __cplusplus
}
#endif

#endif
