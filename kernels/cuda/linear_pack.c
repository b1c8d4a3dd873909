/* Contract: kernels/cuda/linear_pack.h. */
#include "kernels/cuda/linear_pack.h"

#include "kernels/heads.h"

#include <math.h>

enum { DIM_MAX = 1 << 24, K_STEP = 16 };

/* n must be a multiple. */
static size_t multiple_of(pk_linear_cuda_kind kind) {
    return kind == PK_LINEAR_CUDA_QKV ? 3 * 64 : kind == PK_LINEAR_CUDA_GEGLU ? 64 : 16;
}

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
    return shape->n % multiple_of(kind) == 0 && shape->k % K_STEP == 0;
}

/* Where element (row, 0) of the packed weight comes from, and how far apart its elements lie. */
typedef struct source {
    size_t first;
    size_t step;
} source;

static source source_of(size_t row, pk_linear_cuda_kind kind, pk_linear_cuda_shape shape) {
    size_t q = row / 8, lane = row % 8 / 2, e = row % 2; /* as in the header */
    if (kind == PK_LINEAR_CUDA_GEGLU) {
        size_t output = row / 64 * 32 + lane * 8 + q % 8 / 2 * 2 + e;
        return (source){(q % 2 * (shape.n / 2) + output) * shape.k, 1};
    }
    size_t tiles = kind == PK_LINEAR_CUDA_QKV ? 4 : 2; /* of 8 rows, in a group */
    size_t output = row / (8 * tiles) * (8 * tiles) + lane * 2 * tiles + q % tiles * 2 + e;
    if (kind == PK_LINEAR_CUDA_SPAN_CONV) {
        size_t channels = shape.n / PK_SPAN_TAPS, tap = output / channels;
        return (source){output % channels * shape.k * PK_SPAN_TAPS + tap, PK_SPAN_TAPS};
    }
    return (source){output * shape.k, 1};
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
