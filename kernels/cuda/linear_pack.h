/* Weights as kernels/cuda/linear.h wants them: [n, k] row-major in f16 or bf16, rows in the order
 * that each product's epilogue needs. Pure functions on host arrays. */
#ifndef PK_CUDA_LINEAR_PACK_H
#define PK_CUDA_LINEAR_PACK_H

#include "kernels/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which of a lane's accumulators (kernels/cuda/linear_epilogue.cuh) holds which output is chosen
 * here, so that a lane's outputs lie side by side and leave in stores of 16 bytes. Packed row
 * 8 q + 2 t + e of a group, with t < 4 the lane and e < 2:
 *   PLAIN, SPAN_CONV  groups of 16, q < 2: output 4 t + 2 q + e
 *   QKV               groups of 32 (half a head), q < 4: output 8 t + 2 q + e
 *   GEGLU             groups of 64, q < 8: q even the value, q odd the gate, of output
 *                     8 t + 2 (q / 2) + e of 32 */
typedef enum pk_linear_cuda_kind {
    PK_LINEAR_CUDA_PLAIN,    /* source [n, k] */
    PK_LINEAR_CUDA_QKV,      /* source [n, k], [3, heads, 64] rows */
    PK_LINEAR_CUDA_GEGLU,    /* source [n, k]: n / 2 rows to be activated, then n / 2 gates */
    PK_LINEAR_CUDA_SPAN_CONV /* source [channels, k * 5], element [c][d * 5 + tap] as Conv1d stores
                                it; output tap * channels + c */
} pk_linear_cuda_kind;

typedef struct pk_linear_cuda_shape {
    size_t n; /* rows of the packed weight */
    size_t k;
} pk_linear_cuda_shape;

/* The packed shape of a source [rows, cols]; false where the kernels cannot multiply it: k no
 * multiple of 16, n of 16 (QKV: 192, GEGLU: 64), or either 0 or above 2^24. */
bool pk_linear_cuda_plan(pk_linear_cuda_shape *shape, pk_linear_cuda_kind kind, size_t rows,
                         size_t cols);

/* out [shape.n, shape.k] of dtype (PK_F16, PK_BF16) from src [rows, cols] of src_dtype, rounded to
 * nearest even. Returns how many elements did not fit f16 and were saturated; NaNs stay NaNs. */
size_t pk_linear_cuda_pack(uint16_t *out, pk_dtype dtype, const void *src, pk_dtype src_dtype,
                           pk_linear_cuda_kind kind, pk_linear_cuda_shape shape);

#ifdef __cplusplus
}
#endif

#endif
