/* The CPU backend: cuts every operation into tasks of fixed row blocks and runs them on the pool.
 * Which rows share a block changes no bit of any row; see kernels/linear.h. */
#include "runtime/backend/host.h"

#include "kernels/cpu/isa.h"
#include "runtime/backend/cpu/pool.h"
#include "runtime/base/size.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum {
    NORM_ROWS = 32,      /* rows of one norm task: some 20 us at 768 columns */
    TASKS_PER_THREAD = 8 /* so that a late thread costs at most an eighth of its share */
};

/* Rows [begin, end) of the sequence that starts at row `first` of the batch. */
typedef struct row_block {
    uint32_t first;
    uint32_t len;
    uint32_t begin;
    uint32_t end;
} row_block;

typedef struct block_list {
    row_block *items; /* [tokens_max] */
    size_t n;
} block_list;

struct pith_ops_ctx {
    pith_host_batch host;
    const pk_cpu_isa *isa;
    pk_dtype dtype; /* of weights and activations */
    pith_pool *pool;
    uint32_t n_threads;
    block_list attn_blocks;  /* PK_ATTN_QUERIES rows */
    block_list heads_blocks; /* PK_HEADS_ROWS rows */
    float *scratch;          /* [n_threads][scratch_floats] */
    size_t scratch_floats;
};

struct pith_packed {
    pith_pack_kind kind;
    pk_panels panels;  /* all kinds but the table */
    pith_matrix table; /* borrowed */
};

static float *scratch_of(const pith_ops_ctx *ctx, size_t worker) {
    return ctx->scratch + worker * ctx->scratch_floats;
}

/* --- weights --- */

static size_t plan_panels(const pith_ops_ctx *ctx, pith_packed *made, const pith_matrix *weight,
                          const pith_pack_opts *opts) {
    pk_panel_kind kind = PK_PANEL_PAIRED;
    pk_dtype dtype = ctx->dtype;
    size_t half = 0;
    switch (opts->kind) {
    case PITH_PACK_QKV:
        half = weight->rows / opts->n_heads / 6;
        break;
    case PITH_PACK_GEGLU:
        half = weight->rows / 2;
        break;
    case PITH_PACK_SPAN_CONV:
        dtype = PK_F32; /* convolution sums and logits stay f32 */
        kind = PK_PANEL_PLAIN;
        break;
    case PITH_PACK_TABLE:
    case PITH_PACK_LINEAR:
        kind = PK_PANEL_PLAIN;
        break;
    }
    return pk_panels_plan(&made->panels, dtype, kind, ctx->isa->width, weight->rows, weight->cols,
                          half);
}

static pith_status pack_panels(pith_ops_ctx *ctx, pith_packed *made, const pith_matrix *weight,
                               const pith_pack_opts *opts, pith_err *err) {
    size_t bytes = plan_panels(ctx, made, weight, opts);
    size_t row_floats = 2 * made->panels.width * weight->cols;
    size_t count = opts->kind == PITH_PACK_SPAN_CONV ? weight->rows * weight->cols : 0;
    if (made->panels.dtype == PK_BF16 && weight->cols % 2 != 0) {
        return pith_fail(err, PITH_UNSUPPORTED,
                         "bf16 product over %zu inputs: expected an even number", weight->cols);
    }
    void *rows = NULL;
    pith_status status = pith_host_alloc(ctx, bytes, &made->panels.data, err);
    if (status == PITH_OK) {
        status = pith_host_alloc(ctx, (row_floats + 2 * count) * sizeof(float), &rows, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    if (opts->kind == PITH_PACK_SPAN_CONV) {
        float *plain = (float *)rows + row_floats;
        pk_to_f32(plain, weight->data, pith_host_dtype(weight->elem), 0, count);
        pk_span_conv_reorder(plain + count, plain, weight->rows, weight->cols / PK_SPAN_TAPS);
        pk_panels_pack(&made->panels, plain + count, PK_F32, rows);
    } else {
        pk_panels_pack(&made->panels, weight->data, pith_host_dtype(weight->elem), rows);
    }
    free(rows);
    return PITH_OK;
}

static void cpu_packed_free(pith_ops_ctx *ctx, pith_packed *packed) {
    (void)ctx;
    if (packed != NULL) {
        free(packed->panels.data);
        free(packed);
    }
}

static pith_status cpu_pack(pith_ops_ctx *ctx, const pith_matrix *weight,
                            const pith_pack_opts *opts, pith_packed **packed, pith_err *err) {
    size_t bytes;
    *packed = NULL;
    if (!pith_size_mul(weight->rows, weight->cols, &bytes) ||
        !pith_size_mul(bytes, 8 * sizeof(float), &bytes)) {
        return pith_fail(err, PITH_NO_MEMORY, "a weight of %zu x %zu does not fit in memory",
                         weight->rows, weight->cols);
    }
    pith_packed *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "a weight's header cannot be allocated");
    }
    made->kind = opts->kind;
    made->table = *weight;
    pith_status status =
        opts->kind == PITH_PACK_TABLE ? PITH_OK : pack_panels(ctx, made, weight, opts, err);
    if (status != PITH_OK) {
        cpu_packed_free(ctx, made);
        return status;
    }
    *packed = made;
    return PITH_OK;
}

