/* refused for: spill */
#include "kernels/cuda/prim/gpu.cuh"

namespace {

/* 64 live values, and room for 32 registers: 2,048 threads share 65,536. */
__global__ void __launch_bounds__(1024, 2) k_spill(float *out, const float *x) {
    float values[64];
#pragma unroll
    for (int i = 0; i < 64; i++) {
        values[i] = x[threadIdx.x + unsigned(i) * 1024];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 64; i++) {
#pragma unroll
        for (int j = 0; j < i; j++) {
            values[i] = fmaf(values[j], values[63 - i], values[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < 64; i++) {
        out[threadIdx.x + unsigned(i) * 1024] = values[i];
    }
}

} // namespace

int launch_spill(const pk::Launch &config, float *out, const float *x) {
    return pk::launch(k_spill, config, out, x);
}
