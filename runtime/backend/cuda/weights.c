/* Weights: rounded and ordered on the host as the kernels want them, then copied to the device. */
#include "runtime/backend/cuda/kernels.h"

#include "kernels/cuda/linear_pack.h"
#include "runtime/backend/host.h"
#include "runtime/base/size.h"

#include <stdlib.h>

static pk_linear_cuda_kind kind_of(pith_pack_kind kind) {
    switch (kind) {
    case PITH_PACK_GEGLU:
        return PK_LINEAR_CUDA_GEGLU;
    case PITH_PACK_SPAN_CONV:
        return PK_LINEAR_CUDA_SPAN_CONV;
    case PITH_PACK_QKV:
        return PK_LINEAR_CUDA_QKV;
    case PITH_PACK_TABLE:
    case PITH_PACK_LINEAR:
        break;
    }
    return PK_LINEAR_CUDA_PLAIN;
}

/* To the device; `host` may go afterwards. */
static pith_status place(pith_ops_ctx *ctx, pith_packed *made, const void *host, size_t bytes,
                         pith_err *err) {
    pith_status status = cuda_alloc(ctx, bytes, &made->data, err);
    if (status == PITH_OK) {
        cuda_copy_in(ctx, made->data, host, bytes);
        status = cuda_sync(ctx, err);
    }
    return status;
}

static pith_status place_table(pith_ops_ctx *ctx, pith_packed *made, const pith_matrix *weight,
                               pith_err *err) {
    size_t bytes = weight->rows * weight->cols;
    made->dtype = pith_host_dtype(weight->elem);
    made->rows = weight->rows;
    made->cols = weight->cols;
    return place(ctx, made, weight->data, bytes * pk_dtype_bytes(made->dtype), err);
}

static pith_status place_linear(pith_ops_ctx *ctx, pith_packed *made, const pith_matrix *weight,
                                pith_err *err) {
    pk_linear_cuda_kind kind = kind_of(made->kind);
    pk_linear_cuda_shape shape;
    if (!pk_linear_cuda_plan(&shape, kind, weight->rows, weight->cols)) {
        return pith_fail(err, PITH_UNSUPPORTED,
                         "a weight of %zu x %zu: a GPU multiplies multiples of 16 (q, k, v: 192 "
                         "rows; GLU: 64)",
                         weight->rows, weight->cols);
    }
    size_t bytes = shape.n * shape.k * sizeof(uint16_t);
    uint16_t *host = malloc(bytes);
    if (host == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "a weight's %zu bytes cannot be allocated", bytes);
    }
    made->dtype = ctx->dtype;
    made->rows = shape.n;
    made->cols = shape.k;
    ctx->n_saturated_weights += pk_linear_cuda_pack(host, ctx->dtype, weight->data,
                                                    pith_host_dtype(weight->elem), kind, shape);
    pith_status status = place(ctx, made, host, bytes, err);
    free(host);
    return status == PITH_OK ? cuda_choose_product(ctx, made, err) : status;
}

pith_status cuda_pack(pith_ops_ctx *ctx, const pith_matrix *weight, const pith_pack_opts *opts,
                      pith_packed **packed, pith_err *err) {
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
    pith_status status = opts->kind == PITH_PACK_TABLE ? place_table(ctx, made, weight, err)
                                                       : place_linear(ctx, made, weight, err);
    if (status != PITH_OK) {
        cuda_packed_free(ctx, made);
        return status;
    }
    *packed = made;
    return PITH_OK;
}

void cuda_packed_free(pith_ops_ctx *ctx, pith_packed *packed) {
    if (packed != NULL) {
        cuda_free(ctx, packed->data);
        free(packed);
    }
}
