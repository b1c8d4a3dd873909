/* The seam between the scheduler and what computes: steps go in, finished steps come out.
 *
 * At most PITH_STEPS_IN_FLIGHT steps are inside for each device; while one runs, the next is cut
 * and packed. A step belongs to the runner from submit until poll returns it. submit and poll: one
 * thread at a time, the engine thread alone but for `anywhere`. Instances: the model runner
 * (model_runner.c) and the scripted fakes of the tests. */
#ifndef PITH_ENGINE_RUNNER_H
#define PITH_ENGINE_RUNNER_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { PITH_STEPS_IN_FLIGHT = 2 };

/* One packed batch of sequences for one model, without padding. */
typedef struct pith_step {
    uint32_t model;
    uint32_t device; /* of the scheduler's, 0 first */
    uint32_t n_seq;
    uint32_t n_tok;
    bool aside;           /* to be put in front of the step inside */
    uint32_t *ids;        /* [n_tok] token ids, sequences one after the other */
    uint32_t *cu_seqlens; /* [n_seq + 1] prefix sums of the sequence lengths */
    float *score;         /* [n_tok] f32, written by the runner */
    pith_status status;   /* set by the runner; scores hold only with PITH_OK */
    pith_err err;
    /* Set by the runner: the step's computation began, ended. What a step in front of it took is
     * not between them. */
    int64_t begin_ns;
    int64_t end_ns;
} pith_step;

typedef struct pith_runner {
    /* PITH_EXHAUSTED when PITH_STEPS_IN_FLIGHT steps are inside for step->device. */
    pith_status (*submit)(void *self, pith_step *step);
    /* The step that finished first of those not yet polled; those of a device come in the order of
     * submit. NULL when none finished within `wait_ns`. */
    pith_step *(*poll)(void *self, int64_t wait_ns);
    /* Waits for the steps inside (their scores are lost), then frees. */
    void (*close)(void *self);
    /* NULL, or from any thread: a poll that waits, or else the next one that would, returns at
     * once. For what comes in while one device works: another may have nothing to do, or a short
     * step goes in front of the one inside. */
    void (*wake)(void *self);
    void *self;
    /* A second step is wanted so long before the first one's end, to hide its copy; 0: none is. */
    int64_t ahead_ns;
    /* A second step of at most so many tokens may be put in front of the one inside at any time,
     * and comes back first; 0: none may. */
    uint32_t aside_tokens;
    /* submit and poll cost no more than a hand-over, on whichever thread they are called. */
    bool anywhere;
} pith_runner;

#endif
