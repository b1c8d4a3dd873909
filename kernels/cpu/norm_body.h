/* Body of kernels/norm.h for one ISA; included after its vec header. */
#include "kernels/cpu/math_body.h"
#include "kernels/norm.h"

#include <math.h>

/* The lanes of a row's vector at column d: VW, fewer at the ragged end. */
static inline size_t lanes_at(size_t d, size_t dim) {
    return dim - d < VW ? dim - d : VW;
}

static float row_mean(const float *row, size_t dim) {
    vf sum = v_zero();
    for (size_t d = 0; d < dim; d += VW) {
        sum = v_add(sum, v_load_n(row + d, lanes_at(d, dim)));
    }
    return v_sum(sum) / (float)dim;
}

/* 1 / sqrt(var + eps) */
static float row_scale(const float *row, size_t dim, float mean, float eps) {
    vf sum = v_zero();
    vf center = v_set1(mean);
    for (size_t d = 0; d < dim; d += VW) {
        size_t n = lanes_at(d, dim);
        vf off = v_sub(v_load_n(row + d, n), center);
        off = v_select(v_lane_range(0, (int)n), off, v_zero());
        sum = v_fma(off, off, sum);
    }
    return 1.0f / sqrtf(v_sum(sum) / (float)dim + eps);
}

typedef struct norm_out {
    float *f32;     /* NULL: not wanted */
    uint16_t *bf16; /* NULL: not wanted */
} norm_out;

static void norm_row(norm_out out, float *x_out, const float *row, const float *weight, size_t dim,
                     float eps) {
    float mean = row_mean(row, dim);
    vf scale = v_set1(row_scale(row, dim, mean, eps));
    vf center = v_set1(mean);
    for (size_t d = 0; d < dim; d += VW) {
        size_t n = lanes_at(d, dim);
        vf y = v_mul(v_mul(v_sub(v_load_n(row + d, n), center), scale), v_load_n(weight + d, n));
        if (x_out != NULL) {
            v_store_n(x_out + d, y, n);
        }
        if (out.f32 != NULL) {
            v_store_n(out.f32 + d, y, n);
        } else {
            v_store_bf16_n(out.bf16 + d, y, n);
        }
    }
}

static norm_out out_row(void *out, pk_dtype dtype, size_t at) {
    return dtype == PK_F32 ? (norm_out){.f32 = (float *)out + at}
                           : (norm_out){.bf16 = (uint16_t *)out + at};
}

void PK_ISA(pk_embed_norm)(float *x, void *out, pk_dtype out_dtype, const uint32_t *ids,
                           const void *table, pk_dtype table_dtype, const float *weight,
                           size_t rows, size_t dim, float eps) {
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * dim;
        pk_to_f32(row, table, table_dtype, ids[r] * dim, dim);
        norm_row(out_row(out, out_dtype, r * dim), row, row, weight, dim, eps);
    }
}

void PK_ISA(pk_add_norm)(float *x, void *out, pk_dtype out_dtype, const float *delta,
                         const float *weight, size_t rows, size_t dim, float eps) {
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * dim;
        for (size_t d = 0; d < dim; d += VW) {
            size_t n = lanes_at(d, dim);
            vf sum = v_add(v_load_n(row + d, n), v_load_n(delta + r * dim + d, n));
            v_store_n(row + d, sum, n);
        }
        norm_row(out_row(out, out_dtype, r * dim), NULL, row, weight, dim, eps);
    }
}
