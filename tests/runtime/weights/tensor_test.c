/* Conversion of stored numbers to f32. */
#include "runtime/weights/checkpoint.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static float convert(const void *bits, pith_dtype dtype) {
    pith_tensor tensor = {.data = bits, .dtype = dtype, .n_dims = 1, .shape = {1}};
    float value;
    pith_tensor_to_f32(&tensor, &value);
    return value;
}

/* sign, 5 exponent bits of bias 15, 10 fraction bits (IEEE 754 binary16). */
static double half_value(uint32_t bits) {
    int exponent = (int)(bits >> 10 & 31u);
    double fraction = (double)(bits & 1023u);
    double magnitude =
        exponent == 0 ? ldexp(fraction, -24) : ldexp(1024.0 + fraction, exponent - 25);
    return (bits & 0x8000u) != 0 ? -magnitude : magnitude;
}

static void every_half_converts_exactly(void **state) {
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        uint16_t half = (uint16_t)bits;
        float value = convert(&half, PITH_F16);
        if ((bits & 0x7c00u) == 0x7c00u) {
            assert_true((bits & 0x3ffu) == 0 ? isinf(value) : isnan(value));
            continue;
        }
        assert_true((double)value == half_value(bits));
        assert_int_equal(signbit(value) != 0, bits >> 15);
    }
}

static void every_bf16_is_the_upper_half_of_an_f32(void **state) {
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        uint16_t half = (uint16_t)bits;
        float value = convert(&half, PITH_BF16);
        uint32_t wide;
        memcpy(&wide, &value, sizeof wide);
        if (!isnan(value)) {
            assert_int_equal(wide, bits << 16);
        }
    }
}

static void f32_is_copied_and_counts_multiply(void **state) {
    const float values[6] = {1, 2, 3, 4, 5, 6};
    float out[6];
    pith_tensor tensor = {.data = values, .dtype = PITH_F32, .n_dims = 3, .shape = {1, 2, 3}};
    assert_int_equal(pith_tensor_count(&tensor), 6);
    pith_tensor_to_f32(&tensor, out);
    assert_memory_equal(out, values, sizeof out);
    assert_int_equal(pith_dtype_bytes(PITH_F32), 4);
    assert_int_equal(pith_dtype_bytes(PITH_F16), 2);
    assert_int_equal(pith_dtype_bytes(PITH_BF16), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_converts_exactly),
        cmocka_unit_test(every_bf16_is_the_upper_half_of_an_f32),
        cmocka_unit_test(f32_is_copied_and_counts_multiply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
