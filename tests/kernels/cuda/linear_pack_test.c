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

/* Element (row, i) holds the row's number, and a half more in its second half: exact in bf16. */
static void fill(float *src, size_t rows) {
    for (size_t i = 0; i < rows * K; i++) {
        src[i] = (float)(i / K) + (rows < 64 && i % K >= K / 2 ? 0.5f : 0.0f);
    }
}

/* Where output `output` of a group lies: lane by lane, in tiles of 8 packed rows. */
static size_t packed_row(size_t output, size_t per_lane) {
    return output % per_lane / 2 * 8 + output / per_lane * 2 + output % 2;
}

static void pack(uint16_t *out, const float *src, size_t n, pk_linear_cuda_kind kind) {
    pk_linear_cuda_shape shape;
    assert_true(pk_linear_cuda_plan(&shape, kind, n, K));
    assert_int_equal(pk_linear_cuda_pack(out, PK_BF16, src, PK_F32, kind, shape), 0);
}

static void a_plain_weight_gives_a_lane_four_neighbours(void **state) {
    float src[32 * K];
    uint16_t out[32 * K];
    fill(src, 32);
    pack(out, src, 32, PK_LINEAR_CUDA_PLAIN);
    for (size_t r = 0; r < 32; r++) {
        size_t row = r / 16 * 16 + packed_row(r % 16, 4);
        assert_true(pk_f32_of_bf16(out[row * K]) == (float)r);
        assert_true(pk_f32_of_bf16(out[row * K + 15]) == (float)r + 0.5f);
    }
}

static void a_qkv_weight_gives_a_lane_eight_neighbours_of_each_half_head(void **state) {
    float src[192 * K];
    uint16_t out[192 * K];
    fill(src, 192);
    pack(out, src, 192, PK_LINEAR_CUDA_QKV);
    for (size_t r = 0; r < 192; r++) {
        size_t row = r / 32 * 32 + packed_row(r % 32, 8);
        assert_true(pk_f32_of_bf16(out[row * K]) == (float)r);
    }
}

static void a_geglu_weight_gives_a_lane_eight_values_each_beside_its_gate(void **state) {
    float src[128 * K];
    uint16_t out[128 * K];
    fill(src, 128);
    pack(out, src, 128, PK_LINEAR_CUDA_GEGLU);
    for (size_t r = 0; r < 64; r++) {
        size_t in_group = packed_row(r % 32, 8); /* of values alone: tiles alternate with gates */
        size_t row = r / 32 * 64 + in_group / 8 * 16 + in_group % 8;
        assert_true(pk_f32_of_bf16(out[row * K]) == (float)r);
        assert_true(pk_f32_of_bf16(out[(row + 8) * K]) == (float)(64 + r));
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
                size_t row = tap * CHANNELS + packed_row(c, 4);
                assert_int_equal(out[row * K + d], src[(c * K + d) * TAPS + tap]);
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
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_QKV, 64, 16));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_GEGLU, 96, 16));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_PLAIN, SIZE_MAX, 16));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, 16, 16 * 5 + 1));
    assert_false(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, 8, 16 * 5));
    assert_true(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, 32, 16 * 5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_rounds_to_nearest_even_and_saturates),
        cmocka_unit_test(every_f16_number_is_its_own_rounding),
        cmocka_unit_test(a_plain_weight_gives_a_lane_four_neighbours),
        cmocka_unit_test(a_qkv_weight_gives_a_lane_eight_neighbours_of_each_half_head),
        cmocka_unit_test(a_geglu_weight_gives_a_lane_eight_values_each_beside_its_gate),
        cmocka_unit_test(a_span_convolution_lies_tap_after_tap),
        cmocka_unit_test(a_weight_too_large_for_f16_is_saturated_and_counted),
        cmocka_unit_test(a_shape_that_no_kernel_can_multiply_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
