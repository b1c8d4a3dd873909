/* runtime.h over CUDA's own runtime, linked statically: the program starts where no driver is. */
#include "runtime/backend/cuda/runtime.h"

#include <cuda_runtime_api.h>

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

static cudaStream_t stream_of(void *stream) {
    return stream;
}

static cudaEvent_t event_of(pith_cu_event *event) {
    return (cudaEvent_t)event;
}

/* cudart loads libcuda.so.1 itself, but says only that the driver is "insufficient" without it. */
static pith_status check_driver(int ordinal, pith_err *err) {
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver == NULL) {
        return pith_fail(err, PITH_UNSUPPORTED,
                         "device \"cuda:%d\": this machine has no NVIDIA driver (libcuda.so.1 is "
                         "missing)",
                         ordinal);
    }
    (void)dlclose(driver); /* cudart's own reference keeps it */
    return PITH_OK;
}

/* As nvidia-smi writes it: groups of 4, 2, 2, 2 and 6 bytes. */
static void write_uuid(char *out, size_t size, const cudaUUID_t *uuid) {
    size_t used = (size_t)snprintf(out, size, "GPU");
    for (size_t i = 0; i < sizeof uuid->bytes; i++) {
        bool group = i == 0 || i == 4 || i == 6 || i == 8 || i == 10;
        used += (size_t)snprintf(out + used, size - used, "%s%02x", group ? "-" : "",
                                 (unsigned)(unsigned char)uuid->bytes[i]);
    }
}

pith_status pith_cu_open(int ordinal, pith_cu_info *info, pith_err *err) {
    pith_status status = check_driver(ordinal, err);
    if (status != PITH_OK) {
        return status;
    }
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess) {
        return pith_fail(err, PITH_UNSUPPORTED, "device \"cuda:%d\": %s", ordinal,
                         cudaGetErrorString(code));
    }
    if (ordinal >= count) {
        return pith_fail(err, PITH_UNSUPPORTED, "device \"cuda:%d\": this machine has %d", ordinal,
                         count);
    }
    struct cudaDeviceProp prop;
    code = cudaGetDeviceProperties(&prop, ordinal);
    code = code == cudaSuccess ? cudaSetDevice(ordinal) : code;
    if (code != cudaSuccess) {
        return pith_fail(err, PITH_UNSUPPORTED, "device \"cuda:%d\": %s", ordinal,
                         cudaGetErrorString(code));
    }
    (void)snprintf(info->name, sizeof info->name, "%.120s", prop.name);
    write_uuid(info->uuid, sizeof info->uuid, &prop.uuid);
    info->major = prop.major;
    info->minor = prop.minor;
    info->n_sm = prop.multiProcessorCount;
    if (prop.major < 8) {
        return pith_fail(err, PITH_UNSUPPORTED,
                         "device \"cuda:%d\": %.120s is sm_%d%d, expected sm_80 or later", ordinal,
                         prop.name, prop.major, prop.minor);
    }
    cudaMemPool_t pool;
    uint64_t keep = UINT64_MAX; /* freed memory stays in the pool */
    code = cudaDeviceGetDefaultMemPool(&pool, ordinal);
    if (code == cudaSuccess) {
        code = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep);
    }
    return code == cudaSuccess ? PITH_OK
                               : pith_fail(err, PITH_UNSUPPORTED,
                                           "device \"cuda:%d\": no memory "
                                           "pool: %s",
                                           ordinal, cudaGetErrorString(code));
}

int pith_cu_count(void) {
    int count = 0;
    pith_err err;
    if (check_driver(0, &err) != PITH_OK || cudaGetDeviceCount(&count) != cudaSuccess) {
        return 0;
    }
    return count;
}

int pith_cu_use(int ordinal) {
    return cudaSetDevice(ordinal);
}

const char *pith_cu_library_file(pith_cu_library library) {
    static const char *const files[PITH_CU_LIBRARY_COUNT] = {
        [PITH_CU_CUBLASLT] = "libcublasLt.so.13",
        [PITH_CU_NCCL] = "libnccl.so.2",
    };
    return files[library];
}

/* The errors after which CUDA's documentation says that the process must be restarted to go on. */
bool pith_cu_is_sticky(int code) {
    switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown:
        return true;
    default:
        return false;
    }
}

