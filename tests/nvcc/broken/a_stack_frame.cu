/* refused for: stack */
#include "kernels/cuda/prim/gpu.cuh"

namespace {

/* Indexed at run time, so it cannot lie in registers. */
__global__ void __launch_bounds__(128) k_stack(float *out, const float *x, const int *which) {
    float values[64] = {};
    for (int i = 0; i < 64; i++) {
        values[which[i] & 63] += x[threadIdx.x];
    }
    out[threadIdx.x] = values[which[threadIdx.x] & 63];
}

} // namespace

int launch_stack(const pk::Launch &config, float *out, const float *x, const int *which) {
    return pk::launch(k_stack, config, out, x, which);
}
