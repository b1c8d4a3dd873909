/* Oracle of kernels/norm.h: double accumulators, two passes. */
#include "kernels/norm.h"

#include <math.h>

typedef struct moments {
    double mean;
    double scale; /* 1 / sqrt(var + eps) */
} moments;

static moments row_moments(const float *x, size_t dim, float eps) {
    double sum = 0.0;
    for (size_t d = 0; d < dim; d++) {
        sum += x[d];
    }
    double mean = sum / (double)dim;
    double squares = 0.0;
    for (size_t d = 0; d < dim; d++) {
        squares += (x[d] - mean) * (x[d] - mean);
    }
    return (moments){mean, 1.0 / sqrt(squares / (double)dim + (double)eps)};
}

static float normed(moments m, float x, float weight) {
    return (float)((x - m.mean) * m.scale * (double)weight);
}

static void store(void *out, pk_dtype dtype, size_t at, float y) {
    if (dtype == PK_F32) {
        ((float *)out)[at] = y;
    } else {
        ((uint16_t *)out)[at] = pk_bf16_of_f32(y);
    }
}

void pk_embed_norm_ref(float *x, void *out, pk_dtype out_dtype, const uint32_t *ids,
                       const void *table, pk_dtype table_dtype, const float *weight, size_t rows,
                       size_t dim, float eps) {
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * dim;
        pk_to_f32(row, table, table_dtype, ids[r] * dim, dim);
        moments m = row_moments(row, dim, eps);
        for (size_t d = 0; d < dim; d++) {
            row[d] = normed(m, row[d], weight[d]);
            store(out, out_dtype, r * dim + d, row[d]);
        }
    }
}

void pk_add_norm_ref(float *x, void *out, pk_dtype out_dtype, const float *delta,
                     const float *weight, size_t rows, size_t dim, float eps) {
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * dim;
        for (size_t d = 0; d < dim; d++) {
            row[d] += delta[r * dim + d];
        }
        moments m = row_moments(row, dim, eps);
        for (size_t d = 0; d < dim; d++) {
            store(out, out_dtype, r * dim + d, normed(m, row[d], weight[d]));
        }
    }
}
