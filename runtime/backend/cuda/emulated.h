/* What tests may ask of the emulated instance of runtime.h beside what the backend asks. */
#ifndef PITH_BACKEND_CUDA_EMULATED_H
#define PITH_BACKEND_CUDA_EMULATED_H

#include "runtime/backend/cuda/runtime.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pith_emulated_call {
    PITH_EMULATED_MALLOC,
    PITH_EMULATED_HOST_ALLOC,
    PITH_EMULATED_COPY,
    PITH_EMULATED_LAUNCH,  /* of a kernel, at the call */
    PITH_EMULATED_RUN,     /* of a kernel, when it runs: seen at the next sync, sticky */
    PITH_EMULATED_CAPTURE, /* capture_end */
    PITH_EMULATED_CALL_COUNT
} pith_emulated_call;

/* What is planted, muted or said of capability from now on is so on this device alone; -1: on all,
 * as after a reset. */
void pith_emulated_only(int ordinal);

/* The call after `calls` more of its kind returns `code`, once. A sticky code stays. */
void pith_emulated_fail(pith_emulated_call call, unsigned calls, int code);

/* Forgets faults and sticky errors; devices have `bytes` of memory (0: 1 GiB). Nothing may be
 * allocated. */
void pith_emulated_reset(size_t bytes);

/* Devices opened later are of this compute capability (8.0). */
void pith_emulated_capability(int major, int minor);

/* Kernels of this name do nothing, until NULL or the next reset. */
void pith_emulated_mute(const char *kernel);

/* The file that stands in for a library that is opened at run time, until NULL or the next reset:
 * none. */
void pith_emulated_library(pith_cu_library library, const char *file);

/* Work of a library on a stream: run(arg) when the stream comes to it, with device memory in reach;
 * arg is freed after the last time. For what stands in for a library. */
int pith_emulated_enqueue(void *stream, int (*run)(void *arg), void *arg);

typedef struct pith_emulated_stats {
    uint64_t kernels;       /* run */
    uint64_t kernels_on[2]; /* of those, on each device */
    uint64_t graph_nodes;   /* of those, out of a graph */
    uint64_t graphs;        /* recorded */
    uint64_t copies_in;
    uint64_t peers; /* pairs of devices of which the second was let at the first one's memory */
    size_t bytes_in_use;   /* device memory allocated */
    size_t streams_events; /* open streams, events, graphs and host blocks */
} pith_emulated_stats;

pith_emulated_stats pith_emulated_read(void);

#ifdef __cplusplus
}
#endif

#endif
