/* 16-bit floats with the names of cuda_bf16.h and cuda_fp16.h: storage and conversions only.
 * Rounding is to nearest, ties to even; a NaN becomes 0x7fff, as cvt.rn makes it. */
#ifndef PK_EMU_HALF_HPP
#define PK_EMU_HALF_HPP

#include "kernels/types.h"

struct __nv_bfloat16 {
    uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
struct __half {
    uint16_t bits;
};
struct alignas(4) __half2 {
    __half x, y;
};

namespace emu {

inline uint16_t bf16_of_f32(float value) {
    return value != value ? uint16_t(0x7fff) : pk_bf16_of_f32(value);
}

inline uint16_t f16_of_f32(float value) {
    uint32_t bits = pk_bits_of_f32(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return 0x7fff;
    }
    if (magnitude >= 0x477ff000u) { /* 65,520 and above round to infinity */
        return uint16_t(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: let the adder round to multiples of 2^-24 */
        float aligned = pk_f32_of_bits(magnitude) + 0.5f;
        return uint16_t(sign | (pk_bits_of_f32(aligned) - 0x3f000000u));
    }
    uint32_t odd = (magnitude >> 13) & 1u;
    uint32_t rebased = magnitude - ((127u - 15u) << 23);
    return uint16_t(sign | ((rebased + 0xfffu + odd) >> 13));
}

} // namespace emu

static inline float __bfloat162float(__nv_bfloat16 value) {
    return pk_f32_of_bf16(value.bits);
}
static inline __nv_bfloat16 __float2bfloat16(float value) {
    return {emu::bf16_of_f32(value)};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float lo, float hi) {
    return {__float2bfloat16(lo), __float2bfloat16(hi)};
}
static inline float __half2float(__half value) {
    return pk_f32_of_f16(value.bits);
}
static inline __half __float2half(float value) {
    return {emu::f16_of_f32(value)};
}
static inline __half2 __floats2half2_rn(float lo, float hi) {
    return {__float2half(lo), __float2half(hi)};
}

#endif
