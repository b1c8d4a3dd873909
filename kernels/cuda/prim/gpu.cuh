/* What every .cu file starts from: one launch function, the two shared-memory macros, the CUDA
 * names. With PK_EMULATE the host compiler and kernels/emu stand in for nvcc and a GPU.
 *
 * Rules that make one source serve both: launch through pk::launch, never <<<>>>; shared memory
 * through the macros; PTX only in this folder; whole warps may leave early, parts of one may not
 * where a barrier follows; no memcpy on shared memory (the race build does not see it). */
#ifndef PK_CUDA_PRIM_GPU_CUH
#define PK_CUDA_PRIM_GPU_CUH

#include <stddef.h>
#include <stdint.h>

#ifdef PK_EMULATE
#include "kernels/emu/cuda.hpp"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/prim/stall.cuh"
#endif

namespace pk {

struct Launch {
    const char *name; /* for reports */
    dim3 grid, block;
    size_t smem_bytes; /* dynamic */
    unsigned cluster;  /* CTAs along x of a cluster; 1: none */
    bool dependent;    /* may start before the launch before it ends; calls ptx::grid_wait */
    void *stream;      /* cudaStream_t */
};

/* Not NULL, and aligned to what the widest load moves. */
inline bool aligned(const void *pointer) {
    return pointer != nullptr && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

} // namespace pk

#ifdef PK_EMULATE

/* uint8_t *name, aligned to `align` and, in the emulation, to no more. */
#define PK_SMEM_DYNAMIC(name, align) uint8_t *const name = emu::smem_dynamic(align)

/* type name dims, as in PK_SMEM_STATIC(float, sums, [4]). */
#define PK_SMEM_STATIC(type, name, dims)                                                           \
    typedef type name##_shared dims;                                                               \
    static const char name##_key = 0;                                                              \
    name##_shared &name = *reinterpret_cast<name##_shared *>(                                      \
        emu::smem_static(&name##_key, sizeof(name##_shared), alignof(name##_shared)))

namespace pk {

enum { LAUNCH_OK = 0, LAUNCH_FAILED = 999 }; /* 999: cudaErrorUnknown; emu::last_error tells */

/* Runs the grid at once, or hands it to who asked for grids. */
template <class... Params, class... Args>
int launch(void (*kernel)(Params...), const Launch &config, Args... args) {
    auto body = [=] { kernel(static_cast<Params>(args)...); };
    emu::Shape shape = {config.name,       config.grid,    config.block,
                        config.smem_bytes, config.cluster, config.dependent};
    if (emu::launch_hook != nullptr) {
        return emu::launch_hook(config.stream, shape, body);
    }
    bool good = emu::run(
        shape, [](void *context) { (*static_cast<decltype(body) *>(context))(); }, &body);
    return good ? LAUNCH_OK : LAUNCH_FAILED;
}

/* The emulator runs one cluster after another. */
template <class... Params> int resident_clusters(void (*)(Params...), const Launch &, int *count) {
    *count = 1;
    return LAUNCH_OK;
}

} // namespace pk

#else

#define PK_SMEM_DYNAMIC(name, align)     extern __shared__ __align__(1024) uint8_t name[]
#define PK_SMEM_STATIC(type, name, dims) __shared__ type name dims

namespace pk {

enum { LAUNCH_OK = cudaSuccess };

template <class... Params>
cudaError_t ask_for_smem(void (*kernel)(Params...), const Launch &config) {
    const size_t without_consent = 48 * 1024; /* CUDA programming guide: more must be asked for */
    return config.smem_bytes <= without_consent
               ? cudaSuccess
               : cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(config.smem_bytes));
}

/* `attributes` [2] must live as long as the result. */
inline cudaLaunchConfig_t shape_of(const Launch &config, cudaLaunchAttribute *attributes) {
    unsigned count = 0;
    if (config.cluster > 1) {
        attributes[count].id = cudaLaunchAttributeClusterDimension;
        attributes[count].val.clusterDim.x = config.cluster;
        attributes[count].val.clusterDim.y = 1;
        attributes[count++].val.clusterDim.z = 1;
    }
    if (config.dependent) {
        attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[count++].val.programmaticStreamSerializationAllowed = 1;
    }
    cudaLaunchConfig_t shape = {};
    shape.gridDim = config.grid;
    shape.blockDim = config.block;
    shape.dynamicSmemBytes = config.smem_bytes;
    shape.stream = static_cast<cudaStream_t>(config.stream);
    shape.attrs = attributes;
    shape.numAttrs = count;
    return shape;
}

/* Queues the grid; the cudaError_t of queueing it. */
template <class... Params, class... Args>
static int launch(void (*kernel)(Params...), const Launch &config, Args... args) {
#ifdef PK_BOUND_WAITS
    if (const int no_report = stall_attach()) {
        return no_report;
    }
#endif
    cudaError_t refused = ask_for_smem(kernel, config);
    if (refused != cudaSuccess) {
        return refused;
    }
    cudaLaunchAttribute attributes[2];
    const cudaLaunchConfig_t shape = shape_of(config, attributes);
    return cudaLaunchKernelEx(&shape, kernel, static_cast<Params>(args)...);
}

/* Clusters of such a launch that the device holds at once: those that come later wait. */
template <class... Params>
int resident_clusters(void (*kernel)(Params...), const Launch &config, int *count) {
    *count = 0;
    cudaError_t refused = ask_for_smem(kernel, config);
    if (refused != cudaSuccess) {
        return refused;
    }
    cudaLaunchAttribute attributes[2];
    const cudaLaunchConfig_t shape = shape_of(config, attributes);
    return cudaOccupancyMaxActiveClusters(count, kernel, &shape);
}

} // namespace pk

#endif

/* A PTX wrapper: on the device always inline; in the emulation an ordinary function whose last
 * parameter is the caller's line. */
#ifdef PK_EMULATE
#define PTX_FN         static inline
#define PTX_SITE       , EMU_SITE
#define PTX_SITE_ALONE EMU_SITE
#define PTX_BOTH       static inline
#else
#define PTX_FN static __device__ __forceinline__
#define PTX_SITE
#define PTX_SITE_ALONE
#define PTX_BOTH static __host__ __device__ __forceinline__
#endif

#endif
