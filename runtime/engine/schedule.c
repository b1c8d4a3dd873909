/* The engine thread: cuts ready windows into steps and hands their scores back to the jobs.
 *
 * Order: classes by priority; inside a class the jobs take turns, each giving a few windows, so
 * that a long text never holds up a short one. A job that waited PITH_AGE_NS is served first
 * whatever its class: nobody starves. A step is cut when the runner is empty, or ahead of time
 * when a full one is at hand. What is in a step never changes a score, only when it comes. */
#include "runtime/engine/internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    WINDOWS_PER_TURN = 4, /* 2,048 tokens of a published checkpoint: one full step on a CPU */
};

#define PITH_AGE_NS (2 * INT64_C(1000000000))
/* While steps run, arrivals are looked for this often. */
#define PITH_POLL_NS INT64_C(1000000)
/* An idle engine thread shows that it lives this often. */
#define PITH_IDLE_NS (100 * INT64_C(1000000))

/* The window of a job that one sequence of a step stands for. */
typedef struct step_entry {
    pith_job *job;
    uint32_t window;
} step_entry;

/* A step and what it was cut from. Allocated once, for the largest step. */
typedef struct step_slot {
    pith_step step; /* first: poll returns &slot->step */
    step_entry *entries;
    bool used;
} step_slot;

typedef struct job_list {
    pith_job *head;
    pith_job *tail;
} job_list;

typedef struct scheduler {
    pith_engine *engine;
    job_list classes[PITH_PRIORITY_COUNT]; /* jobs with windows left to cut */
    uint32_t n_active;                     /* jobs in the lists */
    uint32_t n_running;                    /* steps inside the runner */
    step_slot slots[PITH_STEPS_IN_FLIGHT];
    uint64_t tokens_waiting; /* of the windows not yet cut */
} scheduler;

/* Highest first. */
static const pith_priority class_order[PITH_PRIORITY_COUNT] = {
    PITH_PRIORITY_INTERACTIVE, PITH_PRIORITY_NORMAL, PITH_PRIORITY_BATCH};

static void list_push(job_list *list, pith_job *job) {
    job->next = NULL;
    if (list->tail == NULL) {
        list->head = job;
    } else {
        list->tail->next = job;
    }
    list->tail = job;
}

static pith_job *list_pop(job_list *list) {
    pith_job *job = list->head;
    if (job != NULL) {
        list->head = job->next;
        if (list->head == NULL) {
            list->tail = NULL;
        }
    }
    return job;
}

static uint64_t tokens_left(const pith_job *job) {
    uint64_t sum = 0;
    for (uint32_t w = job->windows_cut; w < job->doc.n_windows; w++) {
        sum += job->doc.windows[w].n_ids;
    }
    return sum;
}

/* True when nothing of the job is inside the runner and nothing is left to cut. */
static bool job_settled(const pith_job *job) {
    return job->windows_done == job->windows_cut &&
           (job->status != PITH_OK || job->windows_cut == job->doc.n_windows);
}

static void to_finish(pith_engine *engine, pith_job *job) {
    job->model_end_ns = pith_clock_now(&engine->clock);
    (void)pith_queue_push(engine->finish, job);
}

static void admit(scheduler *s, pith_job *job) {
    job->listed = true;
    list_push(&s->classes[job->opts.priority], job);
    s->n_active++;
    s->tokens_waiting += tokens_left(job);
}

/* Takes stopped jobs out of one class; those with windows inside the runner end there. */
static void sweep_class(scheduler *s, job_list *list, int64_t now) {
    job_list kept = {0};
    for (pith_job *job = list_pop(list); job != NULL; job = list_pop(list)) {
        pith_status why = pith_job_check(job, now);
        if (why == PITH_OK && atomic_load(&s->engine->aborting)) {
            why = PITH_CANCELLED;
        }
        if (why != PITH_OK) {
            pith_job_fail(job, why, NULL);
        }
        if (job->status == PITH_OK) {
            list_push(&kept, job);
            continue;
        }
        job->listed = false;
        s->n_active--;
        s->tokens_waiting -= tokens_left(job);
        if (job_settled(job)) {
            to_finish(s->engine, job);
        }
    }
    *list = kept;
}

