/* Embedding + LayerNorm and residual + LayerNorm on a GPU: kernels/norm.h's formulas, without bias.
 *
 * Not yet measured on a GPU. Runs on sm_80 and later.
 *
 * Numerics: the residual stream, the statistics and the normed value are f32, over one fixed chain
 * per row, so a row's bits depend on that row alone. Only the 16-bit output is rounded. f16
 * saturates: a magnitude above 65,504 becomes 65,504 and is counted; a NaN stays a NaN.
 *
 * Bytes per row and element: embed 4 or 2 read, 4 + 2 written; add 8 read, 4 + 2 written (or 4 for
 * the f32 output): 14 B x 768 = 10.8 KB, which 4.3 TB/s (copy, H200) moves in 2.5 ns; 8,448 rows
 * take 21 us. FLOPs do not matter. */
#ifndef PK_CUDA_NORM_H
#define PK_CUDA_NORM_H

#include "kernels/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PK_NORM_CUDA_DIM_MAX = 1024, /* eight float4 of a lane; a multiple of 4 */
    PK_NORM_CUDA_CTAS = 3,       /* on a multiprocessor, by registers, up to dim 768; a grid of so
                                    many times the multiprocessors is one wave */
    PK_NORM_CUDA_INVALID = 1     /* cudaErrorInvalidValue */
};

/* All pointers are device memory, aligned to 16 bytes, but `rows` and `saturated` to 4. Outputs
 * alias nothing, except that out_f32 may be `delta`. Rows from *rows on are neither read nor
 * written. */
typedef struct pk_norm_cuda_task {
    float *x;             /* [rows, dim] f32, the residual stream: embed out; add in and out */
    void *out;            /* [rows, dim] dtype, or NULL */
    float *out_f32;       /* [rows, dim] f32, or NULL; both may be asked for */
    const uint32_t *ids;  /* embed: [rows], each below the table's rows */
    const void *table;    /* embed: [vocab, dim] of table_dtype */
    const float *delta;   /* add: [rows, dim] f32 */
    const float *weight;  /* [dim] f32 */
    const uint32_t *rows; /* [1], at most rows_max; read on the device */
    uint32_t *saturated;  /* [1] added to: f16 values that did not fit; or NULL */
    uint32_t rows_max;    /* sizes the grid */
    uint32_t dim;         /* a multiple of 4, at most PK_NORM_CUDA_DIM_MAX */
    float eps;
    pk_dtype dtype;       /* PK_F16 or PK_BF16: of out */
    pk_dtype table_dtype; /* any */
    uint32_t ctas;        /* the grid's size at most, not 0; each takes rows in turn */
    bool dependent;       /* programmatic dependent launch */
    void *stream;
} pk_norm_cuda_task;

/* x = y(table[ids]); out = x. 0, PK_NORM_CUDA_INVALID, or the cudaError_t of the launch;
 * rows_max == 0 launches nothing. */
int pk_embed_norm_cuda(const pk_norm_cuda_task *task);

/* x += delta; out = y(x). */
int pk_add_norm_cuda(const pk_norm_cuda_task *task);

#ifdef __cplusplus
}
#endif

#endif
