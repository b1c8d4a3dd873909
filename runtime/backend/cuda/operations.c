/* The operations of pith_ops as calls of kernels/cuda. */
#include "runtime/backend/cuda/context.h"

#include "kernels/cuda/heads.h"
#include "kernels/cuda/norm.h"
#include "runtime/backend/cuda/cublaslt.h"
#include "runtime/backend/cuda/kernels.h"
#include "runtime/backend/host.h"

/* Blocks of 256 threads on each SM: as many as their registers (24, 48, 88) let be resident. Not
 * yet measured on a GPU. */
enum { ROUND_CTAS_PER_SM = 8, HEADS_CTAS_PER_SM = 5, FINISH_CTAS_PER_SM = 2 };

static const uint8_t *block_of(const pith_ops_ctx *ctx) {
    return ctx->slots[ctx->slot].device_in;
}

static const uint32_t *rows_of(const pith_ops_ctx *ctx) {
    return (const uint32_t *)(block_of(ctx) + ctx->layout.totals);
}

static const uint32_t *positions_of(const pith_ops_ctx *ctx) {
    return (const uint32_t *)(block_of(ctx) + ctx->layout.positions);
}

static uint32_t ctas(const pith_ops_ctx *ctx, uint32_t per_sm) {
    return (uint32_t)ctx->info.n_sm * per_sm;
}

/* --- norms --- */

static pk_norm_cuda_task norm_task(const pith_ops_ctx *ctx) {
    return (pk_norm_cuda_task){
        .rows = rows_of(ctx),
        .saturated = ctx->saturated,
        .rows_max = ctx->layout.tokens,
        .dtype = ctx->dtype,
        .ctas = ctas(ctx, PK_NORM_CUDA_CTAS),
        .dependent = ctx->dependent,
        .stream = ctx->compute,
    };
}

void cuda_embed_norm(pith_ops_ctx *ctx, const pith_op_embed_norm *op) {
    pk_norm_cuda_task task = norm_task(ctx);
    task.x = op->x;
    task.out = op->out;
    task.ids = (const uint32_t *)(block_of(ctx) + ctx->layout.ids);
    task.table = op->table->data;
    task.table_dtype = op->table->dtype;
    task.weight = op->weight;
    task.dim = (uint32_t)op->table->cols;
    task.eps = op->eps;
    CUDA_LAUNCH(ctx, pk_embed_norm_cuda(&task));
}

void cuda_add_norm(pith_ops_ctx *ctx, const pith_op_add_norm *op) {
    pk_norm_cuda_task task = norm_task(ctx);
    task.x = op->x;
    task.out = op->out_f32 ? NULL : op->out;
    task.out_f32 = op->out_f32 ? op->out : NULL;
    task.delta = op->delta;
    task.weight = op->weight;
    task.dim = op->dim;
    task.eps = op->eps;
    CUDA_LAUNCH(ctx, pk_add_norm_cuda(&task));
}

/* --- products --- */

static pk_linear_cuda_task linear_task(const pith_ops_ctx *ctx, const pith_packed *weight,
                                       void *out, const void *act) {
    pk_linear_cuda_task task = {
        .out = out,
        .act = act,
        .weight = weight->data,
        .rows = rows_of(ctx),
        .saturated = ctx->saturated,
        .rows_max = ctx->layout.tokens,
        .n = (uint32_t)weight->rows,
        .k = (uint32_t)weight->cols,
        .dtype = ctx->dtype,
        .dependent = ctx->dependent,
        .stream = ctx->compute,
    };
    cuda_choose_tile(ctx, weight->kind, &task);
    return task;
}

/* The library's sums, then what its kernels cannot do. */
static void library_product(pith_ops_ctx *ctx, cuda_product product, const pith_packed *weight,
                            const pk_linear_cuda_task *task) {
    static const pk_linear_cuda_form forms[CUDA_PRODUCTS] = {
        [CUDA_PLAIN] = PK_LINEAR_CUDA_FORM_PLAIN,
        [CUDA_GEGLU] = PK_LINEAR_CUDA_FORM_GEGLU,
        [CUDA_QKV] = PK_LINEAR_CUDA_FORM_QKV,
    };
    pk_finish_cuda_task finish = {
        .out = task->out,
        .sums = ctx->sums,
        .rope = task->rope,
        .positions = task->positions,
        .rows = task->rows,
        .saturated = task->saturated,
        .rows_max = task->rows_max,
        .n = task->n,
        .form = forms[product],
        .dtype = task->dtype,
        .ctas = ctas(ctx, FINISH_CTAS_PER_SM),
        .dependent = task->dependent,
        .stream = task->stream,
    };
    CUDA_LAUNCH(ctx,
                cuda_lt_multiply(ctx, weight->plan, ctx->sums, task->act, task->weight, ctx->rows));
    CUDA_LAUNCH(ctx, pk_finish_cuda(&finish));
}

