/* Element types of the kernels and their conversions. Leaf: no ownership, no runtime types.
 *
 * bf16 is the upper half of an f32; rounding to it is to nearest, ties to even, and a NaN stays a
 * NaN. f16 likewise, but what exceeds its largest number becomes that number. */
#ifndef PK_TYPES_H
#define PK_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A function that host and device share. */
#ifdef __CUDACC__
#define PK_HOST_DEVICE __host__ __device__
#else
#define PK_HOST_DEVICE
#endif

typedef enum pk_dtype { PK_F32, PK_F16, PK_BF16 } pk_dtype;

static inline size_t pk_dtype_bytes(pk_dtype dtype) {
    return dtype == PK_F32 ? 4 : 2;
}

static inline float pk_f32_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t pk_bits_of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float pk_f32_of_bf16(uint16_t bits) {
    return pk_f32_of_bits((uint32_t)bits << 16);
}

static inline uint16_t pk_bf16_of_f32(float value) {
    uint32_t bits = pk_bits_of_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)((bits >> 16) | 0x0040u); /* quiet, sign and upper payload kept */
    }
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static inline float pk_f32_of_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        float magnitude = (float)fraction * 0x1p-24f;
        return pk_f32_of_bits(pk_bits_of_f32(magnitude) | sign);
    }
    uint32_t wide = exponent == 31 ? 0xffu : exponent + (127 - 15);
    return pk_f32_of_bits(sign | (wide << 23) | (fraction << 13));
}

#define PK_F16_MAX 65504.0f

/* A magnitude above PK_F16_MAX, infinity too, becomes PK_F16_MAX. */
static inline uint16_t pk_f16_of_f32(float value) {
    uint32_t bits = pk_bits_of_f32(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu)); /* quiet */
    }
    if (magnitude >= 0x477fe000u) { /* 65,504 */
        return (uint16_t)(sign | 0x7bffu);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: let the adder round to multiples of 2^-24 */
        return (uint16_t)(sign | (pk_bits_of_f32(pk_f32_of_bits(magnitude) + 0.5f) - 0x3f000000u));
    }
    uint32_t odd = (magnitude >> 13) & 1u;
    return (uint16_t)(sign | ((magnitude - ((127u - 15u) << 23) + 0xfffu + odd) >> 13));
}

/* out[count] = src[first .. first + count) as f32. */
static inline void pk_to_f32(float *out, const void *src, pk_dtype dtype, size_t first,
                             size_t count) {
    if (dtype == PK_F32) {
        memcpy(out, (const float *)src + first, count * sizeof *out);
        return;
    }
    const uint16_t *halves = (const uint16_t *)src + first;
    if (dtype == PK_BF16) {
        for (size_t i = 0; i < count; i++) {
            out[i] = pk_f32_of_bf16(halves[i]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            out[i] = pk_f32_of_f16(halves[i]);
        }
    }
}

#endif
