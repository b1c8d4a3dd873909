/* The part of CUDA's runtime that the backend uses. Two instances, chosen when linking: runtime.c
 * over cudart, and emulated.cc over kernels/emu, which runs the same backend without a GPU.
 *
 * Calls return a cudaError_t, 0 for success. Streams, events and graphs belong to the device that
 * was in use when they were opened; every thread says pith_cu_use before its first call. Work of a
 * stream runs in order, later than the call that enqueued it. */
#ifndef PITH_BACKEND_CUDA_RUNTIME_H
#define PITH_BACKEND_CUDA_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "runtime/base/status.h"

/* Values of cudaError_t that the backend tells apart. */
enum { PITH_CU_OK = 0, PITH_CU_INVALID = 1, PITH_CU_NO_MEMORY = 2, PITH_CU_LAUNCH_FAILURE = 719 };

typedef struct pith_cu_event pith_cu_event;
typedef struct pith_cu_graph pith_cu_graph;

typedef struct pith_cu_info {
    char name[128];
    char uuid[48]; /* "GPU-..." */
    int major;     /* compute capability */
    int minor;
    int n_sm;
} pith_cu_info;

/* Finds the device and makes it the calling thread's. PITH_UNSUPPORTED: no driver, no such device,
 * one older than sm_80; the text says which, in one line. */
PITH_MUST_USE pith_status pith_cu_open(int ordinal, pith_cu_info *info, pith_err *err);
int pith_cu_count(void); /* devices; 0 without a driver */
int pith_cu_use(int ordinal);

/* What dlopen gets for a library that is opened at run time. */
typedef enum pith_cu_library {
    PITH_CU_CUBLASLT,
    PITH_CU_NCCL,
    PITH_CU_LIBRARY_COUNT
} pith_cu_library;
const char *pith_cu_library_file(pith_cu_library library);

/* After a sticky error every later call of the process on that device fails. */
bool pith_cu_is_sticky(int code);
const char *pith_cu_text(int code);

/* A stream is a cudaStream_t; kernels take it as it is. */
int pith_cu_stream_open(void **stream);
void pith_cu_stream_close(void *stream);
int pith_cu_stream_sync(void *stream);

/* Device memory from the device's pool, ordered with the stream; at least 256-byte aligned. Freed
 * memory stays in the pool. */
int pith_cu_malloc(void *stream, size_t bytes, void **mem);
int pith_cu_free(void *stream, void *mem);
int pith_cu_memory(size_t *free_bytes, size_t *total_bytes);

/* `peer` may read and write the memory of `ordinal`'s pool, where the two are connected: a pool's
 * memory, unlike cudaMalloc's, is its own device's alone until this is said. */
int pith_cu_let_peer(int ordinal, int peer);

/* Page-locked host memory, so that copies run beside kernels. */
int pith_cu_host_alloc(size_t bytes, void **mem);
void pith_cu_host_free(void *mem);

/* Host memory that is not page-locked may be read before the call returns, or as late as the next
 * sync; both sides stay as they are until then. */
int pith_cu_copy_in(void *stream, void *mem, const void *host, size_t bytes);
int pith_cu_copy_out(void *stream, void *host, const void *mem, size_t bytes);

int pith_cu_event_open(pith_cu_event **event);
void pith_cu_event_close(pith_cu_event *event);
int pith_cu_event_record(pith_cu_event *event, void *stream);
int pith_cu_event_sync(pith_cu_event *event);
int pith_cu_stream_wait(void *stream, pith_cu_event *event); /* later work waits for the event */

/* Between begin and end the stream's kernels are recorded and not run. end gives NULL when a call
 * in between failed. */
int pith_cu_capture_begin(void *stream);
int pith_cu_capture_end(void *stream, pith_cu_graph **graph);
int pith_cu_graph_launch(pith_cu_graph *graph, void *stream);
void pith_cu_graph_close(pith_cu_graph *graph);

#ifdef __cplusplus
}
#endif

#endif
