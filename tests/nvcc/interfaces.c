/* What the backend declares of libraries that it opens at run time, held against their own headers.
 * Compiled by gate.py; nothing runs. */
#include "runtime/backend/cuda/cublaslt.h"
#include "runtime/backend/cuda/nccl.h"

#include <cublasLt.h>
#include <nccl.h>

#define SAME(ours, theirs) _Static_assert((long long)(ours) == (long long)(theirs), #theirs)

SAME(LT_MAJOR, CUBLAS_VER_MAJOR);
SAME(LT_SUCCESS, CUBLAS_STATUS_SUCCESS);
SAME(LT_ALLOC_FAILED, CUBLAS_STATUS_ALLOC_FAILED);
SAME(LT_OP_T, CUBLAS_OP_T);
SAME(LT_R_32F, CUDA_R_32F);
SAME(LT_R_16F, CUDA_R_16F);
SAME(LT_R_16BF, CUDA_R_16BF);
SAME(LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(LT_LAYOUT_COLS, CUBLASLT_MATRIX_LAYOUT_COLS);
SAME(LT_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(LT_REDUCTION_NONE, CUBLASLT_REDUCTION_SCHEME_NONE);
SAME(LT_ALGO_SPLITK_NUM, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);

SAME(sizeof(lt_algo), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(lt_heuristic), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(lt_heuristic, workspace), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(lt_heuristic, state), offsetof(cublasLtMatmulHeuristicResult_t, state));

SAME(NCCL_MAJOR_WANTED, NCCL_MAJOR);
SAME(NCCL_OK, ncclSuccess);
SAME(NCCL_BYTES, ncclUint8);
SAME(sizeof(void *), sizeof(ncclComm_t));

#ifdef BROKEN /* proves that a difference does not compile */
SAME(LT_OP_T, CUBLAS_OP_N);
#endif

/* Calls with our types of arguments: a changed parameter does not compile. */
void use_lt(void);
void use_lt(void) {
    const float one = 1.0f;
    const int op = LT_OP_T;
    const uint64_t cols = 1;
    const uint32_t mask = LT_REDUCTION_NONE;
    uint32_t parts;
    size_t written = cublasLtGetVersion();
    cublasLtHandle_t lt;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t layout;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t results[1];
    int found;
    (void)cublasLtCreate(&lt);
    (void)cublasLtMatmulDescCreate(&desc, (cublasComputeType_t)LT_COMPUTE_32F,
                                   (cudaDataType_t)LT_R_32F);
    (void)cublasLtMatmulDescSetAttribute(desc, (cublasLtMatmulDescAttributes_t)LT_DESC_TRANSA, &op,
                                         sizeof op);
    (void)cublasLtMatrixLayoutCreate(&layout, (cudaDataType)LT_R_16F, cols, cols, (int64_t)1);
    (void)cublasLtMatrixLayoutSetAttribute(layout, (cublasLtMatrixLayoutAttribute_t)LT_LAYOUT_COLS,
                                           &cols, sizeof cols);
    (void)cublasLtMatmulPreferenceCreate(&preference);
    (void)cublasLtMatmulPreferenceSetAttribute(
        preference, (cublasLtMatmulPreferenceAttributes_t)LT_PREF_REDUCTION_SCHEME_MASK, &mask,
        sizeof mask);
    (void)cublasLtMatmulAlgoGetHeuristic(lt, desc, layout, layout, layout, layout, preference, 1,
                                         results, &found);
    (void)cublasLtMatmulAlgoConfigGetAttribute(
        &results[0].algo, (cublasLtMatmulAlgoConfigAttributes_t)LT_ALGO_SPLITK_NUM, &parts,
        sizeof parts, &written);
    (void)cublasLtMatmul(lt, desc, &one, NULL, layout, NULL, layout, &one, NULL, layout, NULL,
                         layout, &results[0].algo, NULL, 0, NULL);
    (void)cublasLtMatmulPreferenceDestroy(preference);
    (void)cublasLtMatrixLayoutDestroy(layout);
    (void)cublasLtMatmulDescDestroy(desc);
    (void)cublasLtDestroy(lt);
}

void use_nccl(void);
void use_nccl(void) {
    int version;
    const int devices[2] = {0, 1};
    ncclComm_t comms[2];
    const char *text = ncclGetErrorString(ncclGetVersion(&version));
    (void)text;
    (void)ncclCommInitAll(comms, 2, devices);
    (void)ncclGroupStart();
    (void)ncclBroadcast(NULL, NULL, (size_t)1, (ncclDataType_t)NCCL_BYTES, 0, comms[0], NULL);
    (void)ncclGroupEnd();
    (void)ncclCommDestroy(comms[0]);
}
