/* with: tests/kernels/pair_isa.c */
/* with: tests/kernels/pair_bf16_isa.c */
/* exp, gelu, number formats and the gate against libm and values worked out by hand. */
#include "tests/kernels/kernel_cases.h"

static void exp_is_within_two_units_in_the_last_place(void **state) {
    double worst = 0.0;
    float x[16];
    float y[16];
    for (double at = -86.9; at < 20.0; at += 0.0037) {
        for (int i = 0; i < 16; i++) {
            x[i] = (float)(at + 0.00023 * i);
        }
        pair_exp(y, x);
        for (int i = 0; i < 16; i++) {
            double error = fabs(y[i] / exp((double)x[i]) - 1.0);
            assert_true(error <= 0x1p-22);
            worst = error > worst ? error : worst;
        }
    }
    print_message("exp: worst relative error 2^%.2f\n", log2(worst));
}

static void exp_is_zero_far_below_and_keeps_a_nan(void **state) {
    float x[16] = {-INFINITY, -1e30f, -87.1f, NAN, 0.0f};
    float y[16];
    pair_exp(y, x);
    assert_true(y[0] == 0.0f && y[1] == 0.0f && y[2] == 0.0f);
    assert_true(isnan(y[3]));
    assert_true(y[4] == 1.0f);
}

/* gelu through geglu: one input, value row 1, gate row 1 / x. */
static float gelu_by(const pk_cpu_isa *isa, float x) {
    float data[2 * 2 * 16] __attribute__((aligned(64))) = {0};
    float scratch[2 * 16 * 2];
    float weights[4] = {x, 0.0f, 0.0f, 1.0f}; /* value: x * a0; gate: a1 */
    float act[2] = {1.0f, 1.0f};
    pk_panels panels = {.data = data};
    (void)pk_panels_plan(&panels, PK_F32, PK_PANEL_PAIRED, isa->width, 2, 2, 1);
    pk_panels_pack(&panels, weights, PK_F32, scratch);
    pk_linear_task task = {.act = act,
                           .act_stride = 2,
                           .rows = 1,
                           .weight = &panels,
                           .panel_begin = 0,
                           .panel_end = 1};
    float out = 0.0f;
    isa->geglu(&out, PK_F32, 1, &task);
    return out;
}

static void gelu_is_within_its_stated_error(void **state) {
    for (size_t i = 0; i < ISA_COUNT; i++) {
        double worst = 0.0;
        if (!runs_here(all_isas[i])) {
            continue;
        }
        for (double at = -14.0; at < 14.0; at += 0.0011) {
            float x = (float)at;
            double expected = 0.5 * x * (1.0 + erf(x * M_SQRT1_2));
            double error = fabs(gelu_by(all_isas[i], x) - expected);
            assert_true(error <= 1e-7 + 1e-7 * fmax(fabs((double)x), 1.0));
            worst = error > worst ? error : worst;
        }
        print_message("gelu %s: worst absolute error %.3g\n", all_isas[i]->name, worst);
        assert_true(gelu_by(all_isas[i], 0.0f) == 0.0f);
        assert_true(gelu_by(all_isas[i], 1e30f) == 1e30f);
        assert_true(isnan(gelu_by(all_isas[i], NAN)));
    }
}

static void bf16_rounds_to_nearest_even_and_keeps_nan(void **state) {
    assert_int_equal(pk_bf16_of_f32(1.0f), 0x3f80);
    assert_int_equal(pk_bf16_of_f32(0x1.01p0f), 0x3f80);     /* half way: to even */
    assert_int_equal(pk_bf16_of_f32(0x1.03p0f), 0x3f82);     /* half way: to even */
    assert_int_equal(pk_bf16_of_f32(0x1.010002p0f), 0x3f81); /* just above */
    assert_int_equal(pk_bf16_of_f32(-0x1.fffffep127f), 0xff80);
    assert_true(isnan(pk_f32_of_bf16(pk_bf16_of_f32(NAN))));
    assert_true(isnan(pk_f32_of_bf16(pk_bf16_of_f32(pk_f32_of_bits(0x7f800001u)))));
}

static void f16_is_read_exactly(void **state) {
    assert_true(pk_f32_of_f16(0x3c00) == 1.0f);
    assert_true(pk_f32_of_f16(0xc000) == -2.0f);
    assert_true(pk_f32_of_f16(0x7bff) == 65504.0f);
    assert_true(pk_f32_of_f16(0x0001) == 0x1p-24f);
    assert_true(pk_f32_of_f16(0x83ff) == -1023.0f * 0x1p-24f);
    assert_true(isinf(pk_f32_of_f16(0x7c00)));
    assert_true(isnan(pk_f32_of_f16(0x7e00)));
}

