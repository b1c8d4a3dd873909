#include "runtime/weights/checkpoint.h"

#include <string.h>

size_t pith_dtype_bytes(pith_dtype dtype) {
    return dtype == PITH_F32 ? 4 : 2;
}

size_t pith_tensor_count(const pith_tensor *tensor) {
    size_t count = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        count *= tensor->shape[i];
    }
    return count;
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16 to binary32, exact; subnormals are scaled by 2^-24. */
static float half_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24f;
        return sign == 0 ? magnitude : -magnitude;
    }
    uint32_t wide = exponent == 0x1fu ? 0xffu : exponent + (127 - 15);
    return from_bits(sign | wide << 23 | fraction << 13);
}

void pith_tensor_to_f32(const pith_tensor *tensor, float *out) {
    size_t count = pith_tensor_count(tensor);
    const uint16_t *halves = tensor->data;
    switch (tensor->dtype) {
    case PITH_F32:
        memcpy(out, tensor->data, count * sizeof *out);
        return;
    case PITH_F16:
        for (size_t i = 0; i < count; i++) {
            out[i] = half_to_f32(halves[i]);
        }
        return;
    case PITH_BF16:
        for (size_t i = 0; i < count; i++) {
            out[i] = from_bits((uint32_t)halves[i] << 16);
        }
        return;
    }
}