/* The next job to take windows from, or NULL. */
static pith_job *next_job(scheduler *s, int64_t now) {
    for (uint32_t c = 0; c < PITH_PRIORITY_COUNT; c++) {
        job_list *list = &s->classes[class_order[c]];
        if (list->head != NULL && now - list->head->accepted_ns > PITH_AGE_NS &&
            list->head->windows_cut == 0) {
            return list_pop(list);
        }
    }
    for (uint32_t c = 0; c < PITH_PRIORITY_COUNT; c++) {
        pith_job *job = list_pop(&s->classes[class_order[c]]);
        if (job != NULL) {
            return job;
        }
    }
    return NULL;
}

static void add_window(scheduler *s, step_slot *slot, pith_job *job) {
    pith_step *step = &slot->step;
    const pith_window *window = &job->doc.windows[job->windows_cut];
    memcpy(step->ids + step->n_tok, job->doc.ids + window->id_begin,
           window->n_ids * sizeof *step->ids);
    slot->entries[step->n_seq] = (step_entry){.job = job, .window = job->windows_cut};
    step->n_seq++;
    step->n_tok += window->n_ids;
    step->cu_seqlens[step->n_seq] = step->n_tok;
    job->windows_cut++;
    s->tokens_waiting -= window->n_ids;
}

/* Tokens that take about step_ns_max at the speed seen so far. */
static uint32_t step_budget(const pith_engine *engine) {
    int64_t per_token = atomic_load(&engine->ns_per_token);
    if (per_token <= 0) {
        return engine->step_tokens_cap;
    }
    int64_t tokens = engine->step_ns_max / per_token;
    return tokens < (int64_t)engine->step_tokens_cap ? (uint32_t)tokens : engine->step_tokens_cap;
}

/* Gives at most one turn's windows of `job` to the step; false when the step is full. */
static bool take_turn(scheduler *s, step_slot *slot, pith_job *job, uint32_t budget, int64_t now) {
    pith_step *step = &slot->step;
    for (uint32_t turn = 0; turn < WINDOWS_PER_TURN && job->windows_cut < job->doc.n_windows;
         turn++) {
        uint32_t n_ids = job->doc.windows[job->windows_cut].n_ids;
        if (step->n_seq > 0 && step->n_tok + n_ids > budget) {
            return false;
        }
        if (job->windows_cut == 0) {
            job->model_begin_ns = now;
        }
        add_window(s, slot, job);
    }
    return true;
}

/* Fills a slot with windows of one model; false when nothing waits. */
static bool cut_step(scheduler *s, step_slot *slot, int64_t now) {
    pith_step *step = &slot->step;
    step->n_seq = 0;
    step->n_tok = 0;
    step->cu_seqlens[0] = 0;
    uint32_t budget = step_budget(s->engine);
    job_list other_models = {0};
    bool room = true;
    while (room) {
        pith_job *job = next_job(s, now);
        if (job == NULL) {
            break;
        }
        if (step->n_seq > 0 && job->model != step->model) {
            list_push(&other_models, job);
            continue;
        }
        step->model = job->model;
        room = take_turn(s, slot, job, budget, now);
        if (job->windows_cut == job->doc.n_windows) {
            job->listed = false;
            s->n_active--;
        } else {
            list_push(&s->classes[job->opts.priority], job);
        }
    }
    for (pith_job *job = list_pop(&other_models); job != NULL; job = list_pop(&other_models)) {
        list_push(&s->classes[job->opts.priority], job);
    }
    return step->n_seq > 0;
}

static void take_scores(scheduler *s, step_slot *slot) {
    pith_step *step = &slot->step;
    for (uint32_t i = 0; i < step->n_seq; i++) {
        step_entry entry = slot->entries[i];
        pith_job *job = entry.job;
        if (step->status == PITH_OK) {
            pith_document_collect(&job->doc, entry.window, step->score + step->cu_seqlens[i],
                                  job->unit_scores);
        } else {
            pith_job_fail(job, step->status, &step->err);
        }
        job->windows_done++;
        atomic_store_explicit(&job->progress_done, job->windows_done, memory_order_relaxed);
        /* True at the last of the job's windows only: nothing touches the job after it. */
        if (!job->listed && job_settled(job)) {
            to_finish(s->engine, job);
        }
    }
}

static void account(pith_engine *engine, const pith_step *step) {
    int64_t spent = step->end_ns - step->begin_ns;
    pith_count(&engine->counters.steps, 1);
    pith_count(&engine->counters.steps_failed, step->status != PITH_OK);
    pith_count(&engine->counters.step_tokens, step->n_tok);
    pith_histogram_add(&engine->counters.step_ns, spent > 0 ? (uint64_t)spent : 0);
    pith_histogram_add(&engine->counters.batch_tokens, step->n_tok);
    pith_histogram_add(&engine->counters.batch_size, step->n_seq);
    if (step->status != PITH_OK || step->n_tok == 0 || spent <= 0) {
        return;
    }
    int64_t seen = spent / step->n_tok;
    int64_t old = atomic_load(&engine->ns_per_token);
    int64_t smoothed = old == 0 ? seen : (3 * old + seen) / 4;
    atomic_store(&engine->ns_per_token, smoothed > 0 ? smoothed : 1);
}

