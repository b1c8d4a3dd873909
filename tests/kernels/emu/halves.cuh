/* Random 16-bit data for tests of kernels, and its values. */
#ifndef PK_TESTS_EMU_HALVES_CUH
#define PK_TESTS_EMU_HALVES_CUH

#include "kernels/types.h"
#include "tests/kernels/emu/harness.cuh"

#include <cmath>

namespace test {

inline uint16_t half_of(float x, pk_dtype dtype) {
    return dtype == PK_BF16 ? pk_bf16_of_f32(x) : pk_f16_of_f32(x);
}

inline float value_of(uint16_t bits, pk_dtype dtype) {
    return dtype == PK_BF16 ? pk_f32_of_bf16(bits) : pk_f32_of_f16(bits);
}

/* The error of rounding x to dtype, half a unit in the last place; subnormals apart. */
inline float rounding(float x, pk_dtype dtype) {
    return dtype == PK_F32   ? 0.0f
           : dtype == PK_F16 ? std::fabs(x) * 0x1p-11f + 0x1p-25f
                             : std::fabs(x) * 0x1p-8f;
}

inline std::vector<uint16_t> halves_of(const std::vector<float> &values, pk_dtype dtype) {
    std::vector<uint16_t> halves;
    for (float value : values) {
        halves.push_back(half_of(value, dtype));
    }
    return halves;
}

inline std::vector<float> values_of(const std::vector<uint16_t> &halves, pk_dtype dtype) {
    std::vector<float> values;
    for (uint16_t half : halves) {
        values.push_back(value_of(half, dtype));
    }
    return values;
}

/* Uniform in -limit .. limit, of about 15 bits. */
inline std::vector<float> uniform(size_t count, float limit, uint32_t seed) {
    Integers random(seed);
    std::vector<float> values;
    for (size_t i = 0; i < count; i++) {
        values.push_back(float(random.next(16000)) / 16000.0f * limit);
    }
    return values;
}

/* Values that dtype holds. */
inline std::vector<float> uniform_halves(size_t count, float limit, pk_dtype dtype, uint32_t seed) {
    return values_of(halves_of(uniform(count, limit, seed), dtype), dtype);
}

/* Writes, as the grid before, where a kernel that does not wait for it finds NaN. */
template <class T> __global__ void k_copy(T *to, const T *from, int count) {
    for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < count;
         i += int(gridDim.x * blockDim.x)) {
        to[i] = from[i];
    }
}

template <class T> bool copied_by_a_grid(Buffer<T> &to, Buffer<T> &from) {
    return pk::launch(k_copy<T>, config("k_copy", 2, 32), to.get(), from.get(), int(to.size())) ==
           pk::LAUNCH_OK;
}

/* What a kernel must not have touched: every byte as Buffer left it. */
template <class T> bool poisoned(const std::vector<T> &values, size_t first, size_t count) {
    for (size_t i = first; i < first + count; i++) {
        uint8_t bytes[sizeof(T)];
        memcpy(bytes, &values[i], sizeof bytes);
        for (uint8_t byte : bytes) {
            if (byte != 0xff) {
                return false;
            }
        }
    }
    return true;
}

} // namespace test

#endif
