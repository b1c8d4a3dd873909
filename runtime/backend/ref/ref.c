/* The oracle backend: every operation by the plain C kernels of kernels/ref, one thread, f32. */
#include "runtime/backend/host.h"

#include "kernels/attn.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "runtime/base/size.h"

#include <stdlib.h>
#include <string.h>

struct pith_ops_ctx {
    pith_host_batch host;
};

/* Row-major f32, or a borrowed table. */
struct pith_packed {
    const void *data;
    float *owned;
    pk_dtype dtype;
    size_t rows;
    size_t cols;
    uint32_t n_heads;
};

static pith_status ref_pack(pith_ops_ctx *ctx, const pith_matrix *weight,
                            const pith_pack_opts *opts, pith_packed **packed, pith_err *err) {
    pith_packed *made = calloc(1, sizeof *made);
    *packed = NULL;
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "a weight's header cannot be allocated");
    }
    *made = (pith_packed){.data = weight->data,
                          .dtype = pith_host_dtype(weight->elem),
                          .rows = weight->rows,
                          .cols = weight->cols,
                          .n_heads = opts->n_heads};
    if (opts->kind == PITH_PACK_TABLE) {
        *packed = made;
        return PITH_OK;
    }
    size_t count;
    size_t bytes = 0;
    void *mem = NULL;
    bool fits = pith_size_mul(weight->rows, weight->cols, &count) &&
                pith_size_mul(count, 2 * sizeof(float), &bytes);
    pith_status status = pith_host_alloc(ctx, fits ? bytes : SIZE_MAX, &mem, err);
    if (status != PITH_OK) {
        free(made);
        return status;
    }
    made->owned = mem;
    pk_to_f32(made->owned, weight->data, made->dtype, 0, count);
    if (opts->kind == PITH_PACK_SPAN_CONV) {
        memcpy(made->owned + count, made->owned, count * sizeof(float));
        pk_span_conv_reorder(made->owned, made->owned + count, weight->rows,
                             weight->cols / PK_SPAN_TAPS);
    }
    made->dtype = PK_F32;
    made->data = made->owned;
    *packed = made;
    return PITH_OK;
}

static void ref_packed_free(pith_ops_ctx *ctx, pith_packed *packed) {
    (void)ctx;
    if (packed != NULL) {
        free(packed->owned);
        free(packed);
    }
}

static pith_status ref_reserve(pith_ops_ctx *ctx, const pith_ops_reserve *bounds, pith_err *err) {
    if (bounds->hidden / bounds->n_heads > PK_ATTN_HEAD_DIM_MAX) {
        return pith_fail(err, PITH_UNSUPPORTED, "head dim %u: at most %d",
                         bounds->hidden / bounds->n_heads, PK_ATTN_HEAD_DIM_MAX);
    }
    return pith_host_batch_reserve(&ctx->host, bounds->tokens_max, err);
}

static pith_ops_elems ref_elems(const pith_ops_ctx *ctx) {
    (void)ctx;
    return (pith_ops_elems){.act = sizeof(float), .qkv = sizeof(float)};
}

static bool ref_begin(pith_ops_ctx *ctx, const pith_ops_batch *batch) {
    pith_host_batch_begin(&ctx->host, batch);
    return true;
}

static void ref_embed_norm(pith_ops_ctx *ctx, const pith_op_embed_norm *op) {
    pk_embed_norm_ref(op->x, op->out, PK_F32, ctx->host.batch.ids, op->table->data,
                      op->table->dtype, op->weight, ctx->host.batch.n_tok, op->table->cols,
                      op->eps);
}

static void ref_add_norm(pith_ops_ctx *ctx, const pith_op_add_norm *op) {
    pk_add_norm_ref(op->x, op->out, PK_F32, op->delta, op->weight, ctx->host.batch.n_tok, op->dim,
                    op->eps);
}

static void ref_qkv_rope(pith_ops_ctx *ctx, const pith_op_qkv_rope *op) {
    const pith_packed *w = op->weight;
    pk_qkv_rope_ref(op->qkv, op->act, w->data, op->rope, ctx->host.positions, ctx->host.batch.n_tok,
                    w->n_heads, w->rows / w->n_heads / 6, w->cols);
}

