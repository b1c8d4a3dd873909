/* Attention within one sequence, banded or global, without a quadratic buffer.
 *
 *   out[i] = sum_j p_ij v_j,  p_ij = softmax over { j : |i - j| <= window } of q_i . k_j
 *
 * q arrives scaled. Keys are taken in chunks that start at multiples of PK_ATTN_CHUNK from the
 * sequence's start, ascending, with a running maximum and sum in f32 (`ref`: double, two passes).
 * avx512bf16 rounds q, k, v and p to bf16 and sums products and p in f32. Scores outside the window
 * are deselected; rows of other sequences are never read.
 * FLOPs 4 * head_dim per pair (i, j). Bytes: q and out once, k and v once per PK_ATTN_QUERIES. */
#ifndef PK_ATTN_H
#define PK_ATTN_H

#include "kernels/types.h"

enum {
    PK_ATTN_CHUNK = 256,   /* keys packed at a time: k and v of head dim 64 take 128 KiB of L2 */
    PK_ATTN_QUERIES = 192, /* queries of one task: packing costs 2 % of its products */
    PK_ATTN_TILE_MAX = 12, /* tallest tile */
    PK_ATTN_HEAD_DIM_MAX = 256
};

#define PK_ATTN_GLOBAL SIZE_MAX

/* One head of one sequence, queries [q_begin, q_end), at most PK_ATTN_QUERIES.
 * qkv [len, 3, heads, head_dim] f32, at the sequence's first row. */
typedef struct pk_attn_task {
    const float *qkv;
    size_t len;
    size_t heads;
    size_t head;
    size_t head_dim; /* even, at most PK_ATTN_HEAD_DIM_MAX */
    size_t window;   /* or PK_ATTN_GLOBAL */
    size_t q_begin;
    size_t q_end;
    float *scratch; /* pk_attn_scratch_floats(head_dim) f32, aligned to 64 bytes */
} pk_attn_task;

/* head_dim rounded up to a panel of two 512-bit vectors. */
static inline size_t pk_attn_padded(size_t head_dim) {
    return (head_dim + 31) / 32 * 32;
}

static inline size_t pk_attn_scratch_floats(size_t head_dim) {
    size_t padded = pk_attn_padded(head_dim);
    return PK_ATTN_CHUNK * padded * 2          /* k transposed, v */
           + PK_ATTN_QUERIES * padded          /* running output */
           + PK_ATTN_QUERIES * 2               /* running maximum and sum */
           + PK_ATTN_TILE_MAX * PK_ATTN_CHUNK; /* scores of one tile */
}

/* out [len, heads * head_dim] of out_dtype (f32, bf16), at the sequence's first row. */
typedef void pk_attn_fn(void *out, pk_dtype out_dtype, const pk_attn_task *task);

pk_attn_fn pk_attn_ref, pk_attn_avx2, pk_attn_avx512, pk_attn_avx512bf16;

#endif
