/* The forward pass against transformers, per layer, on small models; see tests/golden/encoder. */
#include "tests/runtime/model/golden_cases.h"

typedef struct golden_case {
    const char *name;
    void (*change)(pith_model_config *config);
} golden_case;

static void same(pith_model_config *c) {
    (void)c;
}
static void heads64(pith_model_config *c) {
    c->hidden = 128, c->intermediate = 192, c->n_layers = 3, c->local_window = 8;
}
static void shallow(pith_model_config *c) {
    c->n_heads = 1, c->n_layers = 1;
}
static void ragged(pith_model_config *c) {
    c->hidden = 96, c->n_heads = 3, c->intermediate = 102, c->n_layers = 2, c->local_window = 2;
    c->span_channels = 5;
}
static void narrow_heads(pith_model_config *c) {
    c->hidden = 72, c->n_heads = 6, c->local_window = 16;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        c->layer_global[i] = i % 2 == 0;
    }
}

/* The table TINY of make_goldens.py. */
static const golden_case cases[] = {{"heads32", same},
                                    {"heads64", heads64},
                                    {"shallow", shallow},
                                    {"ragged", ragged},
                                    {"narrow_heads", narrow_heads}};

enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

typedef struct stage_check {
    const golden *g;
    double limit;
    double worst;
    uint32_t seen;
} stage_check;

static void check_stage(void *user, uint32_t stage, const float *x, size_t count) {
    stage_check *check = user;
    const golden *g = check->g;
    size_t rows = (g->n_tok + g->stride - 1) / g->stride;
    assert_int_equal(count, (size_t)g->n_tok * g->hidden);
    assert_true(stage < g->n_stages);
    check->seen++;
    size_t wrong = 0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t d = 0; d < g->hidden; d++) {
            double expected = g->stages[(stage * rows + r) * g->hidden + d];
            double found = x[r * g->stride * g->hidden + d];
            double error = fabs(found - expected);
            check->worst = fmax(check->worst, error);
            wrong += !(error <= check->limit); /* a NaN is wrong */
        }
    }
    assert_int_equal(wrong, 0);
}

static void check_case(const golden_case *c, const char *isa) {
    golden g;
    random_directory dir;
    opened o;
    pith_model_config config = pith_random_config_tiny();
    pith_random_model_opts opts = pith_random_model_defaults();
    c->change(&config);
    golden_open(&g, c->name);
    random_directory_open(&dir, &config, &opts);
    stage_check check = {.g = &g, .limit = 1e-4};
    open_model(&o, dir.path,
               &(open_how){.isa = isa,
                           .dtype = "f32",
                           .n_threads = 2,
                           .tokens_max = g.n_tok,
                           .probe = check_stage,
                           .probe_user = &check});
    golden_run run = golden_forward(&g, o.encoder);
    assert_int_equal(check.seen, g.n_stages);
    for (size_t i = 0; i < g.n_tok; i++) {
        check_near(run.z_tok[i], g.z_tok[i], 5e-4, "z_tok", i); /* head gain 4 on a 1e-4 state */
        check_near(run.z_span[i], g.z_span[i], 5e-4, "z_span", i);
        check_near(run.score[i], g.score[i], 1e-4, "score", i);
    }
    print_message("%s %s: worst hidden error %.2g\n", c->name, isa, check.worst);
    golden_run_free(&run);
    close_model(&o);
    random_directory_close(&dir);
    golden_close(&g);
}

static void the_oracle_matches_transformers_layer_by_layer(void **state) {
    for (size_t i = 0; i < CASE_COUNT; i++) {
        check_case(&cases[i], "ref");
    }
}

static void the_cpu_path_matches_transformers_layer_by_layer(void **state) {
    const char *const isas[] = {"avx2", "avx512", "avx512-bf16"};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < CASE_COUNT && has_isa(isas[k]); i++) {
            check_case(&cases[i], isas[k]);
        }
    }
}

/* A window one key too narrow must be noticed by the comparison above. */
static void a_wrong_window_is_noticed(void **state) {
    golden g;
    random_directory dir;
    opened o;
    pith_model_config config = pith_random_config_tiny();
    pith_random_model_opts opts = pith_random_model_defaults();
    golden_open(&g, "heads32");
    config.local_window--;
    random_directory_open(&dir, &config, &opts);
    open_model(&o, dir.path,
               &(open_how){.isa = "ref", .dtype = "f32", .n_threads = 1, .tokens_max = g.n_tok});
    golden_run run = golden_forward(&g, o.encoder);
    double worst = 0.0;
    for (size_t i = 0; i < g.n_tok; i++) {
        worst = fmax(worst, fabs((double)run.z_tok[i] - g.z_tok[i]));
    }
    assert_true(worst > 5e-3); /* ten times the limit */
    golden_run_free(&run);
    close_model(&o);
    random_directory_close(&dir);
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_matches_transformers_layer_by_layer),
        cmocka_unit_test(the_cpu_path_matches_transformers_layer_by_layer),
        cmocka_unit_test(a_wrong_window_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