/* --- steps --- */

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static pith_status reserve_blocks(block_list *list, uint32_t tokens_max, pith_err *err) {
    void *items;
    pith_status status =
        pith_host_alloc(NULL, (size_t)tokens_max * sizeof *list->items, &items, err);
    if (status == PITH_OK) {
        free(list->items);
        list->items = items;
    }
    return status;
}

static pith_status reserve_scratch(pith_ops_ctx *ctx, const pith_ops_reserve *bounds,
                                   pith_err *err) {
    size_t head_dim = bounds->hidden / bounds->n_heads;
    size_t k = larger(bounds->hidden, bounds->intermediate);
    size_t floats = larger(pk_attn_scratch_floats(head_dim),
                           pk_heads_scratch_floats(bounds->hidden, bounds->span_channels));
    floats = larger(floats, ctx->dtype == PK_BF16 ? PK_ROW_BLOCK * k : 0);
    floats = (floats + 63) / 64 * 64; /* whole cache lines, so that threads share none */
    if (floats <= ctx->scratch_floats) {
        return PITH_OK;
    }
    void *scratch;
    pith_status status =
        pith_host_alloc(ctx, ctx->n_threads * floats * sizeof(float), &scratch, err);
    if (status == PITH_OK) {
        free(ctx->scratch);
        ctx->scratch = scratch;
        ctx->scratch_floats = floats;
    }
    return status;
}

static pith_status cpu_reserve(pith_ops_ctx *ctx, const pith_ops_reserve *bounds, pith_err *err) {
    if (bounds->hidden / bounds->n_heads > PK_ATTN_HEAD_DIM_MAX) {
        return pith_fail(err, PITH_UNSUPPORTED, "head dim %u: at most %d",
                         bounds->hidden / bounds->n_heads, PK_ATTN_HEAD_DIM_MAX);
    }
    pith_status status = PITH_OK;
    if (bounds->tokens_max > ctx->host.tokens_max) {
        status = reserve_blocks(&ctx->attn_blocks, bounds->tokens_max, err);
        if (status == PITH_OK) {
            status = reserve_blocks(&ctx->heads_blocks, bounds->tokens_max, err);
        }
        if (status == PITH_OK) {
            status = pith_host_batch_reserve(&ctx->host, bounds->tokens_max, err);
        }
    }
    return status == PITH_OK ? reserve_scratch(ctx, bounds, err) : status;
}

static pith_ops_elems cpu_elems(const pith_ops_ctx *ctx) {
    return (pith_ops_elems){.act = pk_dtype_bytes(ctx->dtype), .qkv = sizeof(float)};
}

static void cut_blocks(block_list *list, const pith_ops_batch *batch, uint32_t rows) {
    list->n = 0;
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        uint32_t first = batch->cu_seqlens[s];
        uint32_t len = batch->cu_seqlens[s + 1] - first;
        for (uint32_t begin = 0; begin < len; begin += rows) {
            uint32_t end = len - begin < rows ? len : begin + rows;
            list->items[list->n++] = (row_block){first, len, begin, end};
        }
    }
}