/* sigma(0) = 1/2, sigma(ln 3) = 3/4, softplus(0) = ln 2, softplus(ln 3) = ln 4. */
static void gates_match_values_worked_out_by_hand(void **state) {
    const float ln3 = 1.0986122886681098f;
    const float ln2 = 0.6931471805599453f;
    check_close(pk_gate_score(PK_GATE_MULTIPLICATIVE, 9.0f, 0.0f, 0.0f), 0.375, 1e-7, "1/2 * 3/4");
    check_close(pk_gate_score(PK_GATE_MULTIPLICATIVE, 9.0f, ln3, ln3), 0.65625, 1e-7, "3/4 * 7/8");
    /* gamma 1: sigma(0 + ln 2) = 2/3; gamma 2, z_span ln 3: sigma(-ln 3 + 2 ln 4) = 16/19. */
    check_close(pk_gate_score(PK_GATE_ASYMMETRIC, 1.0f, 0.0f, 0.0f), 2.0 / 3.0, 1e-7, "2/3");
    check_close(pk_gate_score(PK_GATE_ASYMMETRIC, 2.0f, -ln3, ln3), 16.0 / 19.0, 1e-7, "16/19");
    check_close(pk_gate_score(PK_GATE_ASYMMETRIC, 0.0f, ln3, 50.0f), 0.75, 1e-7, "gamma 0");
    /* p = 2/5 and s = 3/4: boosted to 0.625. p = 1/2 is inside, p = 1/4 and s = 1/2 are not. */
    float p40 = -0.4054651081081644f;
    check_close(pk_gate_score(PK_GATE_OR_BOOST, 9.0f, p40, ln3), 0.625, 1e-7, "boosted");
    check_close(pk_gate_score(PK_GATE_OR_BOOST, 9.0f, 0.0f, ln3), 0.625, 1e-7, "p = 1/2");
    check_close(pk_gate_score(PK_GATE_OR_BOOST, 9.0f, -ln3, ln3), 0.25, 1e-7, "p = 1/4");
    check_close(pk_gate_score(PK_GATE_OR_BOOST, 9.0f, p40, 0.0f), 0.4, 1e-7, "s = 1/2");
    check_close(pk_gate_score(PK_GATE_OR_BOOST, 9.0f, ln3, ln3), 0.75, 1e-7, "p over 1/2");
    check_close(pk_gate_score(PK_GATE_OR_BOOST, 9.0f, ln2, ln3), 2.0 / 3.0, 1e-7, "p = 2/3");
}

static void a_span_can_only_raise_the_asymmetric_score(void **state) {
    test_rng rng = {7};
    for (int i = 0; i < 2000; i++) {
        float z = test_uniform(&rng, 8.0f);
        float span = test_uniform(&rng, 8.0f);
        double alone = 1.0 / (1.0 + exp(-(double)z));
        assert_true(pk_gate_score(PK_GATE_ASYMMETRIC, 0.94f, z, span) >= (float)alone - 1e-7f);
    }
}

static void a_gate_gives_nan_for_nan_and_survives_infinities(void **state) {
    for (int gate = PK_GATE_MULTIPLICATIVE; gate <= PK_GATE_OR_BOOST; gate++) {
        assert_true(isnan(pk_gate_score((pk_gate)gate, 1.0f, NAN, 0.0f)));
        assert_true(isnan(pk_gate_score((pk_gate)gate, 1.0f, 0.0f, NAN)));
        assert_true(isnan(pk_gate_score((pk_gate)gate, 1.0f, 3.0f, NAN)));
        check_close(pk_gate_score((pk_gate)gate, 1.0f, 700.0f, 700.0f), 1.0, 0.0, "both high");
        check_close(pk_gate_score((pk_gate)gate, 1.0f, -700.0f, -700.0f), 0.0, 1e-7, "both low");
    }
}

/* The comparison that every kernel test leans on must itself be able to fail. */
static void the_comparison_refuses_a_nan(void **state) {
    double nan = NAN;
    assert_false(fabs(nan - 1.0) <= 1e30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_two_units_in_the_last_place),
        cmocka_unit_test(exp_is_zero_far_below_and_keeps_a_nan),
        cmocka_unit_test(gelu_is_within_its_stated_error),
        cmocka_unit_test(bf16_rounds_to_nearest_even_and_keeps_nan),
        cmocka_unit_test(f16_is_read_exactly),
        cmocka_unit_test(gates_match_values_worked_out_by_hand),
        cmocka_unit_test(a_span_can_only_raise_the_asymmetric_score),
        cmocka_unit_test(a_gate_gives_nan_for_nan_and_survives_infinities),
        cmocka_unit_test(the_comparison_refuses_a_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
