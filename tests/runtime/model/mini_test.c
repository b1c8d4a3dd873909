/* The shipped model against golden.json beside it: PyTorch, fp32, on the weights of the file. */
#include "tests/runtime/model/model_cases.h"

#include <jansson.h>

enum { MINI_TOKENS_MAX = 2048 };

typedef struct mini_case {
    const char *name;
    uint32_t ids[MINI_TOKENS_MAX];
    uint32_t n;
    json_t *z_tok;
    json_t *z_span;
    json_t *score;
} mini_case;

static const char *mini_path(char *out, size_t size, const char *file) {
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(out, size, "%s/models/pith-mini%s", source != NULL ? source : ".", file);
    return out;
}

static bool case_at(const json_t *root, size_t index, mini_case *c) {
    const json_t *item = json_array_get(json_object_get(root, "cases"), index);
    if (item == NULL) {
        return false;
    }
    const json_t *ids = json_object_get(item, "ids");
    *c = (mini_case){.name = json_string_value(json_object_get(item, "name")),
                     .n = (uint32_t)json_array_size(ids),
                     .z_tok = json_object_get(item, "z_tok"),
                     .z_span = json_object_get(item, "z_span"),
                     .score = json_object_get(item, "score")};
    assert_in_range(c->n, 1, MINI_TOKENS_MAX);
    for (uint32_t i = 0; i < c->n; i++) {
        c->ids[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
    }
    return true;
}

static double value_at(const json_t *array, size_t index) {
    const json_t *value = json_array_get(array, index);
    return value != NULL ? json_number_value(value) : NAN;
}

static void check_mini(const json_t *root, const char *isa, const char *dtype, double limit) {
    static mini_case c;
    static float z_tok[MINI_TOKENS_MAX];
    static float z_span[MINI_TOKENS_MAX];
    static float score[MINI_TOKENS_MAX];
    char dir[512];
    opened o;
    open_model(
        &o, mini_path(dir, sizeof dir, ""),
        &(open_how){.isa = isa, .dtype = dtype, .n_threads = 2, .tokens_max = MINI_TOKENS_MAX});
    size_t n_cases = 0;
    for (; case_at(root, n_cases, &c); n_cases++) {
        uint32_t offsets[2] = {0, c.n};
        pith_batch batch = {.ids = c.ids, .cu_seqlens = offsets, .n_seq = 1, .n_tok = c.n};
        pith_encoder_out out = {.z_tok = z_tok, .z_span = z_span, .score = score};
        MUST(pith_encoder_forward(o.encoder, &batch, &out, err));
        for (uint32_t i = 0; i < c.n; i++) {
            check_near(z_tok[i], value_at(c.z_tok, i), 10.0 * limit, c.name, i);
            check_near(z_span[i], value_at(c.z_span, i), 10.0 * limit, c.name, i);
            check_near(score[i], value_at(c.score, i), limit, c.name, i);
        }
    }
    assert_true(n_cases >= 3);
    close_model(&o);
}

static json_t *golden_json(void) {
    char path[512];
    char config[512];
    if (access(mini_path(config, sizeof config, "/config.json"), R_OK) != 0 ||
        access(mini_path(path, sizeof path, "/golden.json"), R_OK) != 0) {
        print_message("skipped: models/pith-mini or its golden.json is absent\n");
        skip();
    }
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    assert_non_null(root);
    return root;
}

static void the_shipped_model_matches_pytorch(void **state) {
    json_t *root = golden_json();
    check_mini(root, NULL, "f32", 1e-4);
    json_decref(root);
}

/* bf16 operands through six layers: scores move by a few per mille at most. */
static void the_shipped_model_in_bf16_stays_near_pytorch(void **state) {
    json_t *root = golden_json();
    check_mini(root, NULL, "bf16", 0.05);
    json_decref(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_model_matches_pytorch),
        cmocka_unit_test(the_shipped_model_in_bf16_stays_near_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