static bool cpu_begin(pith_ops_ctx *ctx, const pith_ops_batch *batch) {
    pith_host_batch_begin(&ctx->host, batch);
    cut_blocks(&ctx->attn_blocks, batch, PK_ATTN_QUERIES);
    cut_blocks(&ctx->heads_blocks, batch, PK_HEADS_ROWS);
    return true;
}

/* --- norms --- */

typedef struct norm_job {
    const pith_ops_ctx *ctx;
    const pith_op_embed_norm *embed;
    const pith_op_add_norm *add;
} norm_job;

static size_t norm_tasks(const pith_ops_ctx *ctx) {
    return ((size_t)ctx->host.batch.n_tok + NORM_ROWS - 1) / NORM_ROWS;
}

static size_t norm_rows(const pith_ops_ctx *ctx, size_t row) {
    size_t left = ctx->host.batch.n_tok - row;
    return left < NORM_ROWS ? left : NORM_ROWS;
}

static void *at_row(void *base, size_t row, size_t cols, pk_dtype dtype) {
    return (char *)base + row * cols * pk_dtype_bytes(dtype);
}

static void embed_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const norm_job *job = arg;
    const pith_ops_ctx *ctx = job->ctx;
    const pith_op_embed_norm *op = job->embed;
    const pith_matrix *table = &op->table->table;
    size_t row = task * NORM_ROWS;
    size_t dim = table->cols;
    ctx->isa->embed_norm(op->x + row * dim, at_row(op->out, row, dim, ctx->dtype), ctx->dtype,
                         ctx->host.batch.ids + row, table->data, pith_host_dtype(table->elem),
                         op->weight, norm_rows(ctx, row), dim, op->eps);
}

static void cpu_embed_norm(pith_ops_ctx *ctx, const pith_op_embed_norm *op) {
    norm_job job = {.ctx = ctx, .embed = op};
    pith_pool_run(ctx->pool, embed_task, &job, norm_tasks(ctx));
}

static void add_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const norm_job *job = arg;
    const pith_op_add_norm *op = job->add;
    pk_dtype dtype = op->out_f32 ? PK_F32 : job->ctx->dtype;
    size_t row = task * NORM_ROWS;
    job->ctx->isa->add_norm(op->x + row * op->dim, at_row(op->out, row, op->dim, dtype), dtype,
                            op->delta + row * op->dim, op->weight, norm_rows(job->ctx, row),
                            op->dim, op->eps);
}

static void cpu_add_norm(pith_ops_ctx *ctx, const pith_op_add_norm *op) {
    norm_job job = {.ctx = ctx, .add = op};
    pith_pool_run(ctx->pool, add_task, &job, norm_tasks(ctx));
}

/* --- products --- */

typedef struct product_job {
    const pith_ops_ctx *ctx;
    const pk_panels *weight;
    const void *act;
    const pith_op_linear *linear;
    const pith_op_geglu *geglu;
    const pith_op_qkv_rope *qkv;
    size_t groups;           /* of panels */
    size_t panels_per_group; /* the last group may have fewer */
} product_job;

static void product_task(void *arg, size_t task, size_t worker) {
    const product_job *job = arg;
    const pith_ops_ctx *ctx = job->ctx;
    const pk_panels *w = job->weight;
    size_t row = task / job->groups * PK_ROW_BLOCK;
    size_t panel = task % job->groups * job->panels_per_group;
    size_t left = ctx->host.batch.n_tok - row;
    pk_linear_task block = {
        .act = (const char *)job->act + row * w->k * pk_dtype_bytes(w->dtype),
        .act_stride = w->k,
        .rows = left < PK_ROW_BLOCK ? left : PK_ROW_BLOCK,
        .weight = w,
        .panel_begin = panel,
        .panel_end = w->n_panels - panel < job->panels_per_group ? w->n_panels
                                                                 : panel + job->panels_per_group,
        .scratch = scratch_of(ctx, worker),
    };
    if (job->linear != NULL) {
        ctx->isa->linear(job->linear->out + row * w->n, w->n, &block);
    } else if (job->geglu != NULL) {
        void *out = at_row(job->geglu->out, row, w->half, ctx->dtype);
        ctx->isa->geglu(out, ctx->dtype, w->half, &block);
    } else {
        ctx->isa->qkv_rope((float *)job->qkv->qkv + row * w->n, job->qkv->rope,
                           ctx->host.positions + row, &block);
    }
}

