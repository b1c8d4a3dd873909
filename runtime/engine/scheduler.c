#include "runtime/engine/scheduler.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { SPEED_EVEN_TOKENS = 64 }; /* far from a lone sentence and from a full window: see learn() */

#define TOKEN_NS_LEAST 1.0 /* faster than any device: keeps products above zero */

/* The window of a job that one sequence of a step stands for. */
typedef struct step_entry {
    pith_job *job;
    uint32_t window;
} step_entry;

/* A step and what it was cut from. */
typedef struct step_slot {
    pith_step step; /* first: a runner gives back &slot->step */
    step_entry *entries;
    uint32_t device;
    bool used;
    int64_t cut_ns;
} step_slot;

struct pith_scheduler {
    pith_scheduler_opts opts;
    pith_scheduler_listener listener;
    pith_queues queues;
    pith_plan_device devices[PITH_DEVICES_MAX];
    step_slot slots[PITH_DEVICES_MAX][PITH_STEPS_IN_FLIGHT];
    pith_speed speeds[PITH_DEVICES_MAX][PITH_MODELS_MAX];
    pith_plan plan;
    uint32_t n_jobs;    /* queued, or with windows inside a device */
    int64_t expires_ns; /* no queued job expires before; see expiry() */
    bool lost;
};

/* Every sequence has two tokens at least, [CLS] and [SEP]; entries are bounded by that. */
static bool slot_open(step_slot *slot, uint32_t cap) {
    pith_step *step = &slot->step;
    step->ids = malloc(cap * sizeof *step->ids);
    step->cu_seqlens = malloc((cap / 2 + 2) * sizeof *step->cu_seqlens);
    step->score = malloc(cap * sizeof *step->score);
    slot->entries = malloc((cap / 2 + 1) * sizeof *slot->entries);
    return step->ids != NULL && step->cu_seqlens != NULL && step->score != NULL &&
           slot->entries != NULL;
}

pith_status pith_scheduler_open(pith_scheduler **scheduler, const pith_scheduler_opts *opts,
                                pith_err *err) {
    *scheduler = NULL;
    if (opts->n_devices == 0 || opts->n_devices > PITH_DEVICES_MAX || opts->n_models == 0 ||
        opts->n_models > PITH_MODELS_MAX) {
        return pith_fail(err, PITH_INVALID, "%u devices and %u models, expected 1 to %d and %d",
                         opts->n_devices, opts->n_models, PITH_DEVICES_MAX, PITH_MODELS_MAX);
    }
    pith_scheduler *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the scheduler");
    }
    s->opts = *opts;
    s->expires_ns = INT64_MAX;
    bool ok = true;
    for (uint32_t d = 0; d < opts->n_devices; d++) {
        memcpy(s->speeds[d], opts->speeds, opts->n_models * sizeof *opts->speeds);
        s->devices[d] = (pith_plan_device){.speeds = s->speeds[d],
                                           .running_max = PITH_STEPS_IN_FLIGHT,
                                           .ahead_ns = opts->ahead_ns,
                                           .aside_tokens = opts->aside_tokens};
        for (uint32_t i = 0; i < PITH_STEPS_IN_FLIGHT; i++) {
            s->slots[d][i].device = d;
            ok = slot_open(&s->slots[d][i], opts->limits.step_tokens) && ok;
        }
    }
    if (!ok) {
        pith_scheduler_close(s);
        return pith_fail(err, PITH_NO_MEMORY, "no memory for steps of %u tokens",
                         opts->limits.step_tokens);
    }
    *scheduler = s;
    return PITH_OK;
}

void pith_scheduler_close(pith_scheduler *s) {
    for (uint32_t d = 0; s != NULL && d < s->opts.n_devices; d++) {
        for (uint32_t i = 0; i < PITH_STEPS_IN_FLIGHT; i++) {
            step_slot *slot = &s->slots[d][i];
            free(slot->step.ids);
            free(slot->step.cu_seqlens);
            free(slot->step.score);
            free(slot->entries);
        }
    }
    free(s);
}

void pith_scheduler_listen(pith_scheduler *s, const pith_scheduler_listener *listener) {
    s->listener = *listener;
}

static uint32_t step_budget(const pith_scheduler *s, uint32_t model) {
    return pith_plan_budget(&s->speeds[0][model], s->opts.limits.step_ns,
                            s->opts.limits.step_tokens);
}

/* From here on the job's next window would come too late. Devices are alike in speed. */
static int64_t expiry(const pith_scheduler *s, const pith_plan_job *plan) {
    if (plan->cut_by_ns == PITH_DEADLINE_NONE) {
        return INT64_MAX;
    }
    uint32_t n_ids = plan->windows[plan->next].n_ids;
    return plan->cut_by_ns - pith_speed_ns(&s->speeds[0][plan->model], n_ids);
}

