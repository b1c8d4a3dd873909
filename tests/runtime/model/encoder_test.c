/* The encoder's promises: alone equals packed bit for bit, ref equals cpu, nothing leaks between
 * sequences, bad batches are refused. */
#include "tests/runtime/model/model_cases.h"

enum { TOKENS_MAX = 1400, ASIDE_TOKENS = 400, SEQS_MAX = 24, LONG_SEQUENCE = 513 };

static random_directory tiny;

static pith_model_config tiny_config(void) {
    pith_model_config config = pith_random_config_tiny();
    config.local_window = 20;
    return config;
}

static int write_tiny(void **state) {
    pith_model_config config = tiny_config();
    pith_random_model_opts opts = pith_random_model_defaults();
    random_directory_open(&tiny, &config, &opts);
    return 0;
}

static int remove_tiny(void **state) {
    random_directory_close(&tiny);
    return 0;
}

typedef struct scores {
    float z_tok[TOKENS_MAX];
    float z_span[TOKENS_MAX];
    float score[TOKENS_MAX];
} scores;

static void forward(pith_encoder *encoder, const pith_batch *batch, scores *s) {
    pith_encoder_out out = {.z_tok = s->z_tok, .z_span = s->z_span, .score = s->score};
    MUST(pith_encoder_forward(encoder, batch, &out, err));
}

/* A pool of texts whose tokens depend on the text alone. */
enum { POISON_ID = 511 }; /* in no text */

static uint32_t text_id(uint32_t text, uint32_t position) {
    uint64_t seed = text * 7919u + position;
    return (uint32_t)(case_next(&seed) % POISON_ID);
}

static const uint32_t text_lengths[] = {1,   2,   3,   5,   6,   7,   12,
                                        13,  63,  64,  65,  127, 128, 129,
                                        130, 191, 192, 193, 200, 257, LONG_SEQUENCE};

enum { TEXT_COUNT = sizeof text_lengths / sizeof text_lengths[0] };

typedef struct mix {
    uint32_t ids[TOKENS_MAX];
    uint32_t cu_seqlens[SEQS_MAX + 1];
    uint32_t texts[SEQS_MAX];
    pith_batch batch;
} mix;

static void mix_add(mix *m, uint32_t text) {
    uint32_t n = text_lengths[text];
    for (uint32_t i = 0; i < n; i++) {
        m->ids[m->batch.n_tok + i] = text_id(text, i);
    }
    m->texts[m->batch.n_seq] = text;
    m->batch.n_tok += n;
    m->cu_seqlens[++m->batch.n_seq] = m->batch.n_tok;
}

static void mix_begin(mix *m) {
    *m = (mix){0};
    m->batch = (pith_batch){.ids = m->ids, .cu_seqlens = m->cu_seqlens};
}

/* Random texts until one does not fit. */
static void mix_random(mix *m, uint64_t *rng) {
    mix_begin(m);
    uint32_t tokens = 1 + (uint32_t)(case_next(rng) % TOKENS_MAX);
    while (m->batch.n_seq < SEQS_MAX) {
        uint32_t text = (uint32_t)(case_next(rng) % TEXT_COUNT);
        if (m->batch.n_tok + text_lengths[text] > tokens) {
            break;
        }
        mix_add(m, text);
    }
}

static void run_alone(pith_encoder *encoder, scores alone[TEXT_COUNT]) {
    for (uint32_t t = 0; t < TEXT_COUNT; t++) {
        mix m;
        mix_begin(&m);
        mix_add(&m, t);
        forward(encoder, &m.batch, &alone[t]);
    }
}

static void check_bits(const mix *m, const scores *packed, const scores alone[TEXT_COUNT]) {
    for (uint32_t s = 0; s < m->batch.n_seq; s++) {
        uint32_t first = m->cu_seqlens[s];
        size_t bytes = (m->cu_seqlens[s + 1] - first) * sizeof(float);
        const scores *one = &alone[m->texts[s]];
        assert_memory_equal(packed->z_tok + first, one->z_tok, bytes);
        assert_memory_equal(packed->z_span + first, one->z_span, bytes);
        assert_memory_equal(packed->score + first, one->score, bytes);
    }
}

