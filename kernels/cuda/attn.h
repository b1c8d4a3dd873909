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
    PK_ATTN_CUDA_WINDOW_MAX = 64, /* of the banded form; wider or PK_ATTN_GLOBAL: every key */
    PK_ATTN_CUDA_INVALID = 1      /* cudaErrorInvalidValue */
};

/* All pointers are device memory, aligned to 16 bytes. */
typedef struct pk_attn_cuda_task {
    void *out;             /* [rows, heads, 64] dtype; aliases nothing */
    const void *qkv;       /* [rows, 3, heads, 64] dtype; q arrives scaled */
    const int32_t *starts; /* [sequences + 1] first row of each sequence, ascending, then rows */
    uint32_t sequences;    /* at most 65,535, the grid's limit */
    uint32_t len_max;      /* rows of the longest sequence; times 192 heads below 2^32 */
    uint32_t heads;        /* at most 65,535 */
    pk_dtype dtype;        /* PK_F16 or PK_BF16 */
    size_t window;         /* at most PK_ATTN_CUDA_WINDOW_MAX, or SIZE_MAX: every key */
    bool dependent;        /* programmatic dependent launch */
    void *stream;
} pk_attn_cuda_task;

/* 0, PK_ATTN_CUDA_INVALID, or the cudaError_t of the launch. An empty batch launches nothing. */
int pk_attn_cuda(const pk_attn_cuda_task *task);

#ifdef __cplusplus
}
#endif

#endif
