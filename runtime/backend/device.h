/* A compute device: the ops table of a backend and the context it runs in.
 *
 * Owns the context (threads, scratch, packed weights made through it are the caller's). Opened and
 * closed by any thread; used by one thread at a time. Encoders of a device are closed before it. */
#ifndef PITH_BACKEND_DEVICE_H
#define PITH_BACKEND_DEVICE_H

#include "runtime/base/status.h"
#include "runtime/ops.h"

#include <stdbool.h>
#include <stdint.h>

enum { PITH_DEVICE_THREADS_MAX = 256, PITH_DEVICES_MAX = 8 };

typedef struct pith_device {
    const pith_ops *ops;
    pith_ops_ctx *ctx;
    const char *device; /* "cpu" or "cuda" */
    const char *dtype;  /* "f32", "bf16" or "f16" */
    /* "ref", "avx2", "avx512", "avx512-bf16"; the GPU's kernels: "sm90a", "sm80-safe",
     * "sm80-safe-mismatch" where the fast ones did not agree with them,
     * "sm80-safe-cublaslt130100-9f2c51aa" with a library, complete once the models are loaded. */
    const char *isa;
    uint32_t n_threads;
    uint32_t step_tokens; /* largest step that pays; 0: no opinion */
    /* A GPU's. */
    int ordinal;
    const char *uuid;     /* NULL: no GPU */
    bool kernels_refused; /* its fast kernels did not agree with the safe ones, which serve */
} pith_device;

/* NULL or "auto" chooses: the device "cpu", the widest ISA that this CPU has, bf16 where the CPU
 * multiplies it natively and f32 elsewhere, and one thread per core for n_threads 0. */
typedef struct pith_device_opts {
    const char *device;
    const char *dtype;
    const char *isa;
    uint32_t n_threads;
    const char *gpu_kernels; /* "auto", "safe" or "cublas" */
} pith_device_opts;

/* PITH_INVALID for an unknown name; PITH_UNSUPPORTED for a device this build does not have, an ISA
 * this CPU lacks, or a dtype the ISA cannot do; the text names what was asked and what there is. */
PITH_MUST_USE pith_status pith_device_open(pith_device *device, const pith_device_opts *opts,
                                           pith_err *err);

/* A zeroed device, or one already closed, is fine. */
void pith_device_close(pith_device *device);

/* One device, or several GPUs that compute alike: "cuda:0,cuda:1", "cuda:all" (every one of the
 * machine). devices [PITH_DEVICES_MAX] zeroed; *n: how many were opened. On failure none is.
 * PITH_INVALID: one is named twice, or more than PITH_DEVICES_MAX; PITH_UNSUPPORTED: not alike. */
PITH_MUST_USE pith_status pith_devices_open(pith_device *devices, uint32_t *n,
                                            const pith_device_opts *opts, pith_err *err);
void pith_devices_close(pith_device *devices, uint32_t n);

#endif
