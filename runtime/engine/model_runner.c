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

/* One device and the thread that waits for it. */
typedef struct lane {
    struct model_runner *runner;
    flight flights[PITH_STEPS_IN_FLIGHT]; /* free where step is NULL: the engine thread's word */
    int64_t last_end_ns;   /* the thread's: two steps in flight are not computed at once */
    int64_t aside_ns;      /* the thread's: what steps in front of the one inside took */
    pith_queue *submitted; /* flights, at most PITH_STEPS_IN_FLIGHT */
    uint32_t inside;       /* the engine thread's count: submitted and not yet polled */
    pthread_t thread;
    bool started;
} lane;

typedef struct model_runner {
    pith_model *const *models;
    size_t n_models;
    pith_clock clock;
    bool ahead; /* the devices take a step while they compute another */
    lane lanes[PITH_DEVICES_MAX];
    uint32_t n_lanes;
    pith_queue *done; /* steps of all devices */
} model_runner;

static pith_encoder *encoder_of(const model_runner *r, const pith_step *step) {
    return r->models[step->model]->encoders[step->device];
}

static void begin(const model_runner *r, flight *f) {
    pith_step *step = f->step;
    f->ticket = 0;
    step->begin_ns = pith_clock_now(&r->clock);
    if (step->model >= r->n_models) {
        step->status = pith_fail(&step->err, PITH_INTERNAL, "step for model %u of %zu", step->model,
                                 r->n_models);
        return;
    }
    pith_batch batch = {
        .n_seq = step->n_seq,
        .n_tok = step->n_tok,
        .ids = step->ids,
        .cu_seqlens = step->cu_seqlens,
    };
    pith_encoder_out out = {.score = step->score};
    pith_encoder *encoder = encoder_of(r, step);
    step->status = step->aside ? pith_encoder_aside(encoder, &batch, &out, &step->err)
                               : pith_encoder_begin(encoder, &batch, &out, &f->ticket, &step->err);
}

static void end(lane *l, flight *f) {
    const model_runner *r = l->runner;
    pith_step *step = f->step;
    if (step->status == PITH_OK) {
        step->status = pith_encoder_wait(encoder_of(r, step), f->ticket, &step->err);
    }
    if (r->ahead && step->begin_ns < l->last_end_ns) {
        step->begin_ns = l->last_end_ns;
    }
    step->end_ns = pith_clock_now(&r->clock);
    l->last_end_ns = step->end_ns;
}

/* Between two layers of the step inside: computes the step that was put in front of it, if any. */
static bool between(void *self) {
    lane *l = self;
    flight *f = pith_queue_pop(l->submitted, 0);
    if (f == NULL) {
        return false;
    }
    pith_step *step = f->step;
    begin(l->runner, f);
    step->end_ns = pith_clock_now(&l->runner->clock);
    l->aside_ns += step->end_ns - step->begin_ns;
    (void)pith_queue_push(l->runner->done, step);
    return true;
}

static void *lane_main(void *arg) {
    lane *l = arg;
    for (;;) {
        flight *f = pith_queue_pop(l->submitted, INT64_MAX);
        if (f == NULL) {
            return NULL;
        }
        pith_step *step = f->step;
        l->aside_ns = 0;
        if (!l->runner->ahead) {
            begin(l->runner, f);
        }
        end(l, f);
        step->begin_ns += l->aside_ns;
        (void)pith_queue_push(l->runner->done, step);
    }
}

static pith_status submit(void *self, pith_step *step) {
    model_runner *r = self;
    if (step->device >= r->n_lanes) {
        return PITH_INTERNAL;
    }
    lane *l = &r->lanes[step->device];
    if (l->inside == PITH_STEPS_IN_FLIGHT) {
        return PITH_EXHAUSTED;
    }
    flight *f = l->flights;
    while (f->step != NULL) { /* not in turn: a step put in front of another comes back before it */
        f++;
    }
    f->step = step;
    if (r->ahead) {
        begin(r, f);
    }
    l->inside++;
    return pith_queue_push(l->submitted, f) ? PITH_OK : PITH_EXHAUSTED;
}

static bool is_idle(const model_runner *r) {
    uint32_t inside = 0;
    for (uint32_t d = 0; d < r->n_lanes; d++) {
        inside += r->lanes[d].inside;
    }
    return inside == 0;
}

static pith_step *poll(void *self, int64_t wait_ns) {
    model_runner *r = self;
    pith_step *step = is_idle(r) ? NULL : pith_queue_pop(r->done, wait_ns);
    if (step != NULL) {
        lane *l = &r->lanes[step->device];
        flight *f = l->flights;
        while (f->step != step) {
            f++;
        }
        f->step = NULL;
        l->inside--;
    }
    return step;
}

static void wake(void *self) {
    model_runner *r = self;
    pith_queue_kick(r->done);
}

static void close_runner(void *self) {
    model_runner *r = self;
    for (uint32_t d = 0; d < r->n_lanes; d++) {
        lane *l = &r->lanes[d];
        if (l->submitted != NULL) {
            pith_queue_shut(l->submitted);
        }
        if (l->started) {
            (void)pthread_join(l->thread, NULL);
        }
        pith_queue_close(l->submitted);
    }
    pith_queue_close(r->done);
    free(r);
}

static pith_status open_lane(model_runner *r, uint32_t device, pith_err *err) {
    lane *l = &r->lanes[device];
    l->runner = r;
    pith_status status = pith_queue_open(&l->submitted, PITH_STEPS_IN_FLIGHT, err);
    if (status == PITH_OK && pthread_create(&l->thread, NULL, lane_main, l) != 0) {
        return pith_fail(err, PITH_INTERNAL, "cannot start the thread of device %u", device);
    }
    l->started = status == PITH_OK;
    return status;
}

pith_status pith_model_runner_open(pith_runner *runner, pith_model *const *models, size_t n_models,
                                   uint32_t n_devices, const pith_clock *clock, pith_err *err) {
    *runner = (pith_runner){0};
    model_runner *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the model runner");
    }
    r->models = models;
    r->n_models = n_models;
    r->clock = *clock;
    r->ahead = n_models > 0 && pith_encoder_steps_in_flight(models[0]->encoders[0]) > 1;
    r->n_lanes = n_devices;
    pith_status status = pith_queue_open(&r->done, (size_t)n_devices * PITH_STEPS_IN_FLIGHT, err);
    for (uint32_t d = 0; status == PITH_OK && d < n_devices; d++) {
        status = open_lane(r, d, err);
    }
    if (status != PITH_OK) {
        close_runner(r);
        return status;
    }
    for (size_t i = 0; i < n_models && !r->ahead; i++) {
        for (uint32_t d = 0; d < n_devices; d++) {
            pith_encoder_set_between(models[i]->encoders[d], between, &r->lanes[d]);
        }
    }
    *runner = (pith_runner){.submit = submit,
                            .poll = poll,
                            .close = close_runner,
                            .aside_tokens = r->ahead ? 0 : PITH_ASIDE_TOKENS_MAX,
                            .wake = n_devices > 1 || !r->ahead ? wake : NULL,
                            .anywhere = !r->ahead,
                            .self = r};
    return PITH_OK;
}
