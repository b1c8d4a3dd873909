/* Batches at the edges of what the CUDA backend takes, on its emulated instance: none, texts that
 * end at a tile's edge or beside it, the longest, one longer. */
#include "tests/runtime/backend/cuda/cuda_cases.h"

enum { LONGEST = 8192, STEP = 8448 };

static uint32_t ids[STEP];
static float score[STEP];

static void open_on(opened *o, int major) {
    pith_emulated_reset(0);
    pith_emulated_capability(major, 0);
    open_model(o, dir.path,
               &(open_how){.device = "cuda:0", .dtype = "f16", .n_threads = 1, .tokens_max = STEP});
    for (uint32_t i = 0; i < STEP; i++) {
        ids[i] = (i * 37 + i / 11) % 500;
    }
}

static void close_and_check(opened *o) {
    close_model(o);
    check_devices_empty();
    pith_emulated_reset(0);
}

static pith_status forward(opened *o, const uint32_t *offsets, uint32_t n, float *out,
                           pith_err *err) {
    pith_batch batch = {
        .ids = ids + offsets[0], .cu_seqlens = offsets, .n_seq = n, .n_tok = offsets[n]};
    return pith_encoder_forward(o->encoder, &batch, &(pith_encoder_out){.score = out}, err);
}

/* The n tokens from `first` as a text of their own. */
static void forward_alone(opened *o, uint32_t first, uint32_t n, float *out) {
    pith_batch batch = {
        .ids = ids + first, .cu_seqlens = (const uint32_t[]){0, n}, .n_seq = 1, .n_tok = n};
    MUST(pith_encoder_forward(o->encoder, &batch, &(pith_encoder_out){.score = out}, err));
}

#ifndef PITH_EMULATED_LONG

static const uint32_t lengths[] = {1, 63, 64, 65, 127, 128, 129, 191, 192, 193};
enum { TEXTS = sizeof lengths / sizeof lengths[0] };

static void an_empty_batch_runs_nothing(void **state) {
    (void)state;
    opened o;
    open_on(&o, 9);
    uint64_t before = pith_emulated_read().kernels;
    MUST(forward(&o, (const uint32_t[]){0}, 0, score, err));
    assert_int_equal(pith_emulated_read().kernels, before);
    close_and_check(&o);
}

/* By the safe kernels and by the fast ones. */
static void a_text_that_ends_beside_a_tile_s_edge_has_the_bits_it_has_alone(void **state) {
    (void)state;
    for (int major = 8; major <= 9; major++) {
        opened o;
        uint32_t offsets[TEXTS + 1] = {0};
        float alone[193];
        open_on(&o, major);
        for (uint32_t i = 0; i < TEXTS; i++) {
            offsets[i + 1] = offsets[i] + lengths[i];
        }
        MUST(forward(&o, offsets, TEXTS, score, err));
        for (uint32_t i = 0; i < TEXTS; i++) {
            forward_alone(&o, offsets[i], lengths[i], alone);
            assert_memory_equal(alone, score + offsets[i], lengths[i] * sizeof *alone);
            for (uint32_t t = 0; t < lengths[i]; t++) {
                assert_true(alone[t] >= 0.0f && alone[t] <= 1.0f);
            }
        }
        close_and_check(&o);
    }
}

/* A norm that overflows, by the safe kernels and by the fast ones: neighbours that are NaN
 * throughout change no bit of a text, and one such token makes every score of its own text a NaN,
 * which the engine passes through and counts. */
static void activations_of_nan_stay_in_their_text_and_reach_its_scores(void **state) {
    (void)state;
    enum { BEFORE = 63, CLEAN = 70, AFTER = 65, BAD = 40, POISON_ID = 511 };
    const uint32_t offsets[] = {0, BEFORE, BEFORE + CLEAN, BEFORE + CLEAN + AFTER,
                                BEFORE + CLEAN + AFTER + BAD};
    random_directory whole = dir;
    pith_model_config config = one_head();
    pith_random_model_opts opts = pith_random_model_defaults();
    random_directory_open(&dir, &config, &opts);
    random_directory_poison(&dir, &config, POISON_ID);
    for (int major = 8; major <= 9; major++) {
        opened o;
        float alone[CLEAN];
        open_on(&o, major);
        forward_alone(&o, offsets[1], CLEAN, alone);
        for (uint32_t t = 0; t < offsets[3]; t++) {
            ids[t] = t >= offsets[1] && t < offsets[2] ? ids[t] : POISON_ID;
        }
        ids[offsets[3] + 7] = POISON_ID;
        MUST(forward(&o, offsets, 4, score, err));
        assert_memory_equal(alone, score + offsets[1], sizeof alone);
        for (uint32_t t = 0; t < offsets[4]; t++) {
            assert_true(isnan(score[t]) == (t < offsets[1] || t >= offsets[2]));
        }
        close_and_check(&o);
    }
    random_directory_close(&dir);
    dir = whole;
}

/* Above the kernels, and the device goes on. */
static void a_text_of_8193_tokens_is_refused_and_says_why(void **state) {
    (void)state;
    opened o;
    pith_err why = {0};
    open_on(&o, 9);
    assert_int_equal(o.config.positions_max, LONGEST);
    uint64_t before = pith_emulated_read().kernels;
    assert_int_equal(forward(&o, (const uint32_t[]){0, LONGEST + 1}, 1, score, &why), PITH_INVALID);
    assert_string_equal(why.text, "sequence 0 has 8193 tokens, expected 1 to 8192");
    assert_int_equal(pith_emulated_read().kernels, before);
    MUST(forward(&o, (const uint32_t[]){0, 5}, 1, score, err));
    close_and_check(&o);
}

#else

/* Minutes of emulated attention. The short text behind it has the bits it has alone, so the longest
 * one wrote nothing of its neighbour's. */
static void a_text_of_8192_tokens_fits_and_leaves_room_for_another(void **state) {
    (void)state;
    enum { MORE = 100 };
    float alone[MORE];
    opened o;
    open_on(&o, 9);
    MUST(forward(&o, (const uint32_t[]){0, LONGEST, LONGEST + MORE}, 2, score, err));
    forward_alone(&o, LONGEST, MORE, alone);
    assert_memory_equal(alone, score + LONGEST, sizeof alone);
    for (uint32_t t = 0; t < LONGEST + MORE; t++) {
        assert_true(score[t] >= 0.0f && score[t] <= 1.0f);
    }
    close_and_check(&o);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef PITH_EMULATED_LONG
        cmocka_unit_test(a_text_of_8192_tokens_fits_and_leaves_room_for_another),
#else
        cmocka_unit_test(an_empty_batch_runs_nothing),
        cmocka_unit_test(a_text_that_ends_beside_a_tile_s_edge_has_the_bits_it_has_alone),
        cmocka_unit_test(activations_of_nan_stay_in_their_text_and_reach_its_scores),
        cmocka_unit_test(a_text_of_8193_tokens_is_refused_and_says_why),
#endif
    };
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
