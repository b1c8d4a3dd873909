/* The engine thread: gives the scheduler jobs and time, its steps to the runner, and shows that it
 * lives. */
#include "runtime/engine/internal.h"

enum {
    /* Short texts finished here when no more came back at once, and their bytes together: half a
     * millisecond's work at most. The next step is under way by then. */
    INLINE_PER_TURN = 16,
    INLINE_BYTES_PER_TURN = 4096,
};

typedef struct loop {
    pith_engine *engine;
    pith_scheduler *scheduler;
    uint64_t cancels_seen;
    uint32_t n_running; /* steps inside the runner */
    uint32_t n_settled; /* since the last flush */
    size_t settled_bytes;
    pith_job *settled[INLINE_PER_TURN];
} loop;

/* Few short texts are finished here: a wake-up of another thread costs as much. With more, or a
 * longer one, the next step must not wait for them. */
static void on_settled(void *user, pith_job *job, int64_t now_ns) {
    loop *l = user;
    job->model_end_ns = now_ns;
    size_t len = job->request.text_len;
    if (l->n_settled < INLINE_PER_TURN && l->settled_bytes + len <= INLINE_BYTES_PER_TURN) {
        l->settled_bytes += len;
        l->settled[l->n_settled++] = job;
    } else {
        pith_finish_push(l->engine, job);
    }
}

static void on_began(void *user, pith_job *job) {
    loop *l = user;
    pith_uncount(&l->engine->counters.waiting[job->opts.priority], 1);
    pith_count(&l->engine->counters.running, 1);
    job->began = true;
}

static void flush_settled(loop *l) {
    for (uint32_t i = 0; i < l->n_settled; i++) {
        pith_job_move(l->settled[i], PITH_STAGE_FINISH);
        pith_finish_job(l->engine, l->settled[i], &l->engine->finish_list);
    }
    l->n_settled = 0;
    l->settled_bytes = 0;
}

static void receive(loop *l, int64_t wait_ns) {
    pith_engine *engine = l->engine;
    for (pith_job *job = pith_queue_pop(engine->ready, wait_ns); job != NULL;
         job = pith_queue_pop(engine->ready, 0)) {
        pith_admission_arrived(engine, job);
        pith_scheduler_add(l->scheduler, job, pith_clock_now(&engine->clock));
    }
}

static pith_status reason_to_stop(const pith_engine *engine) {
    if (atomic_load(&engine->faulted)) {
        return PITH_UNAVAILABLE;
    }
    return atomic_load(&engine->aborting) ? PITH_CANCELLED : PITH_OK;
}

static void sweep(loop *l, int64_t now) {
    uint64_t cancels = pith_counted(&l->engine->cancels);
    pith_status stop = reason_to_stop(l->engine);
    if (stop != PITH_OK || cancels != l->cancels_seen ||
        pith_scheduler_next(l->scheduler, now) <= now) {
        l->cancels_seen = cancels;
        pith_scheduler_sweep(l->scheduler, stop, now);
    }
}

static void account(pith_engine *engine, const pith_step *step) {
    int64_t spent = step->end_ns - step->begin_ns;
    pith_count(&engine->counters.steps, 1);
    pith_count(&engine->counters.steps_failed, step->status != PITH_OK);
    pith_count(&engine->counters.steps_aside, step->aside);
    pith_count(&engine->counters.step_tokens, step->n_tok);
    pith_histogram_add(&engine->counters.step_ns, spent > 0 ? (uint64_t)spent : 0);
    pith_histogram_add(&engine->counters.batch_tokens, step->n_tok);
    pith_histogram_add(&engine->counters.batch_size, step->n_seq);
}

static void take_back(loop *l, pith_step *step) {
    l->n_running--;
    account(l->engine, step);
    pith_scheduler_done(l->scheduler, step, pith_clock_now(&l->engine->clock));
    if (pith_scheduler_lost(l->scheduler)) {
        atomic_store(&l->engine->faulted, true);
    }
}

static void submit_steps(loop *l) {
    pith_runner *runner = &l->engine->runner;
    for (;;) {
        int64_t now = pith_clock_now(&l->engine->clock);
        pith_step *step = pith_scheduler_cut(l->scheduler, now);
        if (step == NULL) {
            return;
        }
        l->n_running++;
        pith_status status = runner->submit(runner->self, step);
        if (status != PITH_OK) {
            step->status = pith_fail(&step->err, status, "the device took no step");
            take_back(l, step);
        }
    }
}

static void reap(loop *l, int64_t wait_ns) {
    pith_runner *runner = &l->engine->runner;
    for (pith_step *step = runner->poll(runner->self, wait_ns); step != NULL;
         step = runner->poll(runner->self, 0)) {
        take_back(l, step);
    }
}

/* What health and admission look at. The heart stands still while a step takes too long. */
static void publish(loop *l, int64_t now) {
    pith_engine *engine = l->engine;
    pith_scheduler_view view;
    pith_scheduler_look(l->scheduler, &view);
    int64_t beat = 4 * view.longest_step_ns;
    beat = beat < PITH_BEAT_NS ? PITH_BEAT_NS : beat;
    atomic_store(&engine->beat_ns, beat);
    if (view.steps_running == 0 || now - view.oldest_step_ns <= beat || view.oldest_step_ns > now) {
        atomic_store(&engine->heartbeat_ns, now);
    }
    atomic_store(&engine->token_ps, (uint64_t)(view.speed.token_ns * 1000.0));
    atomic_store(&engine->step_budget, view.budget);
    atomic_store(&engine->counters.steps_running, view.steps_running);
    for (int c = 0; c < PITH_PRIORITY_COUNT; c++) {
        for (int b = 0; b < PITH_PLAN_BUCKETS; b++) {
            atomic_store_explicit(&engine->queued_ps[c][b], view.work_ps[c][b],
                                  memory_order_relaxed);
        }
    }
}

/* How long nothing can happen but a step's end. */
static int64_t patience(const loop *l, int64_t now) {
    int64_t at = pith_scheduler_next(l->scheduler, now);
    int64_t wait = at - now;
    return at == INT64_MAX || wait > PITH_IDLE_NS ? PITH_IDLE_NS : wait < 0 ? 0 : wait;
}

static bool over(const loop *l) {
    return pith_scheduler_idle(l->scheduler) && l->n_running == 0 &&
           pith_queue_is_shut(l->engine->ready) && pith_queue_len(l->engine->ready) == 0;
}

void *pith_schedule_main(void *arg) {
    pith_engine *engine = arg;
    loop l = {.engine = engine, .scheduler = engine->scheduler};
    pith_scheduler_listener listener = {.began = on_began, .settled = on_settled, .user = &l};
    pith_scheduler_listen(engine->scheduler, &listener);
    int64_t wait_ns = 0;
    while (!over(&l)) {
        receive(&l, wait_ns);
        sweep(&l, pith_clock_now(&engine->clock));
        submit_steps(&l);
        flush_settled(&l);
        int64_t now = pith_clock_now(&engine->clock);
        publish(&l, now);
        wait_ns = patience(&l, now);
        if (l.n_running > 0) {
            reap(&l, wait_ns);
            wait_ns = 0;
        }
    }
    return NULL;
}
