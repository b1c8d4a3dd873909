/* Oracle of kernels/linear.h: double accumulators over row-major f32. */
#include "kernels/linear.h"

#include <math.h>

static double dot(const float *a, const float *b, size_t k) {
    double sum = 0.0;
    for (size_t i = 0; i < k; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static double gelu(double a) {
    return 0.5 * a * (1.0 + erf(a * M_SQRT1_2));
}

void pk_linear_ref(float *out, const float *act, const float *weight, size_t rows, size_t n,
                   size_t k) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < n; c++) {
            out[r * n + c] = (float)dot(act + r * k, weight + c * k, k);
        }
    }
}

void pk_geglu_ref(float *out, const float *act, const float *weight, size_t rows, size_t n,
                  size_t k) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < n; c++) {
            double value = dot(act + r * k, weight + c * k, k);
            double gate = dot(act + r * k, weight + (n + c) * k, k);
            out[r * n + c] = (float)(gelu(value) * gate);
        }
    }
}

void pk_qkv_rope_ref(float *out, const float *act, const float *weight, const float *rope,
                     const uint32_t *positions, size_t rows, size_t heads, size_t half, size_t k) {
    double q_scale = 1.0 / sqrt(2.0 * (double)half);
    size_t n = 6 * heads * half;
    for (size_t r = 0; r < rows; r++) {
        const float *table = rope + positions[r] * 2 * half;
        for (size_t g = 0; g < 3 * heads; g++) { /* heads of q, then of k, then of v */
            for (size_t d = 0; d < half; d++) {
                size_t lo = g * 2 * half + d;
                double a = dot(act + r * k, weight + lo * k, k);
                double b = dot(act + r * k, weight + (lo + half) * k, k);
                double cosine = g < 2 * heads ? table[d] : 1.0;
                double sine = g < 2 * heads ? table[half + d] : 0.0;
                double scale = g < heads ? q_scale : 1.0;
                out[r * n + lo] = (float)(scale * (a * cosine - b * sine));
                out[r * n + lo + half] = (float)(scale * (b * cosine + a * sine));
            }
        }
    }
}
