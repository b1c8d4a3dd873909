/* Between f32 and 16-bit pairs: rounding with f16's saturation counted, and back. */
#ifndef PK_CUDA_LINEAR_ROUND_CUH
#define PK_CUDA_LINEAR_ROUND_CUH

#include "kernels/cuda/prim/mma.cuh"
#include "kernels/types.h"

namespace pk {

/* lo in the lower half. What does not fit f16 is saturated and counted in `over`. */
template <bool BF16>
__device__ __forceinline__ uint32_t round_pair(float lo, float hi, uint32_t &over) {
    if (BF16) {
        return ptx::pack_bf16(lo, hi);
    }
    over += uint32_t(fabsf(lo) > PK_F16_MAX) + uint32_t(fabsf(hi) > PK_F16_MAX);
    return ptx::pack_f16(ptx::clamp_nan(lo, PK_F16_MAX), ptx::clamp_nan(hi, PK_F16_MAX));
}

/* One atomic per warp that has something to add; called by whole warps. counter may be NULL. */
__device__ __forceinline__ void add_saturated(uint32_t *counter, uint32_t over) {
    over = __reduce_add_sync(0xffffffffu, over);
    if (over != 0 && counter != nullptr && threadIdx.x % 32 == 0) {
        atomicAdd(counter, over);
    }
}

__device__ __forceinline__ float2 pair_of_bf16(uint32_t bits) {
    return make_float2(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u));
}

__device__ __forceinline__ float2 pair_of_f16(uint32_t bits) {
    return __half22float2(*reinterpret_cast<const __half2 *>(&bits));
}

} // namespace pk

#endif
