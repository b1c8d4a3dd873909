/* refused for: registers */
#include "kernels/cuda/prim/gpu.cuh"

namespace {

/* No __launch_bounds__: it may be launched with 1,024 threads, whose registers do not fit. */
__global__ void k_unbounded(float *out, const float *x) {
    float values[80];
#pragma unroll
    for (int i = 0; i < 80; i++) {
        values[i] = x[threadIdx.x + unsigned(i) * 1024];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 80; i++) {
        out[threadIdx.x + unsigned(i) * 1024] = fmaf(values[i], 2.0f, values[79 - i]);
    }
}

} // namespace

int launch_unbounded(const pk::Launch &config, float *out, const float *x) {
    return pk::launch(k_unbounded, config, out, x);
}
