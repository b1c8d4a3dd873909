/* What tests may ask of the emulated instance of runtime.h beside what the backend asks. */
#ifndef PITH_BACKEND_CUDA_EMULATED_H
#define PITH_BACKEND_CUDA_EMULATED_H

#include <stddef.h>
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

/* The call after `calls` more of its kind returns `code`, once. A sticky code stays. */
void pith_emulated_fail(pith_emulated_call call, unsigned calls, int code);

/* Forgets faults and sticky errors; devices have `bytes` of memory (0: 1 GiB). Nothing may be
 * allocated. */
void pith_emulated_reset(size_t bytes);

/* Devices opened later are of this compute capability (8.0). */
void pith_emulated_capability(int major, int minor);

/* Kernels of this name do nothing, until NULL or the next reset. */
void pith_emulated_mute(const char *kernel);

typedef struct pith_emulated_stats {
    uint64_t kernels;     /* run */
    uint64_t graph_nodes; /* of those, out of a graph */
    uint64_t graphs;      /* recorded */
    uint64_t copies_in;
    size_t bytes_in_use;   /* device memory allocated */
    size_t streams_events; /* open streams, events, graphs and host blocks */
} pith_emulated_stats;

pith_emulated_stats pith_emulated_read(void);

#ifdef __cplusplus
}
#endif

#endif