/* Alone on one thread is the measure; packed mixes on 1, 2 and 3 threads must equal it. */
static void check_alone_equals_packed(const char *isa, const char *dtype) {
    static scores alone[TEXT_COUNT];
    static scores packed;
    static mix m;
    opened o;
    open_model(&o, tiny.path,
               &(open_how){.isa = isa, .dtype = dtype, .n_threads = 1, .tokens_max = TOKENS_MAX});
    run_alone(o.encoder, alone);
    close_model(&o);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        uint64_t rng = threads;
        open_model(&o, tiny.path,
                   &(open_how){
                       .isa = isa, .dtype = dtype, .n_threads = threads, .tokens_max = TOKENS_MAX});
        for (int i = 0; i < 12; i++) {
            mix_random(&m, &rng);
            forward(o.encoder, &m.batch, &packed);
            check_bits(&m, &packed, alone);
        }
        close_model(&o);
    }
}

static void alone_equals_packed_bit_for_bit(void **state) {
    const char *const isas[] = {"avx2", "avx512", "avx512-bf16"};
    for (size_t i = 0; i < 3; i++) {
        if (has_isa(isas[i])) {
            check_alone_equals_packed(isas[i], "f32");
            check_alone_equals_packed(isas[i], "bf16");
        }
    }
}

/* The bit comparison itself must be able to fail: one flipped bit of one score. */
/* What is computed between the layers of a step. */
typedef struct interruption {
    pith_encoder *encoder;
    const scores *alone; /* [TEXT_COUNT] */
    uint64_t rng;
    uint32_t n_calls, n_steps;
    bool spoil; /* takes the interrupted step's memory, to see the check fail */
} interruption;

static bool interrupt(void *user) {
    static scores packed;
    static mix m;
    interruption *i = user;
    if (i->n_calls++ % 2 == 1) {
        return false;
    }
    do {
        mix_random(&m, &i->rng);
    } while (m.batch.n_tok > ASIDE_TOKENS || m.batch.n_tok == 0);
    pith_encoder_out out = {.z_tok = packed.z_tok, .z_span = packed.z_span, .score = packed.score};
    if (i->spoil) {
        pith_encoder_set_between(i->encoder, NULL, NULL);
        MUST(pith_encoder_forward(i->encoder, &m.batch, &out, err));
        return true;
    }
    MUST(pith_encoder_aside(i->encoder, &m.batch, &out, err));
    check_bits(&m, &packed, i->alone);
    i->n_steps++;
    return true;
}

static void a_step_between_the_layers_of_another_changes_no_bit(void **state) {
    static scores alone[TEXT_COUNT];
    static scores packed;
    static mix m;
    opened o;
    open_model(&o, tiny.path,
               &(open_how){.n_threads = 2, .tokens_max = TOKENS_MAX, .aside_tokens = ASIDE_TOKENS});
    run_alone(o.encoder, alone);
    interruption between = {.encoder = o.encoder, .alone = alone, .rng = 5};
    uint64_t rng = 6;
    for (int i = 0; i < 12; i++) {
        mix_random(&m, &rng);
        pith_encoder_set_between(o.encoder, interrupt, &between);
        forward(o.encoder, &m.batch, &packed);
        check_bits(&m, &packed, alone);
    }
    assert_true(between.n_steps >= 6);
    m.batch.n_tok = ASIDE_TOKENS + 1;
    pith_err err;
    assert_int_equal(pith_encoder_aside(o.encoder, &m.batch, &(pith_encoder_out){0}, &err),
                     PITH_INVALID);
    /* Memory of its own is what it takes. */
    between.spoil = true;
    between.n_calls = 0;
    mix_begin(&m);
    mix_add(&m, TEXT_COUNT - 1);
    pith_encoder_set_between(o.encoder, interrupt, &between);
    forward(o.encoder, &m.batch, &packed);
    assert_memory_not_equal(packed.score, alone[TEXT_COUNT - 1].score,
                            m.batch.n_tok * sizeof(float));
    close_model(&o);
}

static void one_flipped_bit_is_noticed(void **state) {
    float a[2] = {0.5f, 0.25f};
    float b[2] = {0.5f, nextafterf(0.25f, 1.0f)};
    assert_memory_not_equal(a, b, sizeof a);
}