/* True when nothing of the job is inside a device and nothing is left to give. */
static bool is_settled(const pith_job *job) {
    return !job->plan.queued && job->windows_done == job->plan.next;
}

static void settle(pith_scheduler *s, pith_job *job, int64_t now_ns) {
    s->n_jobs--;
    if (job->status == PITH_OK && job->windows_done < job->doc.n_windows) {
        if (job->windows_done == 0) {
            pith_job_fail(job, PITH_DEADLINE, NULL);
        } else { /* windows are given and come back in order: these are the first ones */
            job->doc.n_windows = job->windows_done;
            job->doc.cut_short = true;
        }
    }
    s->listener.settled(s->listener.user, job, now_ns);
}

void pith_scheduler_add(pith_scheduler *s, pith_job *job, int64_t now_ns) {
    job->plan.priority = job->opts.priority;
    job->plan.model = job->model;
    job->plan.windows = job->doc.windows;
    job->plan.n_windows = job->doc.n_windows;
    job->plan.token_ps = (uint64_t)(s->speeds[0][job->model].token_ns * 1000.0);
    pith_queues_add(&s->queues, &job->plan, step_budget(s, job->model), now_ns);
    s->n_jobs++;
    int64_t at = expiry(s, &job->plan);
    s->expires_ns = at < s->expires_ns ? at : s->expires_ns;
}

static pith_job *job_of(pith_plan_job *plan) {
    return (pith_job *)((char *)plan - offsetof(pith_job, plan));
}

void pith_scheduler_sweep(pith_scheduler *s, pith_status stop, int64_t now_ns) {
    s->expires_ns = INT64_MAX;
    pith_plan_job *after;
    for (pith_plan_job *plan = pith_queues_oldest(&s->queues); plan != NULL; plan = after) {
        after = pith_queues_younger(plan);
        pith_job *job = job_of(plan);
        int64_t at = expiry(s, plan);
        if (stop != PITH_OK) {
            pith_job_fail(job, stop, NULL);
        } else if (pith_job_check(job, now_ns) == PITH_CANCELLED) {
            pith_job_fail(job, PITH_CANCELLED, NULL);
        }
        if (job->status == PITH_OK && at > now_ns) {
            s->expires_ns = at < s->expires_ns ? at : s->expires_ns;
            continue;
        }
        pith_queues_remove(&s->queues, plan);
        if (is_settled(job)) {
            settle(s, job, now_ns);
        }
    }
}

static void fill(pith_scheduler *s, step_slot *slot, const pith_plan *plan, int64_t now_ns) {
    pith_step *step = &slot->step;
    step->model = plan->model;
    step->device = plan->device;
    step->aside = plan->aside;
    step->n_seq = 0;
    step->n_tok = 0;
    step->cu_seqlens[0] = 0;
    step->begin_ns = step->end_ns = 0;
    for (uint32_t i = 0; i < plan->n_picks; i++) {
        const pith_pick *pick = &plan->picks[i];
        pith_job *job = job_of(pick->job);
        if (pick->first == 0) {
            job->model_begin_ns = now_ns;
            s->listener.began(s->listener.user, job);
        }
        for (uint32_t w = pick->first; w < pick->first + pick->n; w++) {
            const pith_window *window = &job->doc.windows[w];
            memcpy(step->ids + step->n_tok, job->doc.ids + window->id_begin,
                   window->n_ids * sizeof *step->ids);
            slot->entries[step->n_seq++] = (step_entry){.job = job, .window = w};
            step->n_tok += window->n_ids;
            step->cu_seqlens[step->n_seq] = step->n_tok;
        }
    }
}

pith_step *pith_scheduler_cut(pith_scheduler *s, int64_t now_ns) {
    pith_plan *plan = &s->plan;
    if (!pith_plan_step(&s->queues, s->devices, s->opts.n_devices, &s->opts.limits, now_ns, plan)) {
        return NULL;
    }
    step_slot *slot = s->slots[plan->device];
    slot += slot->used; /* a device with both used takes none */
    fill(s, slot, plan, now_ns);
    pith_queues_take(&s->queues, plan, now_ns);
    slot->used = true;
    slot->cut_ns = now_ns;
    pith_plan_device *at = &s->devices[plan->device];
    int64_t takes = pith_speed_ns(&at->speeds[plan->model], plan->n_tok);
    at->running++;
    if (plan->aside) {
        at->aside_ns -= takes;
        at->free_ns += takes;
    } else {
        at->aside_ns = takes;
        at->rank = plan->rank;
        at->free_ns = plan->ends_ns;
    }
    return &slot->step;
}