static void run_product(pith_ops_ctx *ctx, product_job *job) {
    size_t blocks = ((size_t)ctx->host.batch.n_tok + PK_ROW_BLOCK - 1) / PK_ROW_BLOCK;
    size_t wanted = ctx->n_threads == 1 ? 1 : TASKS_PER_THREAD * (size_t)ctx->n_threads;
    size_t groups = (wanted + blocks - 1) / blocks;
    job->panels_per_group = (job->weight->n_panels + groups - 1) / groups;
    job->groups = (job->weight->n_panels + job->panels_per_group - 1) / job->panels_per_group;
    pith_pool_run(ctx->pool, product_task, job, blocks * job->groups);
}

static void cpu_linear(pith_ops_ctx *ctx, const pith_op_linear *op) {
    product_job job = {.ctx = ctx, .weight = &op->weight->panels, .act = op->act, .linear = op};
    run_product(ctx, &job);
}

static void cpu_geglu(pith_ops_ctx *ctx, const pith_op_geglu *op) {
    product_job job = {.ctx = ctx, .weight = &op->weight->panels, .act = op->act, .geglu = op};
    run_product(ctx, &job);
}

static void cpu_qkv_rope(pith_ops_ctx *ctx, const pith_op_qkv_rope *op) {
    product_job job = {.ctx = ctx, .weight = &op->weight->panels, .act = op->act, .qkv = op};
    run_product(ctx, &job);
}

/* --- attention and heads --- */

typedef struct attn_job {
    const pith_ops_ctx *ctx;
    const pith_op_attn *op;
} attn_job;

static void attn_task(void *arg, size_t task, size_t worker) {
    const attn_job *job = arg;
    const pith_op_attn *op = job->op;
    const row_block *block = &job->ctx->attn_blocks.items[task / op->n_heads];
    size_t dim = (size_t)op->n_heads * op->head_dim;
    pk_attn_task attn = {
        .qkv = (const float *)op->qkv + block->first * 3 * dim,
        .len = block->len,
        .heads = op->n_heads,
        .head = task % op->n_heads,
        .head_dim = op->head_dim,
        .window = op->window == PITH_OPS_WINDOW_GLOBAL ? PK_ATTN_GLOBAL : op->window,
        .q_begin = block->begin,
        .q_end = block->end,
        .scratch = scratch_of(job->ctx, worker),
    };
    pk_dtype dtype = job->ctx->dtype;
    pk_attn_fn *fn = dtype == PK_BF16 ? job->ctx->isa->attn_bf16 : job->ctx->isa->attn;
    fn(at_row(op->out, block->first, dim, dtype), dtype, &attn);
}

static void cpu_attn(pith_ops_ctx *ctx, const pith_op_attn *op) {
    attn_job job = {.ctx = ctx, .op = op};
    pith_pool_run(ctx->pool, attn_task, &job, ctx->attn_blocks.n * op->n_heads);
}

typedef struct heads_job {
    const pith_ops_ctx *ctx;
    const pith_op_heads *op;
    pk_heads_weights weights;
} heads_job;

static void heads_task(void *arg, size_t task, size_t worker) {
    const heads_job *job = arg;
    const pith_op_heads *op = job->op;
    const row_block *block = &job->ctx->heads_blocks.items[task];
    pk_heads_task rows = {
        .z_tok = op->z_tok + block->first,
        .z_span = op->z_span + block->first,
        .score = op->score + block->first,
        .hidden = op->hidden + (size_t)block->first * op->dim,
        .len = block->len,
        .begin = block->begin,
        .end = block->end,
        .scratch = scratch_of(job->ctx, worker),
    };
    job->ctx->isa->heads(&rows, &job->weights);
}

static void cpu_heads(pith_ops_ctx *ctx, const pith_op_heads *op) {
    heads_job job = {
        .ctx = ctx,
        .op = op,
        .weights =
            {
                .token_weight = op->token_weight,
                .token_bias = op->token_bias,
                .conv0 = &op->conv0->panels,
                .conv0_bias = op->conv0_bias,
                .conv2_weight = op->conv2_weight,
                .conv2_bias = op->conv2_bias,
                .dim = op->dim,
                .channels = op->channels,
                .gate = pith_host_gate(op->gate),
                .gamma = op->gamma,
            },
    };
    pith_pool_run(ctx->pool, heads_task, &job, ctx->heads_blocks.n);
}

