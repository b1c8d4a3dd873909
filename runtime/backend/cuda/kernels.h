/* Which kernel computes a product: fixed by what is multiplied and by the step's size class, never
 * timed at start, so that the same text gives the same bits every time.
 *
 * On sm_90 the fast kernels (wgmma) are each compared with the safe one on one tile when the device
 * is opened; where one is off, the safe kernels serve the whole process, under another name and so
 * another fingerprint. By "cublas" cuBLASLt multiplies where it gives a row the same bits in every
 * batch (cublaslt.h), and the safe kernels do all else. */
#ifndef PITH_BACKEND_CUDA_KERNELS_H
#define PITH_BACKEND_CUDA_KERNELS_H

#include "kernels/cuda/linear.h"
#include "runtime/backend/cuda/context.h"

typedef enum cuda_product { CUDA_PLAIN, CUDA_GEGLU, CUDA_QKV, CUDA_PRODUCTS } cuda_product;

/* Sets ctx->fast, ctx->lt and ctx->isa by `wanted` ("auto", "safe", "cublas" or NULL), the device
 * and the comparison. PITH_INVALID: another name; PITH_UNSUPPORTED: no cuBLASLt. */
PITH_MUST_USE pith_status cuda_choose_kernels(pith_ops_ctx *ctx, const char *wanted, pith_err *err);

/* The safe kernels serve: another device's fast ones were off. */
void cuda_refuse_fast(pith_ops_ctx *ctx);

/* The tile of a product in steps of at most rows_max rows: a row of tiles.h; rows ascend. */
typedef struct cuda_tile {
    pith_pack_kind kind;
    uint32_t n; /* packed weight [n, k] */
    uint32_t k;
    uint32_t rows_max;
    pk_linear_cuda_tile tile;
    uint32_t stages;
    bool multicast;
    uint32_t ctas_per_sm;
} cuda_tile;

/* Fills tile, stages, multicast and ctas of a task of [rows_max, k] x [n, k]: by tiles.h, which a
 * sweep on a GPU makes, else by size. */
void cuda_choose_tile(const pith_ops_ctx *ctx, pith_pack_kind kind, pk_linear_cuda_task *task);

/* Sets weight->plan where a library multiplies by it. */
PITH_MUST_USE pith_status cuda_choose_product(pith_ops_ctx *ctx, pith_packed *weight,
                                              pith_err *err);

int cuda_run_product(cuda_product product, const pk_linear_cuda_task *task);

#endif
