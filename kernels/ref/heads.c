/* Oracle of kernels/heads.h: every sum in double, g recomputed for each of its three uses. */
#include "kernels/heads.h"

static double token_logit(const float *h, const pk_heads_weights *w, size_t class) {
    double sum = w->token_bias[class];
    for (size_t d = 0; d < w->dim; d++) {
        sum += (double)w->token_weight[class * w->dim + d] * (double)h[d];
    }
    return sum;
}

static double span_feature(const pk_heads_task *task, const pk_heads_weights *w, size_t row,
                           size_t channel) {
    double sum = w->conv0_bias[channel];
    for (size_t tap = 0; tap < PK_SPAN_TAPS; tap++) {
        if (row + tap < 2 || row + tap - 2 >= task->len) {
            continue;
        }
        const float *h = task->hidden + (row + tap - 2) * w->dim;
        const float *weight = w->conv0_rows + (channel * PK_SPAN_TAPS + tap) * w->dim;
        for (size_t d = 0; d < w->dim; d++) {
            sum += (double)weight[d] * (double)h[d];
        }
    }
    return 0.5 * sum * (1.0 + erf(sum * M_SQRT1_2));
}

void pk_heads_ref(const pk_heads_task *task, const pk_heads_weights *w) {
    for (size_t row = task->begin; row < task->end; row++) {
        const float *h = task->hidden + row * w->dim;
        double z_tok = token_logit(h, w, 1) - token_logit(h, w, 0);
        double z_span = w->conv2_bias[0];
        for (size_t tap = 0; tap < 3; tap++) {
            if (row + tap < 1 || row + tap - 1 >= task->len) {
                continue;
            }
            for (size_t c = 0; c < w->channels; c++) {
                double g = span_feature(task, w, row + tap - 1, c);
                z_span += (double)w->conv2_weight[c * 3 + tap] * g;
            }
        }
        task->z_tok[row] = (float)z_tok;
        task->z_span[row] = (float)z_span;
        task->score[row] = pk_gate_score(w->gate, w->gamma, task->z_tok[row], task->z_span[row]);
    }
}

void pk_span_conv_reorder(float *out, const float *weight, size_t channels, size_t dim) {
    for (size_t c = 0; c < channels; c++) {
        for (size_t d = 0; d < dim; d++) {
            for (size_t tap = 0; tap < PK_SPAN_TAPS; tap++) {
                out[(c * PK_SPAN_TAPS + tap) * dim + d] =
                    weight[(c * dim + d) * PK_SPAN_TAPS + tap];
            }
        }
    }
}