static void reap(scheduler *s, int64_t wait_ns) {
    pith_runner *runner = &s->engine->runner;
    for (pith_step *step = runner->poll(runner->self, wait_ns); step != NULL;
         step = runner->poll(runner->self, 0)) {
        step_slot *slot = (step_slot *)step;
        account(s->engine, step);
        take_scores(s, slot);
        slot->used = false;
        s->n_running--;
    }
}

static void submit_steps(scheduler *s) {
    pith_engine *engine = s->engine;
    for (uint32_t i = 0; i < PITH_STEPS_IN_FLIGHT && s->n_active > 0; i++) {
        step_slot *slot = &s->slots[i];
        bool ahead = s->n_running > 0;
        if (slot->used || (ahead && s->tokens_waiting < step_budget(engine))) {
            continue;
        }
        if (!cut_step(s, slot, pith_clock_now(&engine->clock))) {
            continue;
        }
        slot->used = true;
        s->n_running++;
        pith_status status = engine->runner.submit(engine->runner.self, &slot->step);
        if (status != PITH_OK) {
            slot->step.status = pith_fail(&slot->step.err, status, "the device took no step");
            take_scores(s, slot);
            slot->used = false;
            s->n_running--;
        }
    }
}

static void receive(scheduler *s, int64_t wait_ns) {
    for (pith_job *job = pith_queue_pop(s->engine->ready, wait_ns); job != NULL;
         job = pith_queue_pop(s->engine->ready, 0)) {
        admit(s, job);
    }
}

/* Every sequence has two tokens at least, [CLS] and [SEP]; entries are bounded by that. */
static bool slots_open(scheduler *s, uint32_t cap) {
    for (uint32_t i = 0; i < PITH_STEPS_IN_FLIGHT; i++) {
        pith_step *step = &s->slots[i].step;
        step->ids = malloc(cap * sizeof *step->ids);
        step->cu_seqlens = malloc((cap / 2 + 2) * sizeof *step->cu_seqlens);
        step->score = malloc(cap * sizeof *step->score);
        s->slots[i].entries = malloc((cap / 2 + 1) * sizeof *s->slots[i].entries);
        if (step->ids == NULL || step->cu_seqlens == NULL || step->score == NULL ||
            s->slots[i].entries == NULL) {
            return false;
        }
    }
    return true;
}

static void slots_close(scheduler *s) {
    for (uint32_t i = 0; i < PITH_STEPS_IN_FLIGHT; i++) {
        free(s->slots[i].step.ids);
        free(s->slots[i].step.cu_seqlens);
        free(s->slots[i].step.score);
        free(s->slots[i].entries);
    }
}

/* Without memory for a step every job is refused, one by one, until the queue is shut. */
static void refuse_all(pith_engine *engine) {
    for (pith_job *job = pith_queue_pop(engine->ready, INT64_MAX); job != NULL;
         job = pith_queue_pop(engine->ready, INT64_MAX)) {
        pith_job_fail(job, PITH_NO_MEMORY, NULL);
        to_finish(engine, job);
    }
}

void *pith_schedule_main(void *arg) {
    pith_engine *engine = arg;
    scheduler s = {.engine = engine};
    if (!slots_open(&s, engine->step_tokens_cap)) {
        refuse_all(engine);
        slots_close(&s);
        return NULL;
    }
    while (s.n_active > 0 || s.n_running > 0 || !pith_queue_is_shut(engine->ready) ||
           pith_queue_len(engine->ready) > 0) {
        bool idle = s.n_active == 0 && s.n_running == 0;
        receive(&s, idle ? PITH_IDLE_NS : 0);
        int64_t now = pith_clock_now(&engine->clock);
        atomic_store(&engine->heartbeat_ns, now);
        for (uint32_t c = 0; c < PITH_PRIORITY_COUNT; c++) {
            sweep_class(&s, &s.classes[c], now);
        }
        submit_steps(&s);
        if (s.n_running > 0) {
            reap(&s, PITH_POLL_NS);
        }
    }
    slots_close(&s);
    return NULL;
}
