/* Broadcasts between the devices of one process by NCCL, opened at run time.
 *
 * Never run on a GPU yet: the calls are tested against a stand-in for the library. One thread. */
#ifndef PITH_BACKEND_CUDA_NCCL_H
#define PITH_BACKEND_CUDA_NCCL_H

#include "runtime/backend/cuda/context.h"

/* The part of nccl.h (2.x) that is used, under names of our own; tests/nvcc holds it against that
 * header. */
enum { NCCL_MAJOR_WANTED = 2, NCCL_OK = 0, NCCL_BYTES = 1 /* ncclUint8 */ };

typedef struct nccl_api {
    int (*version)(int *version);
    int (*init_all)(void **comms, int n, const int *devices);
    int (*destroy)(void *comm);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*broadcast)(const void *from, void *to, size_t count, int type, int root, void *comm,
                     void *stream);
    const char *(*text)(int code);
} nccl_api;

typedef struct cuda_nccl {
    nccl_api api;
    pith_ops_ctx *const *ctxs; /* [n] borrowed */
    uint32_t n;                /* communicators that are open */
    void *comms[PITH_DEVICES_MAX];
} cuda_nccl;

/* PITH_UNSUPPORTED: the library is missing, incomplete, of another major version, or cannot connect
 * the devices; the text says which. `file`: what dlopen gets. Closed by cuda_nccl_close either way.
 */
PITH_MUST_USE pith_status cuda_nccl_open(cuda_nccl *nccl, const char *file,
                                         pith_ops_ctx *const *ctxs, uint32_t n, pith_err *err);
void cuda_nccl_close(cuda_nccl *nccl);

/* What lies at mems[0] of the first device goes to mems[d] of every other, in the order of their
 * streams. */
PITH_MUST_USE pith_status cuda_nccl_broadcast(cuda_nccl *nccl, void *const *mems, size_t bytes,
                                              pith_err *err);

#endif
