/* Oracle of kernels/attn.h: for each query the maximum, then the sums, in double. */
#include "kernels/attn.h"

#include <math.h>

static double score(const float *q, const float *k, size_t head_dim) {
    double sum = 0.0;
    for (size_t d = 0; d < head_dim; d++) {
        sum += (double)q[d] * (double)k[d];
    }
    return sum;
}

static void attend(double *sums, const pk_attn_task *task, size_t i) {
    size_t dim = task->heads * task->head_dim;
    const float *head = task->qkv + task->head * task->head_dim;
    const float *q = head + i * 3 * dim;
    size_t first = task->window < i ? i - task->window : 0;
    size_t last = task->window < task->len - 1 - i ? i + task->window : task->len - 1;
    double top = -INFINITY;
    for (size_t j = first; j <= last; j++) {
        double s = score(q, head + j * 3 * dim + dim, task->head_dim);
        top = s > top || isnan(s) ? s : top;
    }
    double total = 0.0;
    memset(sums, 0, task->head_dim * sizeof *sums);
    for (size_t j = first; j <= last; j++) {
        double p = exp(score(q, head + j * 3 * dim + dim, task->head_dim) - top);
        const float *v = head + j * 3 * dim + 2 * dim;
        total += p;
        for (size_t d = 0; d < task->head_dim; d++) {
            sums[d] += p * (double)v[d];
        }
    }
    for (size_t d = 0; d < task->head_dim; d++) {
        sums[d] /= total;
    }
}

void pk_attn_ref(void *out, pk_dtype out_dtype, const pk_attn_task *task) {
    double sums[PK_ATTN_HEAD_DIM_MAX];
    for (size_t i = task->q_begin; i < task->q_end; i++) {
        attend(sums, task, i);
        size_t at = (i * task->heads + task->head) * task->head_dim;
        for (size_t d = 0; d < task->head_dim; d++) {
            if (out_dtype == PK_F32) {
                ((float *)out)[at + d] = (float)sums[d];
            } else {
                ((uint16_t *)out)[at + d] = pk_bf16_of_f32((float)sums[d]);
            }
        }
    }
}
