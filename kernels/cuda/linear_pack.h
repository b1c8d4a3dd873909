/* Weights as kernels/cuda/linear.h wants them: [n, k] row-major in f16 or bf16, rows in the order
 * that each product's epilogue needs. Pure functions on host arrays. */
#ifndef PK_CUDA_LINEAR_PACK_H
#define PK_CUDA_LINEAR_PACK_H

#include "kernels/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pk_linear_cuda_kind {
    PK_LINEAR_CUDA_PLAIN, /* source [n, k], rows as they are: linear and qkv_rope */
    PK_LINEAR_CUDA_GEGLU, /* source [n, k]: n / 2 rows to be activated, then n / 2 gates. Packed row
                             16 g + i is activated row 8 g + i, row 16 g + 8 + i its gate, i < 8 */
    PK_LINEAR_CUDA_SPAN_CONV /* source [channels, k * 5], element [c][d * 5 + tap] as Conv1d stores
                                it. Packed row tap * channels + c, element d */
} pk_linear_cuda_kind;

typedef struct pk_linear_cuda_shape {
    size_t n; /* rows of the packed weight */
    size_t k;
} pk_linear_cuda_shape;

/* The packed shape of a source [rows, cols]; false where the kernels cannot multiply it (k no
 * multiple of 16, n of 16, or either 0 or above 2^24). */
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
