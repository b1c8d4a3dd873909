/* What the backends on the host share: memory operations and the begun batch. */
#ifndef PITH_BACKEND_HOST_H
#define PITH_BACKEND_HOST_H

#include "kernels/heads.h"
#include "kernels/types.h"
#include "runtime/backend/device.h"
#include "runtime/ops.h"

/* Memory operations of pith_ops for a device that is the host; the context is not looked at. */
pith_status pith_host_alloc(pith_ops_ctx *ctx, size_t bytes, void **mem, pith_err *err);
void pith_host_free(pith_ops_ctx *ctx, void *mem);
void pith_host_copy(pith_ops_ctx *ctx, void *to, const void *from, size_t bytes);
pith_status pith_host_sync(pith_ops_ctx *ctx, pith_err *err);

/* Steps of a device that has done an operation when it returns: nothing to mark, wait for, record.
 */
uint64_t pith_host_mark(pith_ops_ctx *ctx);
pith_status pith_host_wait(pith_ops_ctx *ctx, uint64_t mark, pith_err *err);
void pith_host_end(pith_ops_ctx *ctx);
void pith_host_forget(pith_ops_ctx *ctx, const void *recording);
uint64_t pith_host_saturated(const pith_ops_ctx *ctx);

pk_dtype pith_host_dtype(pith_elem elem);
pk_gate pith_host_gate(pith_op_gate gate);

/* The step's batch with each row's position in its sequence. Owns `positions`. */
typedef struct pith_host_batch {
    pith_ops_batch batch;
    uint32_t *positions; /* [tokens_max] */
    uint32_t tokens_max;
} pith_host_batch;

pith_status pith_host_batch_reserve(pith_host_batch *host, uint32_t tokens_max, pith_err *err);
void pith_host_batch_begin(pith_host_batch *host, const pith_ops_batch *batch);

/* Opens one backend; `opts` has been checked to name it. */
pith_status pith_ref_open(pith_device *device, const pith_device_opts *opts, pith_err *err);
void pith_ref_close(pith_ops_ctx *ctx);
pith_status pith_cpu_open(pith_device *device, const pith_device_opts *opts, pith_err *err);
void pith_cpu_close(pith_ops_ctx *ctx);

/* runtime/backend/cuda, or what stands in for it where CUDA is not built in. `opts->device` is
 * "cuda" or "cuda:N". */
pith_status pith_cuda_open(pith_device *device, const pith_device_opts *opts, pith_err *err);
void pith_cuda_close(pith_ops_ctx *ctx);

/* "cuda:N", "cuda:N,cuda:M" or "cuda:all". On failure the first *n devices are open. */
pith_status pith_cuda_open_all(pith_device *devices, uint32_t *n, const pith_device_opts *opts,
                               pith_err *err);

extern const pith_ops pith_ops_ref;
extern const pith_ops pith_ops_cpu;

#endif