static void ref_attn(pith_ops_ctx *ctx, const pith_op_attn *op) {
    size_t dim = (size_t)op->n_heads * op->head_dim;
    const pith_ops_batch *batch = &ctx->host.batch;
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        size_t first = batch->cu_seqlens[s];
        size_t len = batch->cu_seqlens[s + 1] - first;
        for (uint32_t h = 0; h < op->n_heads; h++) {
            pk_attn_task task = {
                .qkv = (const float *)op->qkv + first * 3 * dim,
                .len = len,
                .heads = op->n_heads,
                .head = h,
                .head_dim = op->head_dim,
                .window = op->window == PITH_OPS_WINDOW_GLOBAL ? PK_ATTN_GLOBAL : op->window,
                .q_begin = 0,
                .q_end = len,
            };
            pk_attn_ref((float *)op->out + first * dim, PK_F32, &task);
        }
    }
}

static void ref_linear(pith_ops_ctx *ctx, const pith_op_linear *op) {
    pk_linear_ref(op->out, op->act, op->weight->data, ctx->host.batch.n_tok, op->weight->rows,
                  op->weight->cols);
}

static void ref_geglu(pith_ops_ctx *ctx, const pith_op_geglu *op) {
    pk_geglu_ref(op->out, op->act, op->weight->data, ctx->host.batch.n_tok, op->weight->rows / 2,
                 op->weight->cols);
}

static void ref_heads(pith_ops_ctx *ctx, const pith_op_heads *op) {
    const pith_ops_batch *batch = &ctx->host.batch;
    pk_heads_weights weights = {
        .token_weight = op->token_weight,
        .token_bias = op->token_bias,
        .conv0_rows = op->conv0->data,
        .conv0_bias = op->conv0_bias,
        .conv2_weight = op->conv2_weight,
        .conv2_bias = op->conv2_bias,
        .dim = op->dim,
        .channels = op->channels,
        .gate = pith_host_gate(op->gate),
        .gamma = op->gamma,
    };
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        size_t first = batch->cu_seqlens[s];
        size_t len = batch->cu_seqlens[s + 1] - first;
        pk_heads_task task = {
            .z_tok = op->z_tok + first,
            .z_span = op->z_span + first,
            .score = op->score + first,
            .hidden = op->hidden + first * op->dim,
            .len = len,
            .begin = 0,
            .end = len,
        };
        pk_heads_ref(&task, &weights);
    }
}

const pith_ops pith_ops_ref = {
    .name = "ref",
    .steps_in_flight = 1,
    .alloc = pith_host_alloc,
    .free = pith_host_free,
    .copy_in = pith_host_copy,
    .copy_out = pith_host_copy,
    .sync = pith_host_sync,
    .mark = pith_host_mark,
    .wait = pith_host_wait,
    .saturated = pith_host_saturated,
    .pack_weight = ref_pack,
    .packed_free = ref_packed_free,
    .reserve = ref_reserve,
    .elems = ref_elems,
    .begin = ref_begin,
    .end = pith_host_end,
    .forget = pith_host_forget,
    .embed_norm = ref_embed_norm,
    .add_norm = ref_add_norm,
    .linear_qkv_rope = ref_qkv_rope,
    .attn = ref_attn,
    .linear = ref_linear,
    .linear_geglu = ref_geglu,
    .heads_gate = ref_heads,
};

pith_status pith_ref_open(pith_device *device, const pith_device_opts *opts, pith_err *err) {
    if (opts->dtype != NULL && strcmp(opts->dtype, "f32") != 0) {
        return pith_fail(err, PITH_UNSUPPORTED, "isa \"ref\" computes in f32, not %s", opts->dtype);
    }
    pith_ops_ctx *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "the ref backend cannot be allocated");
    }
    *device = (pith_device){
        .ops = &pith_ops_ref,
        .ctx = ctx,
        .device = "cpu",
        .dtype = "f32",
        .isa = "ref",
        .n_threads = 1,
    };
    return PITH_OK;
}

void pith_ref_close(pith_ops_ctx *ctx) {
    if (ctx != NULL) {
        free(ctx->host.positions);
        free(ctx);
    }
}