static void run_product(pith_ops_ctx *ctx, cuda_product product, const pith_packed *weight,
                        const pk_linear_cuda_task *task) {
    if (weight->plan != NULL) {
        library_product(ctx, product, weight, task);
    } else {
        CUDA_LAUNCH(ctx, cuda_run_product(product, task));
    }
}

void cuda_linear(pith_ops_ctx *ctx, const pith_op_linear *op) {
    pk_linear_cuda_task task = linear_task(ctx, op->weight, op->out, op->act);
    run_product(ctx, CUDA_PLAIN, op->weight, &task);
}

void cuda_geglu(pith_ops_ctx *ctx, const pith_op_geglu *op) {
    pk_linear_cuda_task task = linear_task(ctx, op->weight, op->out, op->act);
    run_product(ctx, CUDA_GEGLU, op->weight, &task);
}

void cuda_qkv_rope(pith_ops_ctx *ctx, const pith_op_qkv_rope *op) {
    pk_linear_cuda_task task = linear_task(ctx, op->weight, op->qkv, op->act);
    task.rope = op->rope;
    task.positions = positions_of(ctx);
    run_product(ctx, CUDA_QKV, op->weight, &task);
}

/* --- attention and heads --- */

void cuda_attn(pith_ops_ctx *ctx, const pith_op_attn *op) {
    bool global = op->window == PITH_OPS_WINDOW_GLOBAL;
    bool fast = ctx->fast && global;
    pk_attn_cuda_task task = {
        .out = op->out,
        .qkv = op->qkv,
        .tiles = (const pk_attn_cuda_tile *)(block_of(ctx) + ctx->layout.tiles),
        .n_tiles = rows_of(ctx) + 1,
        .tiles_max = ctx->layout.n_tiles,
        .rows_max = ctx->layout.tokens,
        .heads = op->n_heads,
        .dtype = ctx->dtype,
        .window = global ? SIZE_MAX : op->window,
        .form = fast ? PK_ATTN_WGMMA : PK_ATTN_SAFE,
        .ctas = ctas(ctx, fast ? PK_ATTN_CUDA_WGMMA_CTAS : PK_ATTN_CUDA_SAFE_CTAS),
        .dependent = ctx->dependent,
        .stream = ctx->compute,
    };
    CUDA_LAUNCH(ctx, pk_attn_cuda(&task));
}

/* The hidden state in 16 bits, its product with the five taps, then all the rest. */
void cuda_heads(pith_ops_ctx *ctx, const pith_op_heads *op) {
    pk_round_cuda_task round = {
        .out = ctx->hidden16,
        .x = op->hidden,
        .rows = rows_of(ctx),
        .saturated = ctx->saturated,
        .rows_max = ctx->layout.tokens,
        .dim = op->dim,
        .dtype = ctx->dtype,
        .ctas = ctas(ctx, ROUND_CTAS_PER_SM),
        .dependent = ctx->dependent,
        .stream = ctx->compute,
    };
    CUDA_LAUNCH(ctx, pk_round_cuda(&round));
    pk_linear_cuda_task conv = linear_task(ctx, op->conv0, ctx->conv, ctx->hidden16);
    run_product(ctx, CUDA_PLAIN, op->conv0, &conv);
    pk_heads_cuda_task task = {
        .z_tok = op->z_tok,
        .z_span = op->z_span,
        .score = op->score,
        .hidden = op->hidden,
        .conv = ctx->conv,
        .positions = positions_of(ctx),
        .token_weight = op->token_weight,
        .token_bias = op->token_bias,
        .conv0_bias = op->conv0_bias,
        .conv2_weight = op->conv2_weight,
        .conv2_bias = op->conv2_bias,
        .rows = rows_of(ctx),
        .rows_max = ctx->layout.tokens,
        .dim = op->dim,
        .channels = op->channels,
        .gate = pith_host_gate(op->gate),
        .gamma = op->gamma,
        .ctas = ctas(ctx, HEADS_CTAS_PER_SM),
        .dependent = ctx->dependent,
        .stream = ctx->compute,
    };
    CUDA_LAUNCH(ctx, pk_heads_cuda(&task));
}