static void ref_and_cpu_agree_over_random_mixes(void **state) {
    static scores expected;
    static scores found;
    static mix m;
    opened ref;
    opened cpu;
    uint64_t rng = 99;
    open_model(&ref, tiny.path,
               &(open_how){.isa = "ref", .dtype = "f32", .n_threads = 1, .tokens_max = TOKENS_MAX});
    open_model(&cpu, tiny.path,
               &(open_how){.dtype = "f32", .n_threads = 2, .tokens_max = TOKENS_MAX});
    for (int i = 0; i < 3; i++) {
        mix_random(&m, &rng);
        forward(ref.encoder, &m.batch, &expected);
        forward(cpu.encoder, &m.batch, &found);
        for (size_t t = 0; t < m.batch.n_tok; t++) {
            /* Four layers of f32 sums: hidden states err by a few 1e-6, the heads' gain is 4. */
            check_near(found.z_tok[t], expected.z_tok[t], 2e-4, "z_tok", t);
            check_near(found.z_span[t], expected.z_span[t], 2e-4, "z_span", t);
            check_near(found.score[t], expected.score[t], 5e-5, "score", t);
        }
    }
    close_model(&ref);
    close_model(&cpu);
}

/* bf16 operands carry 8 bits: a step of 2^-9 relative per operand, through four layers. */
static void bf16_stays_near_f32(void **state) {
    static scores wide;
    static scores narrow;
    static mix m;
    opened f32;
    opened bf16;
    uint64_t rng = 5;
    mix_random(&m, &rng);
    open_model(&f32, tiny.path,
               &(open_how){.dtype = "f32", .n_threads = 1, .tokens_max = TOKENS_MAX});
    open_model(&bf16, tiny.path,
               &(open_how){.dtype = "bf16", .n_threads = 1, .tokens_max = TOKENS_MAX});
    assert_string_equal(bf16.device.dtype, "bf16");
    forward(f32.encoder, &m.batch, &wide);
    forward(bf16.encoder, &m.batch, &narrow);
    double mean = 0.0;
    for (size_t t = 0; t < m.batch.n_tok; t++) {
        check_near(narrow.score[t], wide.score[t], 0.1, "score", t);
        mean += fabs((double)narrow.score[t] - wide.score[t]) / m.batch.n_tok;
    }
    assert_true(mean > 0.0 && mean < 0.005);
    close_model(&f32);
    close_model(&bf16);
}

/* --- what does not belong to a sequence never reaches it --- */

static void check_no_leak(const char *dir, const char *isa, const char *dtype) {
    static scores clean;
    static scores packed;
    static mix m;
    opened o;
    open_model(&o, dir,
               &(open_how){.isa = isa, .dtype = dtype, .n_threads = 2, .tokens_max = TOKENS_MAX});
    for (uint32_t text = 0; text + 1 < TEXT_COUNT; text++) {
        uint32_t n = text_lengths[text];
        mix_begin(&m);
        mix_add(&m, text);
        forward(o.encoder, &m.batch, &clean);
        mix_begin(&m);
        mix_add(&m, 8); /* 63 tokens before, 64 after, all poisoned */
        mix_add(&m, text);
        mix_add(&m, 9);
        mix_add(&m, 6); /* one of 12 */
        for (uint32_t t = 0; t < m.cu_seqlens[3]; t++) {
            bool ours = t >= m.cu_seqlens[1] && t < m.cu_seqlens[2];
            m.ids[t] = ours ? m.ids[t] : POISON_ID;
        }
        m.ids[m.cu_seqlens[3] + 7] = POISON_ID;
        forward(o.encoder, &m.batch, &packed);
        for (uint32_t t = 0; t < m.batch.n_tok; t++) {
            bool clean_text = t >= m.cu_seqlens[1] && t < m.cu_seqlens[2];
            assert_true(isnan(packed.score[t]) != clean_text);
        }
        assert_memory_equal(packed.z_tok + m.cu_seqlens[1], clean.z_tok, n * sizeof(float));
        assert_memory_equal(packed.z_span + m.cu_seqlens[1], clean.z_span, n * sizeof(float));
    }
    close_model(&o);
}

