/* A compressor with scripted scores for the tests of decide: tokenizer, patterns, arena, and a
 * score of each token from SplitMix64 (the same numbers as tests/golden/kompress/make_goldens.py).
 */
#ifndef PITH_TESTS_DECIDE_FIXTURE_H
#define PITH_TESTS_DECIDE_FIXTURE_H

#include "runtime/decide/compress.h"
#include "runtime/text/critical.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { FIXTURE_PATH_BYTES = 1024 };

typedef struct fixture_rule {
    uint64_t seed;
    double levels; /* 0: continuous */
    double scale;
} fixture_rule;

typedef struct fixture {
    pith_tokenizer *tokenizer;
    pith_critical *critical;
    pith_decide_config config;
    pith_document_opts opts;
    pith_token_list list;
    pith_arena arena;
    pith_document doc;
    float *scores; /* of the last text */
    pith_compress_result result;
    pith_err err;
} fixture;

static inline uint64_t splitmix64(uint64_t x) {
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static inline float fixture_score(const fixture_rule *rule, uint32_t token, uint32_t position) {
    uint64_t bits = splitmix64(rule->seed << 40 ^ (uint64_t)token << 16 ^ position) >> 40;
    double u = (double)bits / 16777216.0;
    if (rule->levels > 0) {
        u = (double)(uint64_t)(u * rule->levels) / rule->levels;
    }
    return (float)(rule->scale * u);
}

static inline const char *fixture_golden(const char *name) {
    static char path[FIXTURE_PATH_BYTES];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(path, sizeof path, "%s/tests/golden/kompress/%s", source ? source : ".", name);
    return path;
}

static inline void fixture_open(fixture *f, const char *tokenizer_path) {
    *f = (fixture){0};
    if (pith_tokenizer_open(&f->tokenizer, tokenizer_path, &f->err) != PITH_OK ||
        pith_critical_open(&f->critical, NULL, &f->err) != PITH_OK) {
        fail_msg("%s", f->err.text);
    }
    for (int d = 0; d < PITH_DOMAIN_COUNT; d++) {
        f->config.thresholds[d] = 0.5;
    }
    f->config.critical_window = 1;
    f->config.critical = f->critical;
    f->opts = (pith_document_opts){.word_mode = PITH_WORDS_RAW,
                                   .window_tokens = 512,
                                   .halo_tokens = 64,
                                   .cls_id = pith_tokenizer_find(f->tokenizer, "[CLS]"),
                                   .sep_id = pith_tokenizer_find(f->tokenizer, "[SEP]")};
    pith_arena_init(&f->arena, (size_t)1 << 30);
}

static inline void fixture_close(fixture *f) {
    pith_critical_close(f->critical);
    pith_tokenizer_close(f->tokenizer);
    pith_token_list_free(&f->list);
    pith_arena_reset(&f->arena);
}

/* Prepares and scores; f->doc and f->scores hold until the next call. */
static inline void fixture_score_text(fixture *f, const pith_compress_request *request,
                                      const fixture_rule *rule) {
    pith_arena_reset(&f->arena);
    f->opts.profile = request->profile;
    if (pith_document_prepare(&f->doc, f->tokenizer, &f->opts, request->text, request->text_len,
                              &f->list, &f->arena, &f->err) != PITH_OK) {
        fail_msg("%s", f->err.text);
    }
    f->scores = pith_arena_alloc(&f->arena, f->doc.n_units, sizeof *f->scores);
    assert_non_null(f->scores);
    for (uint32_t u = 0; u < f->doc.n_units; u++) {
        f->scores[u] = -1.0F; /* what no window scores must not matter */
    }
    for (uint32_t w = 0; w < f->doc.n_windows; w++) {
        const pith_window *window = &f->doc.windows[w];
        float *tokens = malloc(window->n_ids * sizeof *tokens);
        assert_non_null(tokens);
        for (uint32_t i = 0; i < window->n_ids; i++) {
            tokens[i] = fixture_score(rule, f->doc.ids[window->id_begin + i], i);
        }
        pith_document_collect(&f->doc, w, tokens, f->scores);
        free(tokens);
    }
}

static inline pith_status fixture_finish(fixture *f, const pith_compress_request *request) {
    return pith_compress_finish(&f->config, request, &f->doc, f->tokenizer, f->scores, &f->list,
                                &f->arena, &f->result, &f->err);
}

static inline void fixture_compress(fixture *f, const pith_compress_request *request,
                                    const fixture_rule *rule) {
    fixture_score_text(f, request, rule);
    if (fixture_finish(f, request) != PITH_OK) {
        fail_msg("%s", f->err.text);
    }
}

#endif
