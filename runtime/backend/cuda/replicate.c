/* Weights on several devices: read, rounded and packed once, for the first; the others get copies
 * by NCCL, or through the host where NCCL is not there. */
#include "runtime/backend/cuda/kernels.h"
#include "runtime/backend/cuda/nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *memory_of(const pith_ops_held *held) {
    return held->packed != NULL ? (*held->packed)->data : *held->mem;
}

static size_t bytes_of(const pith_ops_held *held) {
    if (held->packed == NULL) {
        return held->bytes;
    }
    const pith_packed *packed = *held->packed;
    return packed->rows * packed->cols * pk_dtype_bytes(packed->dtype);
}

static pith_status make_packed(pith_ops_ctx *ctx, const pith_packed *from, pith_packed **made,
                               size_t bytes, pith_err *err) {
    pith_packed *packed = calloc(1, sizeof *packed);
    if (packed == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "a weight's header cannot be allocated");
    }
    *packed = *from;
    packed->data = NULL;
    packed->plan = NULL;
    *made = packed; /* the caller's to free from here on */
    pith_status status = cuda_alloc(ctx, bytes, &packed->data, err);
    if (status == PITH_OK && packed->kind != PITH_PACK_TABLE) {
        status = cuda_choose_product(ctx, packed, err);
    }
    return status;
}

static pith_status make(pith_ops_ctx *ctx, const pith_ops_held *from, const pith_ops_held *to,
                        size_t n_held, pith_err *err) {
    pith_status status = PITH_OK;
    for (size_t i = 0; status == PITH_OK && i < n_held; i++) {
        size_t bytes = bytes_of(&from[i]);
        status = from[i].packed != NULL
                     ? make_packed(ctx, *from[i].packed, to[i].packed, bytes, err)
                     : cuda_alloc(ctx, bytes, to[i].mem, err);
    }
    return status;
}

static pith_status sync_all(pith_ops_ctx *const *ctxs, uint32_t n_ctxs, pith_err *err) {
    pith_status status = PITH_OK;
    for (uint32_t d = 0; d < n_ctxs; d++) {
        pith_status one = cuda_sync(ctxs[d], status == PITH_OK ? err : NULL);
        status = status == PITH_OK ? one : status;
    }
    return status;
}

static pith_status by_nccl(cuda_nccl *nccl, const pith_ops_held *const *held, size_t n_held,
                           pith_err *err) {
    pith_status status = PITH_OK;
    for (size_t i = 0; status == PITH_OK && i < n_held; i++) {
        void *mems[PITH_DEVICES_MAX];
        for (uint32_t d = 0; d < nccl->n; d++) {
            mems[d] = memory_of(&held[d][i]);
        }
        status = cuda_nccl_broadcast(nccl, mems, bytes_of(&held[0][i]), err);
    }
    return status;
}

static pith_status one_by_host(pith_ops_ctx *const *ctxs, uint32_t n_ctxs,
                               const pith_ops_held *const *held, size_t i, pith_err *err) {
    size_t bytes = bytes_of(&held[0][i]);
    void *host = malloc(bytes > 0 ? bytes : 1);
    if (host == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "a weight's %zu bytes cannot be allocated", bytes);
    }
    cuda_copy_out(ctxs[0], host, memory_of(&held[0][i]), bytes);
    pith_status status = cuda_sync(ctxs[0], err);
    for (uint32_t d = 1; status == PITH_OK && d < n_ctxs; d++) {
        cuda_copy_in(ctxs[d], memory_of(&held[d][i]), host, bytes);
    }
    status = status == PITH_OK ? sync_all(ctxs, n_ctxs, err) : status;
    free(host);
    return status;
}

/* One name for what the devices compute with: one text, one answer. */
static pith_status check_alike(pith_ops_ctx *const *ctxs, uint32_t n_ctxs, pith_err *err) {
    for (uint32_t d = 1; d < n_ctxs; d++) {
        if (strcmp(ctxs[d]->isa, ctxs[0]->isa) != 0) {
            return pith_fail(err, PITH_UNSUPPORTED, "%s computes by %s, %s by %s",
                             ctxs[0]->device_name, ctxs[0]->isa, ctxs[d]->device_name,
                             ctxs[d]->isa);
        }
    }
    return PITH_OK;
}

pith_status cuda_replicate(pith_ops_ctx *const *ctxs, uint32_t n_ctxs,
                           const pith_ops_held *const *held, size_t n_held, pith_err *note,
                           pith_err *err) {
    pith_status status = PITH_OK;
    for (uint32_t d = 1; status == PITH_OK && d < n_ctxs; d++) {
        status = make(ctxs[d], held[0], held[d], n_held, err);
    }
    status = status == PITH_OK ? check_alike(ctxs, n_ctxs, err) : status;
    if (status != PITH_OK) {
        return status;
    }
    cuda_nccl nccl;
    pith_err why;
    if (cuda_nccl_open(&nccl, pith_cu_library_file(PITH_CU_NCCL), ctxs, n_ctxs, &why) == PITH_OK) {
        (void)pith_fail(note, PITH_OK, "%u devices: weights broadcast by NCCL", n_ctxs);
        status = by_nccl(&nccl, held, n_held, err);
    } else {
        (void)pith_fail(note, PITH_OK, "%u devices: weights through the host: %.384s", n_ctxs,
                        why.text);
        for (size_t i = 0; status == PITH_OK && i < n_held; i++) {
            status = one_by_host(ctxs, n_ctxs, held, i, err);
        }
    }
    /* A lost device says so, whatever NCCL said. */
    pith_err end;
    pith_status ended = sync_all(ctxs, n_ctxs, &end);
    if (ended != PITH_OK && (status == PITH_OK || ended == PITH_UNAVAILABLE)) {
        status = pith_fail(err, ended, "%s", end.text);
    }
    cuda_nccl_close(&nccl);
    return status;
}
