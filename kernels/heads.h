/* Token head, span convolution and gate, over the hidden state after the final norm.
 *
 *   z_tok  = (w_keep . h + b_keep) - (w_drop . h + b_drop)
 *   g[c]   = gelu(b0[c] + sum over tap 0..4, d of w0[c][d][tap] h[t + tap - 2][d])
 *   z_span = b2 + sum over tap 0..2, c of w2[c][tap] g[t + tap - 1][c]
 *
 * where h and g are zero outside the sequence (g is not gelu(b0) there: torch pads with zeros).
 * With p = sigma(z_tok), s = sigma(z_span):
 *   multiplicative  score = p (0.5 + 0.5 s)
 *   asymmetric      score = 1 - sigma(-z_tok - gamma softplus(z_span)) = sigma(z_tok + gamma
 * softplus(z_span)) or-boost        score = max(p, 0.5 + (s - 0.5) / 2 where 0.3 < p <= 0.5 and s >
 * 0.5) A z that is NaN makes the score NaN. FLOPs per token: 2 dim (5 channels + 2) + 6 channels.
 */
#ifndef PK_HEADS_H
#define PK_HEADS_H

#include "kernels/linear.h"
#include "kernels/types.h"

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pk_gate { PK_GATE_MULTIPLICATIVE, PK_GATE_ASYMMETRIC, PK_GATE_OR_BOOST } pk_gate;

PK_HOST_DEVICE static inline double pk_sigmoid(double z) {
    return 1.0 / (1.0 + exp(-z));
}

PK_HOST_DEVICE static inline double pk_softplus(double z) {
    return (z > 0.0 ? z : 0.0) + log1p(exp(-fabs(z)));
}

/* The gate itself, once for every backend: double inside, f32 out. */
PK_HOST_DEVICE static inline float pk_gate_score(pk_gate gate, float gamma, float z_tok,
                                                 float z_span) {
    double p = pk_sigmoid(z_tok);
    double s = pk_sigmoid(z_span);
    if (isnan(p) || isnan(s)) {
        return NAN;
    }
    if (gate == PK_GATE_MULTIPLICATIVE) {
        return (float)(p * (0.5 + 0.5 * s));
    }
    if (gate == PK_GATE_ASYMMETRIC) {
        return (float)pk_sigmoid((double)z_tok + (double)gamma * pk_softplus(z_span));
    }
    double boosted = p > 0.3 && p <= 0.5 && s > 0.5 ? 0.5 + (s - 0.5) / 2.0 : 0.0;
    return (float)fmax(p, boosted);
}

typedef struct pk_heads_weights {
    const float *token_weight; /* [2, dim]: drop, keep */
    const float *token_bias;   /* [2] */
    const pk_panels *conv0;    /* cpu: [channels, 5 * dim] f32, element [c][tap * dim + d] */
    const float *conv0_rows;   /* ref: the same, row-major */
    const float *conv0_bias;   /* [channels] */
    const float *conv2_weight; /* [channels, 3] */
    const float *conv2_bias;   /* [1] */
    size_t dim;
    size_t channels;
    pk_gate gate;
    float gamma;
} pk_heads_weights;

/* Rows [begin, end) of one sequence, at most PK_HEADS_ROWS; hidden, z_tok, z_span and score point
 * at the sequence's first row. scratch: pk_heads_scratch_floats f32, aligned to 64 bytes. */
typedef struct pk_heads_task {
    float *z_tok;
    float *z_span;
    float *score;
    const float *hidden; /* [len, dim] f32 */
    size_t len;
    size_t begin;
    size_t end;
    float *scratch;
} pk_heads_task;

enum {
    PK_HEADS_ROWS = 94, /* two rows of g beside the task's own make PK_ROW_BLOCK */
    PK_SPAN_TAPS = 5,
    PK_SPAN_HALO = 3 /* rows of h on each side that z_span depends on */
};

static inline size_t pk_heads_scratch_floats(size_t dim, size_t channels) {
    return (PK_HEADS_ROWS + 2 * PK_SPAN_HALO) * dim /* h with zero rows outside the sequence */
           + (PK_HEADS_ROWS + 2) * channels;        /* g */
}

typedef void pk_heads_fn(const pk_heads_task *task, const pk_heads_weights *weights);

pk_heads_fn pk_heads_ref, pk_heads_avx2, pk_heads_avx512;

/* [channels, dim * 5] as Conv1d stores it -> [channels, 5 * dim], element [c][tap * dim + d]. */
void pk_span_conv_reorder(float *out, const float *weight, size_t channels, size_t dim);

#ifdef __cplusplus
}
#endif

#endif
