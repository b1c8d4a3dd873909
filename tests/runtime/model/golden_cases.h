/* Reads tests/golden/encoder/NAME.bin; see make_goldens.py there for the format and the cases. */
#ifndef TESTS_RUNTIME_MODEL_GOLDEN_CASES_H
#define TESTS_RUNTIME_MODEL_GOLDEN_CASES_H

#include "tests/runtime/model/model_cases.h"

typedef struct golden {
    uint32_t n_seq;
    uint32_t n_tok;
    uint32_t n_stages;
    uint32_t hidden;
    uint32_t stride;
    uint32_t *cu_seqlens; /* [n_seq + 1] */
    uint32_t *ids;        /* [n_tok] */
    float *z_tok;         /* [n_tok] */
    float *z_span;
    float *score;
    float *stages; /* [n_stages][ceil(n_tok / stride)][hidden] */
} golden;

static inline void *golden_read(FILE *file, size_t count, size_t size) {
    void *data = malloc(count * size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, size, count, file), count);
    return data;
}

static inline void golden_open(golden *g, const char *name) {
    char path[1024];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(path, sizeof path, "%s/tests/golden/encoder/%s.bin",
                   source != NULL ? source : ".", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint32_t head[5];
    assert_int_equal(fread(head, sizeof head[0], 5, file), 5);
    *g = (golden){.n_seq = head[0],
                  .n_tok = head[1],
                  .n_stages = head[2],
                  .hidden = head[3],
                  .stride = head[4]};
    g->cu_seqlens = golden_read(file, g->n_seq + 1, 4);
    g->ids = golden_read(file, g->n_tok, 4);
    g->z_tok = golden_read(file, g->n_tok, 4);
    g->z_span = golden_read(file, g->n_tok, 4);
    g->score = golden_read(file, g->n_tok, 4);
    size_t rows = (g->n_tok + g->stride - 1) / g->stride;
    g->stages = golden_read(file, g->n_stages * rows * g->hidden, 4);
    assert_int_equal(fgetc(file), EOF);
    (void)fclose(file);
}

static inline void golden_close(golden *g) {
    free(g->cu_seqlens), free(g->ids), free(g->z_tok), free(g->z_span), free(g->score);
    free(g->stages);
}

/* The scores of a packed run of the golden's batch. */
typedef struct golden_run {
    float *z_tok;
    float *z_span;
    float *score;
} golden_run;

static inline golden_run golden_forward(const golden *g, pith_encoder *encoder) {
    golden_run run = {malloc(g->n_tok * 4), malloc(g->n_tok * 4), malloc(g->n_tok * 4)};
    pith_batch batch = {
        .ids = g->ids, .cu_seqlens = g->cu_seqlens, .n_seq = g->n_seq, .n_tok = g->n_tok};
    pith_encoder_out out = {.z_tok = run.z_tok, .z_span = run.z_span, .score = run.score};
    MUST(pith_encoder_forward(encoder, &batch, &out, err));
    return run;
}

static inline void golden_run_free(golden_run *run) {
    free(run->z_tok), free(run->z_span), free(run->score);
}

#endif