const char *pith_cu_text(int code) {
    return cudaGetErrorString((cudaError_t)code);
}

int pith_cu_stream_open(void **stream) {
    cudaStream_t made = NULL;
    int code = cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
    *stream = made;
    return code;
}

void pith_cu_stream_close(void *stream) {
    if (stream != NULL) {
        (void)cudaStreamDestroy(stream_of(stream));
    }
}

int pith_cu_stream_sync(void *stream) {
    return cudaStreamSynchronize(stream_of(stream));
}

int pith_cu_malloc(void *stream, size_t bytes, void **mem) {
    int code = cudaMallocAsync(mem, bytes, stream_of(stream));
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); /* not sticky, but remembered for the next check */
    }
    return code;
}

int pith_cu_free(void *stream, void *mem) {
    return cudaFreeAsync(mem, stream_of(stream));
}

int pith_cu_memory(size_t *free_bytes, size_t *total_bytes) {
    return cudaMemGetInfo(free_bytes, total_bytes);
}

int pith_cu_let_peer(int ordinal, int peer) {
    int connected = 0;
    cudaMemPool_t pool;
    int code = cudaDeviceCanAccessPeer(&connected, peer, ordinal);
    if (code != cudaSuccess || connected == 0) {
        return code;
    }
    const struct cudaMemAccessDesc access = {
        .location = {.type = cudaMemLocationTypeDevice, .id = peer},
        .flags = cudaMemAccessFlagsProtReadWrite,
    };
    code = cudaDeviceGetDefaultMemPool(&pool, ordinal);
    if (code == cudaSuccess) {
        code = cudaMemPoolSetAccess(pool, &access, 1);
    }
    return code;
}

int pith_cu_host_alloc(size_t bytes, void **mem) {
    *mem = NULL;
    return cudaHostAlloc(mem, bytes, cudaHostAllocDefault);
}

void pith_cu_host_free(void *mem) {
    if (mem != NULL) {
        (void)cudaFreeHost(mem);
    }
}

int pith_cu_copy_in(void *stream, void *mem, const void *host, size_t bytes) {
    return cudaMemcpyAsync(mem, host, bytes, cudaMemcpyHostToDevice, stream_of(stream));
}

int pith_cu_copy_out(void *stream, void *host, const void *mem, size_t bytes) {
    return cudaMemcpyAsync(host, mem, bytes, cudaMemcpyDeviceToHost, stream_of(stream));
}

int pith_cu_event_open(pith_cu_event **event) {
    cudaEvent_t made = NULL;
    int code = cudaEventCreateWithFlags(&made, cudaEventDisableTiming);
    *event = (pith_cu_event *)made;
    return code;
}

void pith_cu_event_close(pith_cu_event *event) {
    if (event != NULL) {
        (void)cudaEventDestroy(event_of(event));
    }
}

int pith_cu_event_record(pith_cu_event *event, void *stream) {
    return cudaEventRecord(event_of(event), stream_of(stream));
}

int pith_cu_event_sync(pith_cu_event *event) {
    return cudaEventSynchronize(event_of(event));
}

int pith_cu_stream_wait(void *stream, pith_cu_event *event) {
    return cudaStreamWaitEvent(stream_of(stream), event_of(event), 0);
}

int pith_cu_capture_begin(void *stream) {
    /* Thread-local: another device's thread may allocate meanwhile. */
    return cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal);
}

int pith_cu_capture_end(void *stream, pith_cu_graph **graph) {
    cudaGraph_t captured = NULL;
    cudaGraphExec_t made = NULL;
    *graph = NULL;
    cudaError_t code = cudaStreamEndCapture(stream_of(stream), &captured);
    if (code == cudaSuccess) {
        code = cudaGraphInstantiate(&made, captured, 0);
    }
    if (captured != NULL) {
        (void)cudaGraphDestroy(captured);
    }
    *graph = (pith_cu_graph *)made;
    return code;
}

int pith_cu_graph_launch(pith_cu_graph *graph, void *stream) {
    return cudaGraphLaunch((cudaGraphExec_t)graph, stream_of(stream));
}

void pith_cu_graph_close(pith_cu_graph *graph) {
    if (graph != NULL) {
        (void)cudaGraphExecDestroy((cudaGraphExec_t)graph);
    }
}
