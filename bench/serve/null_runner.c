/* A runner that computes nothing: each token's score is a hash of its id. A program linked with
 * this file has it in place of the model runner (runtime/engine/model_runner.c) and everything else
 * as shipped: UTF-8, words, tokens, windows, steps, floor and join all run. For benchmarks of what
 * surrounds the model; no flag of the shipped programs leads here. */
#include "runtime/engine/model_runner.h"

#include <stdlib.h>

typedef struct null_runner {
    pith_clock clock;
    pith_step *done[PITH_STEPS_IN_FLIGHT];
    uint32_t n_done;
} null_runner;

static float hashed(uint32_t id) {
    return (float)(id * UINT32_C(2654435761) >> 8) / (float)(1 << 24);
}

static pith_status submit(void *self, pith_step *step) {
    null_runner *r = self;
    if (r->n_done == PITH_STEPS_IN_FLIGHT) {
        return PITH_EXHAUSTED;
    }
    step->begin_ns = pith_clock_now(&r->clock);
    for (uint32_t i = 0; i < step->n_tok; i++) {
        step->score[i] = hashed(step->ids[i]);
    }
    step->status = PITH_OK;
    step->end_ns = pith_clock_now(&r->clock);
    r->done[r->n_done++] = step;
    return PITH_OK;
}

static pith_step *poll(void *self, int64_t wait_ns) {
    null_runner *r = self;
    (void)wait_ns; /* what is inside is done */
    if (r->n_done == 0) {
        return NULL;
    }
    pith_step *step = r->done[0];
    r->done[0] = r->done[1];
    r->n_done--;
    return step;
}

pith_status pith_model_runner_open(pith_runner *runner, pith_model *const *models, size_t n_models,
                                   uint32_t n_devices, const pith_clock *clock, pith_err *err) {
    (void)models;
    (void)n_models;
    (void)n_devices; /* one, on the CPU */
    null_runner *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the null runner");
    }
    r->clock = *clock;
    *runner =
        (pith_runner){.submit = submit, .poll = poll, .close = free, .anywhere = true, .self = r};
    return PITH_OK;
}
