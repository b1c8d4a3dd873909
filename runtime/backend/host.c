#include "runtime/backend/host.h"

#include <stdlib.h>

enum { HOST_ALIGN = 64 }; /* a cache line, and an AVX-512 register */

pith_status pith_host_alloc(pith_ops_ctx *ctx, size_t bytes, void **mem, pith_err *err) {
    (void)ctx;
    *mem = NULL;
    if (bytes > SIZE_MAX - HOST_ALIGN) {
        return pith_fail(err, PITH_NO_MEMORY, "%zu bytes cannot be allocated", bytes);
    }
    size_t rounded = (bytes + HOST_ALIGN - 1) / HOST_ALIGN * HOST_ALIGN;
    *mem = aligned_alloc(HOST_ALIGN, rounded > 0 ? rounded : HOST_ALIGN);
    if (*mem == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%zu bytes cannot be allocated", bytes);
    }
    return PITH_OK;
}

void pith_host_free(pith_ops_ctx *ctx, void *mem) {
    (void)ctx;
    free(mem);
}

void pith_host_copy(pith_ops_ctx *ctx, void *to, const void *from, size_t bytes) {
    (void)ctx;
    memcpy(to, from, bytes);
}

pith_status pith_host_sync(pith_ops_ctx *ctx, pith_err *err) {
    (void)ctx;
    (void)err;
    return PITH_OK;
}

uint64_t pith_host_mark(pith_ops_ctx *ctx) {
    (void)ctx;
    return 1;
}

pith_status pith_host_wait(pith_ops_ctx *ctx, uint64_t mark, pith_err *err) {
    (void)mark;
    return pith_host_sync(ctx, err);
}

void pith_host_end(pith_ops_ctx *ctx) {
    (void)ctx;
}

void pith_host_forget(pith_ops_ctx *ctx, const void *recording) {
    (void)ctx;
    (void)recording;
}

uint64_t pith_host_saturated(const pith_ops_ctx *ctx) {
    (void)ctx;
    return 0;
}

pk_dtype pith_host_dtype(pith_elem elem) {
    switch (elem) {
    case PITH_ELEM_F16:
        return PK_F16;
    case PITH_ELEM_BF16:
        return PK_BF16;
    case PITH_ELEM_F32:
        break;
    }
    return PK_F32;
}

pk_gate pith_host_gate(pith_op_gate gate) {
    switch (gate) {
    case PITH_OP_GATE_ASYMMETRIC:
        return PK_GATE_ASYMMETRIC;
    case PITH_OP_GATE_OR_BOOST:
        return PK_GATE_OR_BOOST;
    case PITH_OP_GATE_MULTIPLICATIVE:
        break;
    }
    return PK_GATE_MULTIPLICATIVE;
}

pith_status pith_host_batch_reserve(pith_host_batch *host, uint32_t tokens_max, pith_err *err) {
    if (tokens_max <= host->tokens_max) {
        return PITH_OK;
    }
    void *positions;
    pith_status status =
        pith_host_alloc(NULL, (size_t)tokens_max * sizeof *host->positions, &positions, err);
    if (status != PITH_OK) {
        return status;
    }
    free(host->positions);
    host->positions = positions;
    host->tokens_max = tokens_max;
    return PITH_OK;
}

void pith_host_batch_begin(pith_host_batch *host, const pith_ops_batch *batch) {
    host->batch = *batch;
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        uint32_t first = batch->cu_seqlens[s];
        for (uint32_t t = first; t < batch->cu_seqlens[s + 1]; t++) {
            host->positions[t] = t - first;
        }
    }
}