/* Follows the device: a quarter of what the step says, and no step counts for more than double of
 * what was believed, so that neither a stalled machine nor a jump of the clock upsets it. A step of
 * SPEED_EVEN_TOKENS says as much of the fixed part as of the tokens' (normalised least mean squares
 * over (SPEED_EVEN_TOKENS, n_tok)): many tiny steps teach what a step costs, not what a token does.
 */
static void learn(pith_speed *speed, const pith_step *step) {
    int64_t spent = step->end_ns - step->begin_ns;
    if (step->status != PITH_OK || step->n_tok == 0 || spent <= 0) {
        return;
    }
    double believed = (double)pith_speed_ns(speed, step->n_tok);
    double seen = (double)spent < 2.0 * believed ? (double)spent : 2.0 * believed;
    double wrong = 0.25 * (seen - believed);
    double n = (double)step->n_tok;
    double even = (double)SPEED_EVEN_TOKENS;
    double of_tokens = n * n / (n * n + even * even);
    double fixed = (double)speed->fixed_ns + (1.0 - of_tokens) * wrong;
    double token = speed->token_ns + of_tokens * wrong / n;
    speed->fixed_ns = fixed > 0.0 ? (int64_t)fixed : 0;
    speed->token_ns = token > TOKEN_NS_LEAST ? token : TOKEN_NS_LEAST;
}

static void take_scores(pith_scheduler *s, step_slot *slot, int64_t now_ns) {
    pith_step *step = &slot->step;
    for (uint32_t i = 0; i < step->n_seq; i++) {
        step_entry entry = slot->entries[i];
        pith_job *job = entry.job;
        if (step->status == PITH_OK) {
            pith_document_collect(&job->doc, entry.window, step->score + step->cu_seqlens[i],
                                  job->unit_scores);
        } else {
            pith_job_fail(job, step->status, &step->err);
            pith_queues_remove(&s->queues, &job->plan);
        }
        job->windows_done++;
        atomic_store_explicit(&job->progress_done, job->windows_done, memory_order_relaxed);
        /* True at the last of the job's windows only: nothing touches the job after it. */
        if (is_settled(job)) {
            settle(s, job, now_ns);
        }
    }
}

void pith_scheduler_done(pith_scheduler *s, pith_step *step, int64_t now_ns) {
    step_slot *slot = (step_slot *)step;
    pith_plan_device *device = &s->devices[slot->device];
    device->running--;
    pith_speed *speed = &s->speeds[slot->device][step->model];
    if (!step->aside) {
        device->free_ns =
            device->running == 0 ? now_ns : now_ns + pith_speed_ns(speed, step->n_tok);
    }
    learn(speed, step);
    if (step->status == PITH_UNAVAILABLE) {
        device->lost = true;
        s->lost = true;
    }
    slot->used = false;
    take_scores(s, slot, now_ns);
}

int64_t pith_scheduler_next(const pith_scheduler *s, int64_t now_ns) {
    int64_t at = s->expires_ns;
    for (uint32_t d = 0; d < s->opts.n_devices; d++) {
        const pith_plan_device *device = &s->devices[d];
        int64_t ahead = device->free_ns - device->ahead_ns;
        if (device->ahead_ns > 0 && device->running == 1 && ahead > now_ns && ahead < at) {
            at = ahead;
        }
    }
    return at;
}

bool pith_scheduler_idle(const pith_scheduler *s) {
    return s->n_jobs == 0;
}

bool pith_scheduler_lost(const pith_scheduler *s) {
    return s->lost;
}

void pith_scheduler_look(const pith_scheduler *s, pith_scheduler_view *view) {
    *view = (pith_scheduler_view){.speed = s->speeds[0][0], .budget = step_budget(s, 0)};
    memcpy(view->work_ps, s->queues.work_ps, sizeof view->work_ps);
    for (uint32_t d = 0; d < s->opts.n_devices; d++) {
        for (uint32_t i = 0; i < PITH_STEPS_IN_FLIGHT; i++) {
            const step_slot *slot = &s->slots[d][i];
            bool older = view->oldest_step_ns == 0 || slot->cut_ns < view->oldest_step_ns;
            if (slot->used && older) {
                view->oldest_step_ns = slot->cut_ns;
            }
            view->steps_running += slot->used;
        }
        for (uint32_t m = 0; m < s->opts.n_models; m++) {
            uint32_t budget = step_budget(s, m);
            uint32_t most = budget > s->opts.window_tokens ? budget : s->opts.window_tokens;
            int64_t ns = pith_speed_ns(&s->speeds[d][m], most);
            view->longest_step_ns = ns > view->longest_step_ns ? ns : view->longest_step_ns;
        }
    }
}
