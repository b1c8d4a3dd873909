/* Body of kernels/heads.h for one ISA; included after its vec header. */
#include "kernels/cpu/tile_body.h"
#include "kernels/heads.h"

/* h [rows + 6, dim]: the task's rows with three on each side, zero outside the sequence. */
static void stage_hidden(float *h, const pk_heads_task *task, size_t dim) {
    size_t rows = task->end - task->begin + 2 * PK_SPAN_HALO;
    for (size_t i = 0; i < rows; i++) {
        size_t row = task->begin + i; /* plus PK_SPAN_HALO */
        if (row < PK_SPAN_HALO || row - PK_SPAN_HALO >= task->len) {
            memset(h + i * dim, 0, dim * sizeof *h);
        } else {
            memcpy(h + i * dim, task->hidden + (row - PK_SPAN_HALO) * dim, dim * sizeof *h);
        }
    }
}

/* g row i belongs to sequence row begin - 1 + i. Its five input rows lie one after the other in h,
 * so the convolution is a product over k = 5 * dim. */
static void span_features(float *g, const float *h, const pk_heads_task *task,
                          const pk_heads_weights *w) {
    size_t rows = task->end - task->begin + 2;
    for (size_t p = 0; p < w->conv0->n_panels; p++) {
        pk_panel_columns cols = pk_panel_columns_of(w->conv0, p);
        const float *b = (const float *)w->conv0->data + p * w->conv0->k * 2 * VW;
        vf bias_lo = v_load_n(w->conv0_bias + cols.lo, cols.lo_valid);
        vf bias_hi =
            cols.hi_valid > 0 ? v_load_n(w->conv0_bias + cols.hi, cols.hi_valid) : v_zero();
        for (size_t row = 0; row < rows; row += PK_MR) {
            const float *a[PK_MR];
            tile t;
            tile_rows(a, h, w->dim, row, rows);
            tile_zero(&t);
            tile_f32(&t, a, b, 2 * VW, w->conv0->k);
            for (size_t r = 0; r < PK_MR && row + r < rows; r++) {
                float *out = g + (row + r) * w->channels;
                v_store_n(out + cols.lo, v_gelu(v_add(t.at[r][0], bias_lo)), cols.lo_valid);
                if (cols.hi_valid > 0) {
                    v_store_n(out + cols.hi, v_gelu(v_add(t.at[r][1], bias_hi)), cols.hi_valid);
                }
            }
        }
    }
    if (task->begin == 0) {
        memset(g, 0, w->channels * sizeof *g);
    }
    if (task->end == task->len) {
        memset(g + (rows - 1) * w->channels, 0, w->channels * sizeof *g);
    }
}

/* Three neighbouring rows of g with the second convolution; each tap's chain ascends in c. */
static float span_logit(const float *g, const pk_heads_weights *w) {
    double sums[3] = {0.0, 0.0, 0.0};
    for (size_t c = 0; c < w->channels; c++) {
        for (size_t tap = 0; tap < 3; tap++) {
            sums[tap] += (double)w->conv2_weight[c * 3 + tap] * (double)g[tap * w->channels + c];
        }
    }
    return (float)(w->conv2_bias[0] + (sums[0] + sums[1] + sums[2]));
}

static float token_logit(const float *h, const pk_heads_weights *w) {
    vf drop = v_zero();
    vf keep = v_zero();
    for (size_t d = 0; d < w->dim; d += VW) {
        size_t n = w->dim - d < VW ? w->dim - d : VW;
        vf x = v_load_n(h + d, n);
        drop = v_fma(x, v_load_n(w->token_weight + d, n), drop);
        keep = v_fma(x, v_load_n(w->token_weight + w->dim + d, n), keep);
    }
    return (v_sum(keep) + w->token_bias[1]) - (v_sum(drop) + w->token_bias[0]);
}

void PK_ISA(pk_heads)(const pk_heads_task *task, const pk_heads_weights *w) {
    float *h = task->scratch;
    float *g = h + (PK_HEADS_ROWS + 2 * PK_SPAN_HALO) * w->dim;
    if (task->begin == task->end) {
        return;
    }
    stage_hidden(h, task, w->dim);
    span_features(g, h, task, w);
    for (size_t row = task->begin; row < task->end; row++) {
        float z_tok = token_logit(task->hidden + row * w->dim, w);
        float z_span = span_logit(g + (row - task->begin) * w->channels, w);
        task->z_tok[row] = z_tok;
        task->z_span[row] = z_span;
        task->score[row] = pk_gate_score(w->gate, w->gamma, z_tok, z_span);
    }
}
