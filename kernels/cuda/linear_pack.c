/* Contract: kernels/cuda/linear_pack.h. */
#include "kernels/cuda/linear_pack.h"

#include "kernels/heads.h"

#include <math.h>

enum { DIM_MAX = 1 << 24, GROUP = 8 /* columns of one accumulator tile of mma and wgmma */ };

bool pk_linear_cuda_plan(pk_linear_cuda_shape *shape, pk_linear_cuda_kind kind, size_t rows,
                         size_t cols) {
    if (rows == 0 || cols == 0 || rows > DIM_MAX || cols > DIM_MAX) {
        return false;
    }
    *shape = (pk_linear_cuda_shape){rows, cols};
    if (kind == PK_LINEAR_CUDA_SPAN_CONV) {
        if (cols % PK_SPAN_TAPS != 0) {
            return false;
        }
        *shape = (pk_linear_cuda_shape){rows * PK_SPAN_TAPS, cols / PK_SPAN_TAPS};
    }
    return shape->n % (2 * GROUP) == 0 && shape->k % (2 * GROUP) == 0;
}

/* Where element (row, 0) of the packed weight comes from, and how far apart its elements lie. */
typedef struct source {
    size_t first;
    size_t step;
} source;

static source source_of(size_t row, pk_linear_cuda_kind kind, pk_linear_cuda_shape shape) {
    if (kind == PK_LINEAR_CUDA_SPAN_CONV) {
        size_t channels = shape.n / PK_SPAN_TAPS, tap = row / channels, channel = row % channels;
        return (source){channel * shape.k * PK_SPAN_TAPS + tap, PK_SPAN_TAPS};
    }
    if (kind == PK_LINEAR_CUDA_GEGLU) {
        size_t gate = row / GROUP % 2, index = row / (2 * GROUP) * GROUP + row % GROUP;
        return (source){(gate * (shape.n / 2) + index) * shape.k, 1};
    }
    return (source){row * shape.k, 1};
}

size_t pk_linear_cuda_pack(uint16_t *out, pk_dtype dtype, const void *src, pk_dtype src_dtype,
                           pk_linear_cuda_kind kind, pk_linear_cuda_shape shape) {
    size_t saturated = 0;
    for (size_t row = 0; row < shape.n; row++) {
        source from = source_of(row, kind, shape);
        for (size_t i = 0; i < shape.k; i++) {
            float value;
            pk_to_f32(&value, src, src_dtype, from.first + i * from.step, 1);
            saturated += dtype == PK_F16 && fabsf(value) > PK_F16_MAX;
            out[row * shape.k + i] = dtype == PK_F16 ? pk_f16_of_f32(value) : pk_bf16_of_f32(value);
        }
    }
    return saturated;
}
