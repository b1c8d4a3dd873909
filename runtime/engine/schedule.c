/* The engine thread: gives the scheduler jobs and time, its steps to the runner, and shows that it
 * lives. While it sleeps with nothing inside, whoever brings a job takes a turn in its place: on
 * the way to an idle device a wake-up costs as much as all else. */
#include "runtime/engine/internal.h"

#include <string.h>

/* Short texts finished in a turn when no more came back at once, and their bytes together: half a
 * millisecond's work at most. The next step is under way by then. */
enum { INLINE_BYTES_PER_TURN = 4096 };

typedef pith_loop loop;

/* Few short texts are finished here: a wake-up of another thread costs as much. With more, or a
 * longer one, the next step must not wait for them. */
static void on_settled(void *user, pith_job *job, int64_t now_ns) {
    loop *l = user;
    job->model_end_ns = now_ns;
    size_t len = job->request.text_len;
    if (l->n_settled < PITH_INLINE_PER_TURN && l->settled_bytes + len <= INLINE_BYTES_PER_TURN) {
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

/* Takes out what was settled; how many, at most PITH_INLINE_PER_TURN. */
static uint32_t take_settled(loop *l, pith_job **settled) {
    uint32_t n = l->n_settled;
    memcpy(settled, l->settled, n * sizeof *settled);
    l->n_settled = 0;
    l->settled_bytes = 0;
    return n;
}

static void finish_all(pith_engine *engine, pith_job **settled, uint32_t n, pith_token_list *list) {
    for (uint32_t i = 0; i < n; i++) {
        pith_job_move(settled[i], PITH_STAGE_FINISH);
        pith_finish_job(engine, settled[i], list);
    }
}

static void add(loop *l, pith_job *job) {
    pith_admission_arrived(l->engine, job);
    pith_scheduler_add(l->scheduler, job, pith_clock_now(&l->engine->clock));
}

/* Takes the jobs that have come. With nothing inside it waits for one, and lets others in
 * meanwhile. */
static void receive(loop *l, int64_t wait_ns) {
    pith_engine *engine = l->engine;
    pith_job *job;
    if (wait_ns > 0) {
        (void)pthread_mutex_unlock(&engine->loop_mutex);
        job = pith_queue_pop(engine->ready, wait_ns);
        (void)pthread_mutex_lock(&engine->loop_mutex);
    } else {
        job = pith_queue_pop(engine->ready, 0);
    }
    for (; job != NULL; job = pith_queue_pop(engine->ready, 0)) {
        add(l, job);
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

void pith_schedule_init(pith_engine *engine) {
    pith_loop *l = &engine->loop;
    *l = (pith_loop){.engine = engine, .scheduler = engine->scheduler};
    pith_scheduler_listener listener = {.began = on_began, .settled = on_settled, .user = l};
    pith_scheduler_listen(engine->scheduler, &listener);
}

void *pith_schedule_main(void *arg) {
    pith_engine *engine = arg;
    pith_loop *l = &engine->loop;
    pith_job *settled[PITH_INLINE_PER_TURN];
    int64_t wait_ns = 0;
    (void)pthread_mutex_lock(&engine->loop_mutex);
    while (!over(l)) {
        receive(l, wait_ns);
        sweep(l, pith_clock_now(&engine->clock));
        submit_steps(l);
        finish_all(engine, settled, take_settled(l, settled), &engine->finish_list);
        int64_t now = pith_clock_now(&engine->clock);
        publish(l, now);
        wait_ns = patience(l, now);
        if (l->n_running > 0) {
            reap(l, wait_ns);
            wait_ns = 0;
        }
    }
    (void)pthread_mutex_unlock(&engine->loop_mutex);
    return NULL;
}

void pith_schedule_job(pith_engine *engine, pith_job *job, pith_token_list *list) {
    pith_loop *l = &engine->loop;
    if (!engine->runner.anywhere || pthread_mutex_trylock(&engine->loop_mutex) != 0) {
        (void)pith_queue_push(engine->ready, job);
        if (engine->runner.wake != NULL) {
            engine->runner.wake(engine->runner.self);
        }
        return;
    }
    pith_job *settled[PITH_INLINE_PER_TURN];
    add(l, job);
    submit_steps(l);
    reap(l, 0);
    uint32_t n = take_settled(l, settled);
    bool busy = l->n_running > 0 || !pith_scheduler_idle(l->scheduler);
    if (busy) { /* of what is over at once nobody need know */
        publish(l, pith_clock_now(&engine->clock));
    }
    (void)pthread_mutex_unlock(&engine->loop_mutex);
    if (busy) {
        pith_queue_kick(engine->ready); /* from here on it is the engine thread's */
    }
    finish_all(engine, settled, n, list);
}
