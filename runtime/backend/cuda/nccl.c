#include "runtime/backend/cuda/nccl.h"

#include "runtime/backend/cuda/library.h"

static pith_status load(nccl_api *api, const char *file, pith_err *err) {
    const cuda_symbol symbols[] = {
        {"ncclGetVersion", &api->version},  {"ncclCommInitAll", &api->init_all},
        {"ncclCommDestroy", &api->destroy}, {"ncclGroupStart", &api->group_start},
        {"ncclGroupEnd", &api->group_end},  {"ncclBroadcast", &api->broadcast},
        {"ncclGetErrorString", &api->text},
    };
    return cuda_library_open(file, symbols, sizeof symbols / sizeof symbols[0], err);
}

pith_status cuda_nccl_open(cuda_nccl *nccl, const char *file, pith_ops_ctx *const *ctxs, uint32_t n,
                           pith_err *err) {
    *nccl = (cuda_nccl){.ctxs = ctxs};
    pith_status status = load(&nccl->api, file, err);
    if (status != PITH_OK) {
        return status;
    }
    int version = 0;
    int code = nccl->api.version(&version);
    if (code != NCCL_OK || version / 10000 != NCCL_MAJOR_WANTED) { /* 2.9 and later: 20900 */
        return pith_fail(err, PITH_UNSUPPORTED, "%.128s is version %d, expected %d", file, version,
                         NCCL_MAJOR_WANTED);
    }
    int ordinals[PITH_DEVICES_MAX];
    for (uint32_t d = 0; d < n; d++) {
        ordinals[d] = ctxs[d]->ordinal;
    }
    /* Inside one process NCCL may write to a peer's buffers directly. */
    for (uint32_t i = 0; i < n * n; i++) {
        pith_ops_ctx *ctx = ctxs[i / n];
        if (i / n != i % n) {
            CUDA_DO(ctx, pith_cu_let_peer(ctx->ordinal, ctxs[i % n]->ordinal));
        }
    }
    code = nccl->api.init_all(nccl->comms, (int)n, ordinals);
    if (code != NCCL_OK) {
        return pith_fail(err, PITH_UNSUPPORTED, "%.128s cannot connect %u devices: %.128s", file, n,
                         nccl->api.text(code));
    }
    nccl->n = n;
    return PITH_OK;
}

void cuda_nccl_close(cuda_nccl *nccl) {
    for (uint32_t d = 0; d < nccl->n; d++) {
        (void)nccl->api.destroy(nccl->comms[d]);
    }
    nccl->n = 0;
}

pith_status cuda_nccl_broadcast(cuda_nccl *nccl, void *const *mems, size_t bytes, pith_err *err) {
    int code = nccl->api.group_start();
    for (uint32_t d = 0; code == NCCL_OK && d < nccl->n; d++) {
        pith_ops_ctx *ctx = nccl->ctxs[d];
        CUDA_DO(ctx, pith_cu_use(ctx->ordinal));
        code = nccl->api.broadcast(mems[0], mems[d], bytes, NCCL_BYTES, 0, nccl->comms[d],
                                   ctx->compute);
    }
    int ended = nccl->api.group_end();
    code = code == NCCL_OK ? ended : code;
    return code == NCCL_OK ? PITH_OK
                           : pith_fail(err, PITH_INTERNAL, "NCCL: broadcast of %zu bytes: %.128s",
                                       bytes, nccl->api.text(code));
}
