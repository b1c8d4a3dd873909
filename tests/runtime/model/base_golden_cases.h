/* The full ModernBERT-base shape, weights from the integer generator stored as bf16: f32 against
 * transformers, and bf16 decisions against f32's. The golden holds seven sequences, 1,500 tokens;
 * a test takes those from one on. */
#ifndef TESTS_RUNTIME_MODEL_BASE_GOLDEN_CASES_H
#define TESTS_RUNTIME_MODEL_BASE_GOLDEN_CASES_H

#include "tests/runtime/model/golden_cases.h"

#include <time.h>

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static golden_run run_as(const golden *g, const char *dir, const char *dtype) {
    opened o;
    double from = now();
    open_model(&o, dir, &(open_how){.dtype = dtype, .n_threads = 2, .tokens_max = g->n_tok});
    double ready = now();
    golden_run run = golden_forward(g, o.encoder);
    print_message("%s %s: open %.2f s, %u tokens %.2f s\n", o.device.isa, dtype, ready - from,
                  g->n_tok, now() - ready);
    close_model(&o);
    return run;
}

/* Words of a pseudo text: of one and of two tokens in turn, near ModernBERT's mean on English; a
 * word is kept when its highest token is over 1/2. */
typedef struct word {
    size_t begin;
    size_t end;
} word;

static word next_word(word w, size_t n_tok) {
    size_t len = w.end - w.begin == 1 ? 2 : 1;
    return (word){w.end, w.end + len < n_tok ? w.end + len : n_tok};
}

static double word_score(const float *score, word w) {
    double best = 0.0;
    for (size_t i = w.begin; i < w.end; i++) {
        best = fmax(best, score[i]);
    }
    return best;
}

static void check_f32(const golden *g, const golden_run *run) {
    double worst_z = 0.0;
    double worst_score = 0.0;
    for (size_t i = 0; i < g->n_tok; i++) {
        worst_z = fmax(worst_z, fabs((double)run->z_tok[i] - g->z_tok[i]));
        worst_z = fmax(worst_z, fabs((double)run->z_span[i] - g->z_span[i]));
        worst_score = fmax(worst_score, fabs((double)run->score[i] - g->score[i]));
        assert_true(isfinite(run->z_tok[i]) && isfinite(run->z_span[i]));
    }
    print_message("f32: worst z error %.2g, worst score error %.2g\n", worst_z, worst_score);
    assert_true(worst_z <= 1e-3);
    assert_true(worst_score <= 2e-4);
}

/* Beyond this distance from the threshold every decision must be the same. */
#define CLEAR_MARGIN 0.02

static void check_bf16(const golden *g, const golden_run *run) {
    size_t words = 0;
    size_t equal = 0;
    size_t unclear = 0;
    double worst = 0.0;
    for (word w = next_word((word){0, 0}, g->n_tok); w.begin < w.end; w = next_word(w, g->n_tok)) {
        double expected = word_score(g->score, w);
        double found = word_score(run->score, w);
        bool same = (expected > 0.5) == (found > 0.5);
        words++;
        equal += same;
        unclear += fabs(expected - 0.5) <= CLEAR_MARGIN;
        worst = fmax(worst, fabs(expected - found));
        assert_true(same || fabs(expected - 0.5) <= CLEAR_MARGIN);
    }
    print_message("bf16: %zu of %zu word decisions equal to fp32's (%zu within %.2f of the "
                  "threshold), worst score error %.2g\n",
                  equal, words, unclear, CLEAR_MARGIN, worst);
    assert_true((double)equal >= 0.999 * (double)words);
}

/* Drops the golden's sequences before `first`. */
static void golden_from(golden *g, uint32_t first) {
    uint32_t skip = g->cu_seqlens[first];
    g->n_seq -= first;
    g->n_tok -= skip;
    for (uint32_t s = 0; s <= g->n_seq; s++) {
        g->cu_seqlens[s] = g->cu_seqlens[s + first] - skip;
    }
    memmove(g->ids, g->ids + skip, g->n_tok * sizeof *g->ids);
    memmove(g->z_tok, g->z_tok + skip, g->n_tok * sizeof *g->z_tok);
    memmove(g->z_span, g->z_span + skip, g->n_tok * sizeof *g->z_span);
    memmove(g->score, g->score + skip, g->n_tok * sizeof *g->score);
}

static void check_base_from(uint32_t first) {
    golden g;
    random_directory dir;
    pith_model_config config = pith_random_config_base();
    pith_random_model_opts opts = pith_random_model_defaults();
    opts.dtype = PITH_BF16; /* BASE_OPTS of make_goldens.py, which gives the reasons */
    opts.gain_residual = 0.2;
    opts.gain_head = 2.0;
    golden_open(&g, "base");
    golden_from(&g, first);
    random_directory_open(&dir, &config, &opts);
    golden_run f32 = run_as(&g, dir.path, "f32");
    golden_run bf16 = run_as(&g, dir.path, "bf16");
    random_directory_close(&dir);
    check_f32(&g, &f32);
    check_bf16(&g, &bf16);
    golden_run_free(&f32);
    golden_run_free(&bf16);
    golden_close(&g);
}

#endif