static void nan_stays_in_its_text_and_reaches_its_scores(void **state) {
    random_directory dir;
    pith_model_config config = tiny_config();
    pith_random_model_opts opts = pith_random_model_defaults();
    random_directory_open(&dir, &config, &opts);
    random_directory_poison(&dir, &config, POISON_ID);
    check_no_leak(dir.path, NULL, "f32");
    check_no_leak(dir.path, NULL, "bf16");
    random_directory_close(&dir);
}

/* --- bad input --- */

static void refused(pith_encoder *encoder, const pith_batch *batch, const char *text) {
    float score[TOKENS_MAX + 1];
    pith_err err = {0};
    pith_encoder_out out = {.score = score};
    assert_int_equal(pith_encoder_forward(encoder, batch, &out, &err), PITH_INVALID);
    if (strstr(err.text, text) == NULL) {
        print_error("found \"%s\", expected \"%s\"\n", err.text, text);
        fail();
    }
}

static void bad_batches_are_refused_with_what_was_found(void **state) {
    opened o;
    uint32_t ids[TOKENS_MAX + 1] = {0};
    open_model(&o, tiny.path, &(open_how){.n_threads = 1, .tokens_max = 64});
    refused(o.encoder,
            &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0, 65}, .n_seq = 1, .n_tok = 65},
            "batch of 65 tokens: a step takes at most 64");
    refused(
        o.encoder,
        &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0, 3, 3, 5}, .n_seq = 3, .n_tok = 5},
        "sequence 1 has 0 tokens");
    refused(
        o.encoder,
        &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0, 4, 3, 5}, .n_seq = 3, .n_tok = 5},
        "sequence 1 has -1 tokens");
    refused(o.encoder,
            &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0, 4}, .n_seq = 1, .n_tok = 5},
            "batch offsets run from 0 to 4, expected 0 to 5");
    refused(o.encoder,
            &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0}, .n_seq = 0, .n_tok = 5},
            "batch offsets");
    ids[2] = 512;
    refused(o.encoder,
            &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0, 5}, .n_seq = 1, .n_tok = 5},
            "token 2 has id 512, vocabulary size is 512");
    MUST(pith_encoder_forward(o.encoder, &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0}},
                              &(pith_encoder_out){0}, err));
    close_model(&o);
}

static void a_sequence_over_the_models_positions_is_refused(void **state) {
    random_directory dir;
    opened o;
    uint32_t ids[101] = {0};
    pith_model_config config = tiny_config();
    pith_random_model_opts opts = pith_random_model_defaults();
    config.positions_max = 100;
    config.window_tokens = 64;
    random_directory_open(&dir, &config, &opts);
    open_model(&o, dir.path, &(open_how){.n_threads = 1, .tokens_max = 200});
    refused(o.encoder,
            &(pith_batch){.ids = ids, .cu_seqlens = (uint32_t[]){0, 101}, .n_seq = 1, .n_tok = 101},
            "sequence 0 has 101 tokens, expected 1 to 100");
    close_model(&o);
    random_directory_close(&dir);
}

static void parameters_are_counted(void **state) {
    opened o;
    open_model(&o, tiny.path, &(open_how){.n_threads = 1, .tokens_max = 8});
    /* 512*64 + 64 + 4 (3*64*64 + 64*64 + 64 + 192*64 + 64*96) + 3*64 + 64 + 2*64 + 2
       + 16*64*5 + 16 + 3*16 + 1 */
    assert_int_equal(pith_encoder_n_parameters(o.encoder), 177923);
    close_model(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_equals_packed_bit_for_bit),
        cmocka_unit_test(a_step_between_the_layers_of_another_changes_no_bit),
        cmocka_unit_test(one_flipped_bit_is_noticed),
        cmocka_unit_test(ref_and_cpu_agree_over_random_mixes),
        cmocka_unit_test(bf16_stays_near_f32),
        cmocka_unit_test(nan_stays_in_its_text_and_reaches_its_scores),
        cmocka_unit_test(bad_batches_are_refused_with_what_was_found),
        cmocka_unit_test(a_sequence_over_the_models_positions_is_refused),
        cmocka_unit_test(parameters_are_counted),
    };
    return cmocka_run_group_tests(tests, write_tiny, remove_tiny);
}
