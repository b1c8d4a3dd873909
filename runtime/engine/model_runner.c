#include "runtime/engine/model_runner.h"

#include "runtime/base/queue.h"

#include <pthread.h>
#include <stdlib.h>

/* A step inside. On a device that computes beside the host, submit hands it over (`ticket`) and
 * the thread waits for it; on the host the thread does both. */
typedef struct flight {
    pith_step *step;
    uint64_t ticket;
} flight;

typedef struct model_runner {
    pith_model *const *models;
    size_t n_models;
    pith_clock clock;
    flight flights[PITH_STEPS_IN_FLIGHT]; /* taken in turn */
    uint64_t n_submitted;
    int64_t last_end_ns;   /* the thread's: two steps in flight are not computed at once */
    int64_t aside_ns;      /* the thread's: what steps in front of the one inside took */
    bool ahead;            /* the device takes a step while it computes another */
    pith_queue *submitted; /* each holds PITH_STEPS_IN_FLIGHT: flights, steps */
    pith_queue *done;
    uint32_t inside; /* the engine thread's count: submitted and not yet polled */
    pthread_t thread;
} model_runner;

static void begin(model_runner *r, flight *f) {
    pith_step *step = f->step;
    f->ticket = 0;
    step->begin_ns = pith_clock_now(&r->clock);
    if (step->model >= r->n_models) {
        step->status = pith_fail(&step->err, PITH_INTERNAL, "step for model %u of %zu", step->model,
                                 r->n_models);
        return;
    }
    pith_encoder *encoder = r->models[step->model]->encoder;
    pith_batch batch = {
        .n_seq = step->n_seq,
        .n_tok = step->n_tok,
        .ids = step->ids,
        .cu_seqlens = step->cu_seqlens,
    };
    pith_encoder_out out = {.score = step->score};
    step->status = step->aside ? pith_encoder_aside(encoder, &batch, &out, &step->err)
                               : pith_encoder_begin(encoder, &batch, &out, &f->ticket, &step->err);
}

static void end(model_runner *r, flight *f) {
    pith_step *step = f->step;
    if (step->status == PITH_OK) {
        step->status = pith_encoder_wait(r->models[step->model]->encoder, f->ticket, &step->err);
    }
    if (r->ahead && step->begin_ns < r->last_end_ns) {
        step->begin_ns = r->last_end_ns;
    }
    step->end_ns = pith_clock_now(&r->clock);
    r->last_end_ns = step->end_ns;
}

/* Between two layers of the step inside: computes the step that was put in front of it, if any. */
static bool between(void *self) {
    model_runner *r = self;
    flight *f = pith_queue_pop(r->submitted, 0);
    if (f == NULL) {
        return false;
    }
    pith_step *step = f->step;
    begin(r, f);
    step->end_ns = pith_clock_now(&r->clock);
    r->aside_ns += step->end_ns - step->begin_ns;
    (void)pith_queue_push(r->done, step);
    return true;
}

static void *runner_main(void *arg) {
    model_runner *r = arg;
    for (;;) {
        flight *f = pith_queue_pop(r->submitted, INT64_MAX);
        if (f == NULL) {
            return NULL;
        }
        pith_step *step = f->step;
        r->aside_ns = 0;
        if (!r->ahead) {
            begin(r, f);
        }
        end(r, f);
        step->begin_ns += r->aside_ns;
        (void)pith_queue_push(r->done, step);
    }
}

static pith_status submit(void *self, pith_step *step) {
    model_runner *r = self;
    if (r->inside == PITH_STEPS_IN_FLIGHT) {
        return PITH_EXHAUSTED;
    }
    flight *f = &r->flights[r->n_submitted++ % PITH_STEPS_IN_FLIGHT];
    f->step = step;
    if (r->ahead) {
        begin(r, f);
    }
    r->inside++;
    return pith_queue_push(r->submitted, f) ? PITH_OK : PITH_EXHAUSTED;
}

static pith_step *poll(void *self, int64_t wait_ns) {
    model_runner *r = self;
    pith_step *step = r->inside == 0 ? NULL : pith_queue_pop(r->done, wait_ns);
    r->inside -= step != NULL;
    return step;
}

static void kick(void *self) {
    model_runner *r = self;
    pith_queue_kick(r->done);
}

static void release(model_runner *r) {
    pith_queue_close(r->submitted);
    pith_queue_close(r->done);
    free(r);
}

static void close_runner(void *self) {
    model_runner *r = self;
    pith_queue_shut(r->submitted);
    (void)pthread_join(r->thread, NULL);
    release(r);
}

pith_status pith_model_runner_open(pith_runner *runner, pith_model *const *models, size_t n_models,
                                   const pith_clock *clock, pith_err *err) {
    *runner = (pith_runner){0};
    model_runner *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the model runner");
    }
    r->models = models;
    r->n_models = n_models;
    r->clock = *clock;
    r->ahead = n_models > 0 && pith_encoder_steps_in_flight(models[0]->encoder) > 1;
    pith_status status = pith_queue_open(&r->submitted, PITH_STEPS_IN_FLIGHT, err);
    if (status == PITH_OK) {
        status = pith_queue_open(&r->done, PITH_STEPS_IN_FLIGHT, err);
    }
    if (status == PITH_OK && pthread_create(&r->thread, NULL, runner_main, r) != 0) {
        status = pith_fail(err, PITH_INTERNAL, "cannot start the model runner's thread");
    }
    if (status != PITH_OK) {
        release(r);
        return status;
    }
    for (size_t i = 0; i < n_models && !r->ahead; i++) {
        pith_encoder_set_between(models[i]->encoder, between, r);
    }
    *runner = (pith_runner){.submit = submit,
                            .poll = poll,
                            .close = close_runner,
                            .self = r,
                            .aside_tokens = r->ahead ? 0 : PITH_ASIDE_TOKENS_MAX,
                            .kick = kick};
    return PITH_OK;
}
