/* Products by cuBLASLt: --gpu-kernels cublas.
 *
 * Opened at run time. For each (n, k) one algorithm, the same for every number of rows: the first
 * in the library's own order, which is fixed for a version and a device, that gives a row the same
 * bits at 1, 64, 127, 512, 8,448 and the step's most rows and at every row offset (cublaslt.c:
 * probe). Algorithms that split k are not taken. Where none passes, our own kernels multiply that
 * (n, k). The version and all choices are in the name and so in the fingerprint.
 *
 * The rule is that what multiplies an (n, k) is fixed and never timed at start (kernels.h). Here
 * the table is the library's: its heuristic is asked, which computes and does not run, and what the
 * probe looks at are bits. So a version and a device always choose alike; another version may
 * choose otherwise, and then says so by another fingerprint. A committed table of opaque algorithms
 * would hold for one version alone.
 *
 * Never run on a GPU yet: the choice is tested against a stand-in for the library. */
#ifndef PITH_BACKEND_CUDA_CUBLASLT_H
#define PITH_BACKEND_CUDA_CUBLASLT_H

#include "runtime/backend/cuda/context.h"

/* The part of cublasLt.h (CUDA 13) that is used, under names of our own; tests/nvcc holds it
 * against that header. */
enum {
    LT_MAJOR = 13,
    LT_SUCCESS = 0,
    LT_ALLOC_FAILED = 3,
    LT_OP_T = 1,
    LT_R_32F = 0, /* cudaDataType */
    LT_R_16F = 2,
    LT_R_16BF = 14,
    LT_COMPUTE_32F = 68,
    LT_DESC_TRANSA = 3,
    LT_LAYOUT_COLS = 3,
    LT_PREF_REDUCTION_SCHEME_MASK = 3,
    LT_REDUCTION_NONE = 0,
    LT_ALGO_SPLITK_NUM = 2
};

typedef struct lt_algo {
    uint64_t data[8];
} lt_algo;

typedef struct lt_heuristic {
    lt_algo algo;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} lt_heuristic;

typedef struct lt_api {
    size_t (*version)(void);
    int (*create)(void **lt);
    int (*destroy)(void *lt);
    int (*desc_create)(void **desc, int compute, int scale);
    int (*desc_destroy)(void *desc);
    int (*desc_set)(void *desc, int attribute, const void *value, size_t bytes);
    int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
    int (*layout_destroy)(void *layout);
    int (*layout_set)(void *layout, int attribute, const void *value, size_t bytes);
    int (*preference_create)(void **preference);
    int (*preference_destroy)(void *preference);
    int (*preference_set)(void *preference, int attribute, const void *value, size_t bytes);
    int (*heuristic)(void *lt, void *desc, void *a, void *b, void *c, void *d, void *preference,
                     int wanted, lt_heuristic *results, int *found);
    int (*algo_get)(const lt_algo *algo, int attribute, void *value, size_t bytes, size_t *written);
    int (*matmul)(void *lt, void *desc, const void *alpha, const void *a, void *a_layout,
                  const void *b, void *b_layout, const void *beta, const void *c, void *c_layout,
                  void *d, void *d_layout, const lt_algo *algo, void *workspace,
                  size_t workspace_bytes, void *stream);
} lt_api;

/* How one (n, k) is multiplied. */
typedef struct cuda_lt_plan {
    uint32_t n;
    uint32_t k;
    int candidate; /* in the library's order; LT_OWN: by our own kernels */
    void *weight;  /* layouts */
    void *act;
    void *sums;
    lt_algo algo;
} cuda_lt_plan;

enum { LT_OWN = -1 };

/* PITH_UNSUPPORTED: the library is missing, incomplete, or of another major version. `file`: what
 * dlopen gets. */
PITH_MUST_USE pith_status cuda_lt_open(pith_ops_ctx *ctx, const char *file, pith_err *err);
void cuda_lt_close(pith_ops_ctx *ctx);

/* The plan of (n, k), probed the first time; it lives as long as the context. Steps are reserved.
 */
PITH_MUST_USE pith_status cuda_lt_plan_of(pith_ops_ctx *ctx, uint32_t n, uint32_t k,
                                          const cuda_lt_plan **plan, pith_err *err);

/* sums [rows, n] f32 = act [rows, k] times weight [n, k]; a code of runtime.h. */
int cuda_lt_multiply(pith_ops_ctx *ctx, const cuda_lt_plan *plan, float *sums, const void *act,
                     const void *weight, uint32_t rows);

/* "cublaslt130100-9f2c51aa": the version, and a hash of every choice so far. */
void cuda_lt_name(const pith_ops_ctx *ctx, char *out, size_t size);

#endif