const pith_ops pith_ops_cpu = {
    .name = "cpu",
    .steps_in_flight = 1,
    .alloc = pith_host_alloc,
    .free = pith_host_free,
    .copy_in = pith_host_copy,
    .copy_out = pith_host_copy,
    .sync = pith_host_sync,
    .mark = pith_host_mark,
    .wait = pith_host_wait,
    .saturated = pith_host_saturated,
    .pack_weight = cpu_pack,
    .packed_free = cpu_packed_free,
    .reserve = cpu_reserve,
    .elems = cpu_elems,
    .begin = cpu_begin,
    .end = pith_host_end,
    .forget = pith_host_forget,
    .embed_norm = cpu_embed_norm,
    .add_norm = cpu_add_norm,
    .linear_qkv_rope = cpu_qkv_rope,
    .attn = cpu_attn,
    .linear = cpu_linear,
    .linear_geglu = cpu_geglu,
    .heads_gate = cpu_heads,
};

/* --- open, close --- */

static const pk_cpu_isa *const isas[] = {&pk_cpu_avx512bf16, &pk_cpu_avx512, &pk_cpu_avx2};

enum { ISA_COUNT = sizeof isas / sizeof isas[0] };

static const pk_cpu_isa *widest_isa(void) {
    for (size_t i = 0; i < ISA_COUNT; i++) {
        if (pk_cpu_has(isas[i])) {
            return isas[i];
        }
    }
    return NULL;
}

/* NULL where `name` is NULL and the CPU has none of them. */
static pith_status choose_isa(const char *name, const pk_cpu_isa **isa, pith_err *err) {
    const pk_cpu_isa *widest = widest_isa();
    *isa = widest;
    if (name == NULL) {
        return PITH_OK;
    }
    for (size_t i = 0; i < ISA_COUNT; i++) {
        if (strcmp(name, isas[i]->name) != 0) {
            continue;
        }
        *isa = isas[i];
        if (pk_cpu_has(isas[i])) {
            return PITH_OK;
        }
        return pith_fail(err, PITH_UNSUPPORTED,
                         "isa \"%s\": this CPU does not have it; the widest it has is %s", name,
                         widest != NULL ? widest->name : "ref");
    }
    return pith_fail(err, PITH_INVALID,
                     "isa \"%s\" is unknown: expected auto, ref, avx2, avx512 or avx512-bf16",
                     name);
}

static uint32_t count_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > PITH_DEVICE_THREADS_MAX ? PITH_DEVICE_THREADS_MAX : (uint32_t)n;
}

pith_status pith_cpu_open(pith_device *device, const pith_device_opts *opts, pith_err *err) {
    const pk_cpu_isa *isa;
    pith_status status = choose_isa(opts->isa, &isa, err);
    if (status != PITH_OK) {
        return status;
    }
    if (isa == NULL) { /* a CPU without AVX2: slow, but right */
        return pith_ref_open(device, opts, err);
    }
    bool bf16 = opts->dtype == NULL ? isa->native_bf16 : strcmp(opts->dtype, "bf16") == 0;
    pith_ops_ctx *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "the cpu backend cannot be allocated");
    }
    ctx->isa = isa;
    ctx->dtype = bf16 ? PK_BF16 : PK_F32;
    ctx->n_threads = opts->n_threads > 0 ? opts->n_threads : count_cores();
    status = pith_pool_open(&ctx->pool, ctx->n_threads, err);
    if (status != PITH_OK) {
        free(ctx);
        return status;
    }
    *device = (pith_device){
        .ops = &pith_ops_cpu,
        .ctx = ctx,
        .device = "cpu",
        .dtype = bf16 ? "bf16" : "f32",
        .isa = isa->name,
        .n_threads = ctx->n_threads,
    };
    return PITH_OK;
}

void pith_cpu_close(pith_ops_ctx *ctx) {
    if (ctx == NULL) {
        return;
    }
    pith_pool_close(ctx->pool);
    free(ctx->host.positions);
    free(ctx->attn_blocks.items);
    free(ctx->heads_blocks.items);
    free(ctx->scratch);
    free(ctx);
}
