/* refused for: hgmma */
#include "kernels/cuda/prim/wgmma.cuh"

namespace {

/* Sound, but the table of expected counts does not know it. */
__global__ void __launch_bounds__(128) k_unexpected(float *out, uint64_t a, uint64_t b) {
    float d[32] = {};
    ptx::wgmma_pin(d);
    ptx::wgmma_fence();
    ptx::wgmma_m64n64k16_f16_ss<0, 0>(d, a, b, 1);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::wgmma_pin(d);
#pragma unroll
    for (int i = 0; i < 32; i++) {
        out[threadIdx.x * 32 + unsigned(i)] = d[i];
    }
}

} // namespace

int launch_unexpected(const pk::Launch &config, float *out, uint64_t a, uint64_t b) {
    return pk::launch(k_unexpected, config, out, a, b);
}
