/* The CUDA backend: the ops table over kernels/cuda, opening and closing a device.
 *
 * One compute stream runs the steps in order, another copies the next step's block beside it; two
 * steps may be in flight. Recorded steps are CUDA graphs, one for each size class and slot. */
#include "runtime/backend/cuda/cublaslt.h"
#include "runtime/backend/cuda/kernels.h"

#include "runtime/backend/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pith_ops_elems cuda_elems(const pith_ops_ctx *ctx) {
    (void)ctx;
    return (pith_ops_elems){.act = sizeof(uint16_t), .qkv = sizeof(uint16_t)};
}

static uint64_t cuda_saturated(const pith_ops_ctx *ctx) {
    return ctx->n_saturated_weights + atomic_load(&ctx->n_saturated);
}

const pith_ops pith_ops_cuda = {
    .name = "cuda",
    .steps_in_flight = CUDA_SLOTS,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out,
    .sync = cuda_sync,
    .mark = cuda_mark,
    .wait = cuda_wait,
    .pack_weight = cuda_pack,
    .packed_free = cuda_packed_free,
    .replicate = cuda_replicate,
    .saturated = cuda_saturated,
    .reserve = cuda_reserve,
    .elems = cuda_elems,
    .begin = cuda_begin,
    .end = cuda_end,
    .forget = cuda_forget,
    .embed_norm = cuda_embed_norm,
    .add_norm = cuda_add_norm,
    .linear_qkv_rope = cuda_qkv_rope,
    .attn = cuda_attn,
    .linear = cuda_linear,
    .linear_geglu = cuda_geglu,
    .heads_gate = cuda_heads,
};

/* "cuda" or "cuda:N" with N of up to four digits. */
static pith_status ordinal_of(const char *name, int *ordinal, pith_err *err) {
    size_t digits = strlen(name) > 5 ? strspn(name + 5, "0123456789") : 0;
    *ordinal = 0;
    if (strcmp(name, "cuda") == 0) {
        return PITH_OK;
    }
    if (strncmp(name, "cuda:", 5) != 0 || digits == 0 || digits > 4 || name[5 + digits] != '\0') {
        return pith_fail(err, PITH_INVALID, "device \"%.64s\" is unknown: expected cuda:N", name);
    }
    for (size_t i = 0; i < digits; i++) {
        *ordinal = *ordinal * 10 + (name[5 + i] - '0');
    }
    return PITH_OK;
}

static pith_status dtype_of(const char *name, pk_dtype *dtype, pith_err *err) {
    if (name == NULL || strcmp(name, "f16") == 0) {
        *dtype = PK_F16;
        return PITH_OK;
    }
    *dtype = PK_BF16;
    return strcmp(name, "bf16") == 0
               ? PITH_OK
               : pith_fail(err, PITH_UNSUPPORTED, "a GPU computes in f16 or bf16, not %s", name);
}

static pith_status open_streams(pith_ops_ctx *ctx, pith_err *err) {
    int code = pith_cu_stream_open(&ctx->compute);
    code = code == PITH_CU_OK ? pith_cu_stream_open(&ctx->upload) : code;
    return code == PITH_CU_OK ? PITH_OK
                              : pith_fail(err, PITH_UNSUPPORTED, "%s: no stream: %s",
                                          ctx->device_name, pith_cu_text(code));
}

pith_status pith_cuda_open(pith_device *device, const pith_device_opts *opts, pith_err *err) {
    int ordinal;
    pk_dtype dtype;
    pith_status status = ordinal_of(opts->device, &ordinal, err);
    if (status == PITH_OK) {
        status = dtype_of(opts->dtype, &dtype, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    pith_ops_ctx *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "the cuda backend cannot be allocated");
    }
    (void)pthread_mutex_init(&ctx->lock, NULL);
    ctx->ordinal = ordinal;
    ctx->dtype = dtype;
    ctx->graphs = true;
    (void)snprintf(ctx->device_name, sizeof ctx->device_name, "cuda:%d", ordinal);
    status = pith_cu_open(ordinal, &ctx->info, err);
    if (status == PITH_OK) {
        ctx->dependent = ctx->info.major >= 9;
        status = open_streams(ctx, err);
    }
    if (status == PITH_OK) {
        status = cuda_choose_kernels(ctx, opts->gpu_kernels, err);
    }
    if (status != PITH_OK) {
        pith_cuda_close(ctx);
        return status;
    }
    *device = (pith_device){
        .ops = &pith_ops_cuda,
        .ctx = ctx,
        .device = "cuda",
        .dtype = dtype == PK_BF16 ? "bf16" : "f16",
        .isa = ctx->isa,
        .n_threads = 1,
        .step_tokens = CUDA_STEP_TOKENS,
        .ordinal = ordinal,
        .uuid = ctx->info.uuid,
        .kernels_refused = ctx->fast_refused,
    };
    return PITH_OK;
}

void pith_cuda_close(pith_ops_ctx *ctx) {
    if (ctx == NULL) {
        return;
    }
    (void)pith_cu_use(ctx->ordinal);
    if (ctx->compute != NULL && ctx->upload != NULL) {
        (void)cuda_sync(ctx, NULL);
        cuda_release_steps(ctx);
    }
    cuda_lt_close(ctx);
    pith_cu_stream_close(ctx->upload);
    pith_cu_stream_close(ctx->compute);
    (void)pthread_mutex_destroy(&ctx->lock);
    free(ctx);
}
