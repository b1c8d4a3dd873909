/* Attention on a GPU: kernels/attn.h's formula for a batch of packed sequences, head dim 64.
 *
 * Not yet measured on a GPU. Runs on sm_80 and later (mma.sync).
 *
 * Numerics: q, k, v, the softmax weights p and the output are f16 or bf16; scores, maxima, sums and
 * accumulators are f32. Tiles start at each sequence's first row and keys ascend in steps of 16, so
 * a row's bits depend on its sequence alone. Rows of other sequences are never read; what lies past
 * a sequence's end counts as zero rows and is masked. A key outside the window but inside the same
 * sequence has weight 0 times its v: a NaN there can reach queries up to 127 rows away.
 *
 * FLOPs 4 * 64 per pair (i, j), for the banded form 144 / (2 window + 1) times that. */
#ifndef PK_CUDA_ATTN_H
#define PK_CUDA_ATTN_H

#include "kernels/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PK_ATTN_CUDA_HEAD_DIM = 64,
    PK_ATTN_CUDA_QUERIES = 64,    /* of one tile */
    PK_ATTN_CUDA_WINDOW_MAX = 64, /* of the banded form; wider or PK_ATTN_GLOBAL: every key */
    PK_ATTN_CUDA_INVALID = 1      /* cudaErrorInvalidValue */
};

/* PK_ATTN_CUDA_QUERIES queries of one sequence, fewer at its end. */
typedef struct pk_attn_cuda_tile {
    int32_t begin; /* the sequence's first row */
    int32_t len;   /* its rows; times 192 heads below 2^32 */
    int32_t first; /* the tile's first query, a multiple of PK_ATTN_CUDA_QUERIES below len */
    int32_t spare; /* not read: 16 bytes are one load */
} pk_attn_cuda_tile;

/* All pointers are device memory, aligned to 16 bytes, but `n_tiles` to 4. */
typedef struct pk_attn_cuda_task {
    void *out;                      /* [rows, heads, 64] dtype; aliases nothing */
    const void *qkv;                /* [rows, 3, heads, 64] dtype; q arrives scaled */
    const pk_attn_cuda_tile *tiles; /* [n_tiles] every query of the batch once, any order */
    const uint32_t *n_tiles;        /* [1], at most tiles_max; read on the device */
    uint32_t tiles_max;             /* sizes the grid: a CTA without a tile ends at once */
    uint32_t heads;                 /* at most 65,535 */
    pk_dtype dtype;                 /* PK_F16 or PK_BF16 */
    size_t window;                  /* at most PK_ATTN_CUDA_WINDOW_MAX, or SIZE_MAX: every key */
    bool dependent;                 /* programmatic dependent launch */
    void *stream;
} pk_attn_cuda_task;

/* 0, PK_ATTN_CUDA_INVALID, or the cudaError_t of the launch. tiles_max == 0 launches nothing. */
int pk_attn_cuda(const pk_attn_cuda_task *task);

#ifdef __cplusplus
}
#endif

#endif
