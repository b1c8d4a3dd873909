/* Token head, span convolution and gate on a GPU: kernels/heads.h's formulas.
 *
 * The span convolution's product is pk_linear_cuda with a weight packed as
 * PK_LINEAR_CUDA_SPAN_CONV, over the hidden state rounded to 16 bits: conv[r][tap * channels + c]
 * is what row r adds to the row 2 - tap further. pk_heads_cuda does the rest in one pass: the sum
 * of five shifted rows, GELU, the second convolution, the token head and the gate.
 *
 * Not yet measured on a GPU. Runs on sm_80 and later.
 *
 * Numerics: sums in f32 over one fixed chain per row, the gate in double as on the host, f32 out.
 * Rows of other sequences are deselected, not multiplied by zero; a NaN there changes no bit here.
 *
 * Bytes per token 4 * (dim + 16/14 * 5 * channels), channels 256 and dim 768: 8.9 KB, 2.1 ns at
 * 4.3 TB/s (copy, H200); 8,448 tokens take 18 us. FLOPs do not matter. */
#ifndef PK_CUDA_HEADS_H
#define PK_CUDA_HEADS_H

#include "kernels/heads.h"
#include "kernels/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PK_HEADS_CUDA_INVALID = 1 /* cudaErrorInvalidValue */ };

/* All pointers are device memory, aligned to 16 bytes, but `rows` and `saturated` to 4. Outputs
 * alias nothing. Rows from *rows on are neither read nor written. */
typedef struct pk_heads_cuda_task {
    float *z_tok;              /* [rows] f32, out */
    float *z_span;             /* [rows] f32, out */
    float *score;              /* [rows] f32, out */
    const float *hidden;       /* [rows, dim] f32, after the final norm */
    const float *conv;         /* [rows, 5, channels] f32 */
    const uint32_t *positions; /* [rows] position in the sequence: 0, 1, ... from its first row */
    const float *token_weight; /* [2, dim] f32: drop, keep */
    const float *token_bias;   /* [2] f32 */
    const float *conv0_bias;   /* [channels] f32 */
    const float *conv2_weight; /* [channels, 3] f32 */
    const float *conv2_bias;   /* [1] f32 */
    const uint32_t *rows;      /* [1], at most rows_max; read on the device */
    uint32_t rows_max;         /* sizes the grid */
    uint32_t dim;              /* a multiple of 4 */
    uint32_t channels;
    pk_gate gate;
    float gamma;    /* asymmetric gate only */
    uint32_t ctas;  /* the grid's size at most, not 0; each takes tiles in turn */
    bool dependent; /* programmatic dependent launch */
    void *stream;
} pk_heads_cuda_task;

/* 0, PK_HEADS_CUDA_INVALID, or the cudaError_t of the launch; rows_max == 0 launches nothing. */
int pk_heads_cuda(const pk_heads_cuda_task *task);

/* out = x rounded to 16 bits; f16 saturates, counted. For a hidden state that exists in f32 alone
 * (pk_add_norm_cuda can write both). */
typedef struct pk_round_cuda_task {
    void *out;            /* [rows, dim] dtype; aliases nothing */
    const float *x;       /* [rows, dim] f32 */
    const uint32_t *rows; /* [1], at most rows_max; read on the device */
    uint32_t *saturated;  /* [1] added to, or NULL */
    uint32_t rows_max;
    uint32_t dim;   /* a multiple of 4 */
    pk_dtype dtype; /* PK_F16 or PK_BF16 */
    uint32_t ctas;
    bool dependent;
    void *stream;
} pk_round_cuda_task;

int pk_round_cuda(const pk_round_cuda_task *task);

#ifdef __cplusplus
}
#endif

#endif
