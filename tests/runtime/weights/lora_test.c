/* LoRA: scale, patterns, the merge itself, and adapters that cannot be merged. */
#include "runtime/weights/lora.h"

#include "tests/support/weights_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static pith_status parse(pith_lora *lora, const char *json, pith_err *err) {
    return pith_lora_parse(lora, json, strlen(json), "adapter_config.json", err);
}

static void assert_scale(const char *json, const char *module, uint32_t rank, double scale) {
    pith_lora lora;
    pith_err err = {0};
    uint32_t found_rank;
    double found;
    assert_int_equal(parse(&lora, json, &err), PITH_OK);
    assert_int_equal(pith_lora_scale(&lora, module, &found_rank, &found, &err), PITH_OK);
    pith_lora_close(&lora);
    assert_int_equal(found_rank, rank);
    assert_true(fabs(found - scale) <= 1e-15 * scale); /* one division: half an ulp */
}

static void the_scale_is_alpha_over_r_or_over_its_root(void **state) {
    assert_scale("{\"peft_type\":\"LORA\",\"r\":16,\"lora_alpha\":32}", "layers.0.attn.Wqkv", 16,
                 2.0);
    assert_scale("{\"peft_type\":\"LORA\",\"r\":16,\"lora_alpha\":32,\"use_rslora\":true}",
                 "layers.0.attn.Wqkv", 16, 8.0);
    assert_scale("{\"peft_type\":\"LORA\",\"r\":16,\"lora_alpha\":0.5,\"rank_pattern\":{},"
                 "\"alpha_pattern\":null}",
                 "layers.0.attn.Wqkv", 16, 0.03125);
}

static void patterns_name_a_module_by_its_end(void **state) {
    static const char json[] = "{\"peft_type\":\"LORA\",\"r\":16,\"lora_alpha\":32,"
                               "\"rank_pattern\":{\"mlp.Wo\":4,\"layers.1.attn.Wo\":2,\"Wo\":8},"
                               "\"alpha_pattern\":{\"layers.0.mlp.Wo\":8}}";
    assert_scale(json, "layers.0.mlp.Wo", 4, 2.0);
    assert_scale(json, "layers.1.mlp.Wo", 4, 8.0);
    assert_scale(json, "layers.1.attn.Wo", 2, 16.0);
    assert_scale(json, "layers.11.attn.Wo", 8, 4.0); /* "layers.1.attn.Wo" ends not at a dot */
    assert_scale(json, "layers.0.attn.Wqkv", 16, 2.0);
}

typedef struct bad_adapter {
    const char *json;
    pith_status status;
    const char *parts[4];
} bad_adapter;

static const bad_adapter bad_adapters[] = {
    {"{", PITH_CORRUPT, {"adapter_config.json: JSON"}},
    {"{\"r\":16,\"lora_alpha\":32}",
     PITH_UNSUPPORTED,
     {"peft_type: found nothing", "expected \"LORA\""}},
    {"{\"peft_type\":\"IA3\",\"r\":16,\"lora_alpha\":32}",
     PITH_UNSUPPORTED,
     {"peft_type: found \"IA3\""}},
    {"{\"peft_type\":\"LORA\",\"lora_alpha\":32}",
     PITH_CORRUPT,
     {"r: found nothing", "expected an integer"}},
    {"{\"peft_type\":\"LORA\",\"r\":16}",
     PITH_CORRUPT,
     {"lora_alpha: found nothing", "expected a number"}},
    {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":1}",
     PITH_CORRUPT,
     {"r: found 0", "expected an integer from 1 to 1024"}},
    {"{\"peft_type\":\"LORA\",\"r\":99999,\"lora_alpha\":1}",
     PITH_CORRUPT,
     {"r: found 99999", "expected"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":-1}",
     PITH_CORRUPT,
     {"lora_alpha: found -1", "expected a number from 0"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":\"8\"}",
     PITH_CORRUPT,
     {"lora_alpha: found \"8\"", "expected"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"use_dora\":true}",
     PITH_UNSUPPORTED,
     {"use_dora: found true", "expected false"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"fan_in_fan_out\":true}",
     PITH_UNSUPPORTED,
     {"fan_in_fan_out: found true"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"use_rslora\":1}",
     PITH_CORRUPT,
     {"use_rslora: found 1", "expected true or false"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"rank_pattern\":[]}",
     PITH_CORRUPT,
     {"rank_pattern: found an array", "expected an object"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"rank_pattern\":{\"W.*\":2}}",
     PITH_UNSUPPORTED,
     {"rank_pattern: found 2", "plain module names"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"rank_pattern\":{\"Wo\":0}}",
     PITH_CORRUPT,
     {"rank_pattern.Wo: found 0", "expected"}},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"alpha_pattern\":{\"Wo\":\"x\"}}",
     PITH_CORRUPT,
     {"alpha_pattern.Wo: found \"x\"", "expected"}},
};

static void every_bad_adapter_config_is_refused_by_key(void **state) {
    for (size_t i = 0; i < sizeof bad_adapters / sizeof *bad_adapters; i++) {
        pith_lora lora;
        pith_err err = {0};
        uint32_t rank;
        double scale;
        pith_status status = parse(&lora, bad_adapters[i].json, &err);
        if (status == PITH_OK) {
            status = pith_lora_scale(&lora, "layers.0.mlp.Wo", &rank, &scale, &err);
            pith_lora_close(&lora);
        }
        if (err.status != status || status != bad_adapters[i].status) {
            fail_msg("%s: %s: %s", bad_adapters[i].json, pith_status_name(status), err.text);
        }
        weights_assert_text(err.text, bad_adapters[i].parts);
    }
}

static void the_merge_is_the_matrix_product(void **state) {
    enum { ROWS = 5, COLS = 7, RANK = 3 }; /* no multiple of a vector register */
    float w[ROWS * COLS];
    float a[RANK * COLS];
    float b[ROWS * RANK];
    float scratch[COLS];
    double expected[ROWS * COLS];
    for (size_t i = 0; i < ROWS * COLS; i++) {
        w[i] = (float)i / 8;
    }
    for (size_t i = 0; i < RANK * COLS; i++) {
        a[i] = (float)(i * 5 % 11) - 5;
    }
    for (size_t i = 0; i < ROWS * RANK; i++) {
        b[i] = (float)(i * 3 % 7) - 3;
    }
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < COLS; c++) {
            double sum = 0;
            for (size_t k = 0; k < RANK; k++) {
                sum += (double)b[r * RANK + k] * (double)a[k * COLS + c];
            }
            expected[r * COLS + c] = (double)w[r * COLS + c] + 0.5 * sum;
        }
    }
    pith_lora_merge(w, a, b, scratch, (pith_lora_shape){ROWS, COLS, RANK}, 0.5f);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        assert_true((double)w[i] == expected[i]); /* small integers over 8: exact */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scale_is_alpha_over_r_or_over_its_root),
        cmocka_unit_test(patterns_name_a_module_by_its_end),
        cmocka_unit_test(every_bad_adapter_config_is_refused_by_key),
        cmocka_unit_test(the_merge_is_the_matrix_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
