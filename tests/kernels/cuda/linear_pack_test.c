/* kernels/cuda/linear_pack.c and the f16 rounding in kernels/types.h. */
#include "kernels/cuda/linear_pack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void f16_rounds_to_nearest_even_and_saturates(void **state) {
    const struct {
        float value;
        uint16_t half;
    } cases[] = {
        {0.0f, 0x0000},         {-0.0f, 0x8000},      {1.0f, 0x3c00},       {-2.5f, 0xc100},
        {65504.0f, 0x7bff},     {65519.9f, 0x7bff},   {65520.0f, 0x7bff},   {-1e9f, 0xfbff},
        {INFINITY, 0x7bff},     {0x1p-24f, 0x0001},   {0x1p-25f, 0x0000},   {0x1.8p-24f, 0x0002},
        {0x1.004p0f, 0x3c01},   {0x1.002p0f, 0x3c00}, {0x1.006p0f, 0x3c02}, {0x1.ff8p-15f, 0x03ff},
        {0x1.ffcp-15f, 0x0400}, {0x1.fffp0f, 0x4000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pk_f16_of_f32(cases[i].value), cases[i].half);
    }
    assert_true(isnan(pk_f32_of_f16(pk_f16_of_f32(NAN))));
}

static void every_f16_number_is_its_own_rounding(void **state) {
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = pk_f32_of_f16((uint16_t)half);
        if (isfinite(value)) {
            assert_int_equal(pk_f16_of_f32(value), half);
        } else if (isnan(value)) {
            assert_true(isnan(pk_f32_of_f16(pk_f16_of_f32(value))));
        }
    }
}

enum { K = 16 };

/* Element (row, i) of a source holds row * K + i, exact in f16 up to 2,048. */
static void fill(float *src, size_t count) {
    for (size_t i = 0; i < count; i++) {
        src[i] = (float)i;
    }
}

static void a_plain_weight_keeps_its_rows(void **state) {
    float src[32 * K];
    uint16_t out[32 * K];
    pk_linear_cuda_shape shape;
    fill(src, 32 * K);
    assert_true(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_PLAIN, 32, K));
    assert_int_equal(pk_linear_cuda_pack(out, PK_F16, src, PK_F32, PK_LINEAR_CUDA_PLAIN, shape), 0);
    for (size_t i = 0; i < 32 * K; i++) {
        assert_true(pk_f32_of_f16(out[i]) == src[i]);
    }
}

static void a_geglu_weight_alternates_eight_values_with_their_eight_gates(void **state) {
    float src[64 * K];
    uint16_t out[64 * K];
    pk_linear_cuda_shape shape;
    fill(src, 64 * K);
    assert_true(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_GEGLU, 64, K));
    assert_int_equal(pk_linear_cuda_pack(out, PK_F16, src, PK_F32, PK_LINEAR_CUDA_GEGLU, shape), 0);
    for (size_t j = 0; j < 32; j++) {
        size_t value = j / 8 * 16 + j % 8;
        assert_true(pk_f32_of_f16(out[value * K + 3]) == src[j * K + 3]);
        assert_true(pk_f32_of_f16(out[(value + 8) * K + 3]) == src[(32 + j) * K + 3]);
    }
}

static void a_span_convolution_lies_tap_after_tap(void **state) {
    enum { CHANNELS = 16, TAPS = 5 };
    static uint16_t src[CHANNELS * K * TAPS], out[CHANNELS * K * TAPS];
    pk_linear_cuda_shape shape;
    for (size_t i = 0; i < CHANNELS * K * TAPS; i++) {
        src[i] = (uint16_t)i; /* any bits that are no NaN pass from bf16 to bf16 */
    }
    assert_true(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, CHANNELS, (size_t)K * TAPS));
    assert_int_equal(shape.n, CHANNELS * TAPS);
    assert_int_equal(shape.k, K);
    assert_int_equal(
        pk_linear_cuda_pack(out, PK_BF16, src, PK_BF16, PK_LINEAR_CUDA_SPAN_CONV, shape), 0);
    for (size_t c = 0; c < CHANNELS; c++) {
        for (size_t tap = 0; tap < TAPS; tap++) {
            for (size_t d = 0; d < K; d++) {
                assert_int_equal(out[(tap * CHANNELS + c) * K + d], src[(c * K + d) * TAPS + tap]);
            }
        }
    }
}

static void a_weight_too_large_for_f16_is_saturated_and_counted(void **state) {
    float src[16 * K] = {0};
    uint16_t out[16 * K];
    pk_linear_cuda_shape shape = {16, K};
    src[5] = 70000.0f;
    src[9] = -INFINITY;
    src[11] = NAN;
    assert_int_equal(pk_linear_cuda_pack(out, PK_F16, src, PK_F32, PK_LINEAR_CUDA_PLAIN, shape), 2);
    assert_int_equal(out[5], 0x7bff);
    assert_int_equal(out[9], 0xfbff);
    assert_true(isnan(pk_f32_of_f16(out[11])));
    assert_int_equal(pk_linear_cuda_pack(out, PK_BF16, src, PK_F32, PK_LINEAR_CUDA_PLAIN, shape),
                     0);
}

static void a_shape_that_no_kernel_can_multiply_is_refused(void **state) {
    pk_linear_cuda_shape shape;
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_PLAIN, 0, 16));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_PLAIN, 16, 0));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_PLAIN, 24, 16));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_PLAIN, 16, 24));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_PLAIN, SIZE_MAX, 16));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, 16, 16 * 5 + 1));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, 8, 16 * 5));
    assert_true(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, 32, 16 * 5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_rounds_to_nearest_even_and_saturates),
        cmocka_unit_test(every_f16_number_is_its_own_rounding),
        cmocka_unit_test(a_plain_weight_keeps_its_rows),
        cmocka_unit_test(a_geglu_weight_alternates_eight_values_with_their_eight_gates),
        cmocka_unit_test(a_span_convolution_lies_tap_after_tap),
        cmocka_unit_test(a_weight_too_large_for_f16_is_saturated_and_counted),
        cmocka_unit_test(a_shape_that_no_kernel_can_multiply_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
