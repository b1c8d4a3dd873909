/* The scheduler in simulated time: seeded arrivals, lengths, priorities, deadlines, cancels and
 * device faults. Everything that happens is a line of a trace; its hash stands for the run, so the
 * same seed gives the same trace. See tests/sim/engine_sim.h for what is checked. */
#include "tests/sim/engine_sim.h"

#include "runtime/engine/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_TOKENS_MAX = 512, ASIDE_PARTS = 6 };

typedef struct sim_job {
    pith_job job; /* first: the scheduler knows no more */
    int64_t arrives_ns;
    int64_t cancels_ns; /* INT64_MAX: never */
    int64_t first_ns;   /* its first window was given to a step */
    int64_t last_turn_ns;
    uint32_t answers;
    bool arrived;
} sim_job;

typedef struct sim_step {
    pith_step *step;
    int64_t ends_ns;
    int64_t held_up_ns; /* by steps in front of it */
} sim_step;

typedef struct sim {
    const pith_sim_opts *opts;
    pith_sim_result *result;
    uint64_t random;
    int64_t now;
    pith_scheduler *scheduler;
    sim_job *jobs;
    uint32_t n_arrived;
    sim_step inside[PITH_DEVICES_MAX][PITH_STEPS_IN_FLIGHT];
    uint32_t n_inside[PITH_DEVICES_MAX];
    int64_t device_free_ns[PITH_DEVICES_MAX];
    uint64_t n_steps;
} sim;

static uint64_t next_random(sim *s) {
    s->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = s->random;
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Uniform in [0, n). */
static uint64_t below(sim *s, uint64_t n) {
    return n == 0 ? 0 : next_random(s) % n;
}

/* FNV-1a over the trace's lines. */
static void trace(sim *s, const char *what, uint64_t a, uint64_t b) {
    char line[96];
    int len = snprintf(line, sizeof line, "%lld %s %llu %llu\n", (long long)s->now, what,
                       (unsigned long long)a, (unsigned long long)b);
    for (int i = 0; i < len; i++) {
        s->result->trace = (s->result->trace ^ (unsigned char)line[i]) * UINT64_C(1099511628211);
    }
    if (s->opts->print) {
        (void)fputs(line, stdout);
    }
}

static void complain(sim *s, const char *what, uint64_t index) {
    if (s->result->n_broken++ == 0) {
        (void)snprintf(s->result->broken, sizeof s->result->broken,
                       "%s (job or step %llu, %lld ns)", what, (unsigned long long)index,
                       (long long)s->now);
    }
}

/* --- jobs ------------------------------------------------------------------------------------- */

/* Most texts are short, some are long, few are very long. */
static uint32_t random_tokens(sim *s) {
    uint64_t kind = below(s, 100);
    uint64_t most = kind < 60 ? 300 : kind < 90 ? 2000 : kind < 99 ? 20000 : s->opts->tokens_max;
    return (uint32_t)(3 + below(s, most));
}

static bool make_windows(pith_job *job, uint32_t tokens) {
    uint32_t n = (tokens + WINDOW_TOKENS_MAX - 1) / WINDOW_TOKENS_MAX;
    pith_document *doc = &job->doc;
    doc->windows = calloc(n, sizeof *doc->windows);
    doc->ids = calloc(tokens, sizeof *doc->ids);
    doc->id_units = malloc(tokens * sizeof *doc->id_units);
    if (doc->windows == NULL || doc->ids == NULL || doc->id_units == NULL) {
        return false;
    }
    memset(doc->id_units, 0xFF, tokens * sizeof *doc->id_units); /* PITH_UNIT_NONE */
    for (uint32_t w = 0; w < n; w++) {
        uint32_t left = tokens - doc->n_ids;
        doc->windows[w] = (pith_window){
            .id_begin = doc->n_ids, .n_ids = left < WINDOW_TOKENS_MAX ? left : WINDOW_TOKENS_MAX};
        doc->n_ids += doc->windows[w].n_ids;
    }
    doc->n_windows = n;
    return true;
}

static bool make_job(sim *s, uint32_t index, int64_t arrives_ns) {
    const pith_sim_opts *o = s->opts;
    sim_job *j = &s->jobs[index];
    bool giant = o->giant_tokens > 0 && index == 0;
    uint32_t tokens = giant                 ? o->giant_tokens
                      : o->fixed_tokens > 0 ? o->fixed_tokens
                                            : random_tokens(s);
    j->arrives_ns = giant ? 0 : arrives_ns;
    j->cancels_ns = below(s, 1000) < o->cancel_permille
                        ? j->arrives_ns + (int64_t)below(s, (uint64_t)o->cancel_within_ns)
                        : INT64_MAX;
    j->job.model = (uint32_t)below(s, o->n_models);
    j->job.opts.priority =
        o->mixed_priorities ? (pith_priority)below(s, PITH_PRIORITY_COUNT) : PITH_PRIORITY_NORMAL;
    j->job.plan.cut_by_ns = j->job.opts.deadline_ns = PITH_DEADLINE_NONE;
    if (below(s, 1000) < o->deadline_permille) {
        j->job.opts.deadline_ns =
            j->arrives_ns + (int64_t)below(s, (uint64_t)o->deadline_within_ns);
        j->job.plan.cut_by_ns = j->job.opts.deadline_ns;
    }
    return make_windows(&j->job, tokens);
}

static void began(void *user, pith_job *job) {
    sim *s = user;
    sim_job *j = (sim_job *)job;
    j->first_ns = s->now;
    int64_t waited = s->now - j->arrives_ns;
    pith_sim_result *r = s->result;
    int c = (int)job->opts.priority;
    r->waited_max_ns[c] = waited > r->waited_max_ns[c] ? waited : r->waited_max_ns[c];
}

static void settled(void *user, pith_job *job, int64_t now_ns) {
    sim *s = user;
    sim_job *j = (sim_job *)job;
    pith_sim_result *r = s->result;
    uint32_t index = (uint32_t)(j - s->jobs);
    j->answers++;
    r->answers[job->status]++;
    r->partial += job->status == PITH_OK && job->doc.cut_short;
    trace(s, "answer", index, (uint64_t)job->status << 1 | job->doc.cut_short);
    if (job->status == PITH_OK && job->windows_done < job->doc.n_windows) {
        complain(s, "answered OK with windows that nobody scored", index);
    }
    if (job->status == PITH_CANCELLED && j->cancels_ns > now_ns) {
        complain(s, "cancelled, but nobody did", index);
    }
    bool cut = job->status == PITH_DEADLINE || job->doc.cut_short;
    if (cut && job->opts.deadline_ns == PITH_DEADLINE_NONE) {
        complain(s, "cut short without a deadline", index);
    }
    if (index == 0) {
        r->giant_ns = now_ns - j->arrives_ns;
    } else if (job->status == PITH_OK) {
        int64_t took = now_ns - j->arrives_ns;
        r->took_max_ns = took > r->took_max_ns ? took : r->took_max_ns;
        r->took_sum_ns += took;
    }
}

/* --- devices ---------------------------------------------------------------------------------- */

static int64_t true_time(sim *s, const pith_step *step) {
    double ns = (double)s->opts->speed.fixed_ns + s->opts->speed.token_ns * (double)step->n_tok;
    uint64_t noise = 90 + below(s, 21); /* percent */
    return (int64_t)(ns * (double)noise / 100.0) + 1;
}

/* One window is always allowed; more must fit the time as it is known to the scheduler. */
static void check_step(sim *s, const pith_step *step) {
    pith_scheduler_view view;
    pith_scheduler_look(s->scheduler, &view);
    if (step->n_seq == 0 || step->n_tok > s->opts->limits.step_tokens) {
        complain(s, "a step over the limit of tokens", s->n_steps);
    }
    if (step->aside && step->n_tok > s->opts->aside_tokens) {
        complain(s, "a step in front of another over its limit of tokens", s->n_steps);
    }
    int64_t believed = pith_speed_ns(&s->opts->speed, step->n_tok);
    int64_t claim = s->opts->step_claim_ns > 0 ? s->opts->step_claim_ns : s->opts->limits.step_ns;
    if (step->n_seq > 1 && believed > claim * 5 / 4) {
        complain(s, "a step over the limit of time", s->n_steps);
    }
    s->result->step_max_ns = believed > s->result->step_max_ns ? believed : s->result->step_max_ns;
}

/* Steps end up to a tenth late, and the speed is believed to within as much. */
static void check_held_up(sim *s, const sim_step *inside) {
    double own = (double)pith_speed_ns(&s->opts->speed, inside->step->n_tok);
    double claim = s->opts->aside_claim > 0.0 ? s->opts->aside_claim : 1.0;
    if (!((double)inside->held_up_ns <= claim * own * 1.25)) {
        complain(s, "a step was held up for longer than it takes", s->n_steps);
    }
}

/* A step put in front of another begins when a part of that one is done, and comes back first. */
static void put_inside(sim *s, uint32_t d, pith_step *step) {
    sim_step *inside = s->inside[d];
    int64_t took = true_time(s, step);
    step->begin_ns = s->device_free_ns[d] > s->now ? s->device_free_ns[d] : s->now;
    if (step->aside) {
        int64_t part = (inside[0].step->end_ns - inside[0].step->begin_ns) / ASIDE_PARTS;
        int64_t left = inside[0].ends_ns - s->now;
        step->begin_ns = s->now + (part < left ? part : left);
        inside[1] = inside[0];
        inside[1].ends_ns += took;
        inside[1].held_up_ns += took;
        check_held_up(s, &inside[1]);
        s->result->n_aside++;
        s->device_free_ns[d] += took;
        step->end_ns = step->begin_ns + took;
        inside[0] = (sim_step){.step = step, .ends_ns = step->end_ns};
    } else {
        step->end_ns = step->begin_ns + took;
        s->device_free_ns[d] = step->end_ns;
        inside[s->n_inside[d]] = (sim_step){.step = step, .ends_ns = step->end_ns};
    }
    s->n_inside[d]++;
}

static void start_steps(sim *s) {
    for (pith_step *step = pith_scheduler_cut(s->scheduler, s->now); step != NULL;
         step = pith_scheduler_cut(s->scheduler, s->now)) {
        uint32_t d = step->device;
        check_step(s, step);
        if (s->n_inside[d] == PITH_STEPS_IN_FLIGHT) {
            complain(s, "more steps inside than a device holds", s->n_steps);
            return;
        }
        put_inside(s, d, step);
        step->status = PITH_OK;
        if (s->opts->fault_step > 0 && s->n_steps + 1 >= s->opts->fault_step) {
            step->status = pith_fail(&step->err, PITH_UNAVAILABLE, "the device is lost");
        } else if (below(s, 1000) < s->opts->failure_permille) {
            step->status = pith_fail(&step->err, PITH_INTERNAL, "the device made a mistake");
        }
        memset(step->score, 0, step->n_tok * sizeof *step->score);
        s->n_steps++;
        if (s->n_steps == s->opts->lose_step) {
            s->inside[d][step->aside ? 0 : s->n_inside[d] - 1].ends_ns = INT64_MAX;
        }
        trace(s, "step", d << 16 | step->n_seq, step->n_tok);
    }
}

static void end_steps(sim *s) {
    for (uint32_t d = 0; d < s->opts->n_devices; d++) {
        while (s->n_inside[d] > 0 && s->inside[d][0].ends_ns <= s->now) {
            pith_step *step = s->inside[d][0].step;
            s->inside[d][0] = s->inside[d][1];
            s->n_inside[d]--;
            trace(s, "done", d, (uint64_t)step->status);
            pith_scheduler_done(s->scheduler, step, s->now);
        }
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static void arrive(sim *s) {
    while (s->n_arrived < s->opts->n_jobs && s->jobs[s->n_arrived].arrives_ns <= s->now) {
        sim_job *j = &s->jobs[s->n_arrived++];
        j->arrived = true;
        trace(s, "arrive", (uint64_t)(j - s->jobs), j->job.doc.n_ids);
        pith_scheduler_add(s->scheduler, &j->job, s->now);
    }
}

static int64_t cancel(sim *s) {
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < s->n_arrived; i++) {
        sim_job *j = &s->jobs[i];
        if (j->answers > 0 || j->cancels_ns == INT64_MAX) {
            continue;
        }
        if (j->cancels_ns <= s->now) {
            atomic_store(&j->job.cancelled, true);
        } else if (j->cancels_ns < next) {
            next = j->cancels_ns;
        }
    }
    return next;
}

/* What age promises: nobody waits for a turn longer than the age bound and two steps for each job
 * that was there. Steps end up to a tenth late, and the speed is believed to within as much. */
static void check_ages(sim *s) {
    int64_t step = s->opts->limits.step_ns;
    int64_t one = pith_speed_ns(&s->opts->speed, WINDOW_TOKENS_MAX);
    step = (step > one ? step : one) * 5 / 4;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_arrived; i++) {
        n += s->jobs[i].job.plan.queued;
    }
    s->result->queued_max = n > s->result->queued_max ? n : s->result->queued_max;
    int64_t age = s->opts->age_claim_ns > 0 ? s->opts->age_claim_ns : s->opts->limits.age_ns;
    age = age > PITH_PLAN_AGE_STEPS * one * 5 / 4 ? age : PITH_PLAN_AGE_STEPS * one * 5 / 4;
    int64_t bound = age + (int64_t)(s->result->queued_max + 2) * 2 * step;
    for (uint32_t i = 0; i < s->n_arrived; i++) {
        const pith_plan_job *plan = &s->jobs[i].job.plan;
        if (plan->queued && s->now - plan->turn_ns > bound) {
            complain(s, "a job waited for its turn beyond the bound", i);
        }
    }
}

static int64_t next_event(sim *s, int64_t cancel_ns) {
    int64_t at = pith_scheduler_next(s->scheduler, s->now);
    at = at <= s->now ? s->now + 1 : at;
    at = cancel_ns < at ? cancel_ns : at;
    if (s->n_arrived < s->opts->n_jobs && s->jobs[s->n_arrived].arrives_ns < at) {
        at = s->jobs[s->n_arrived].arrives_ns;
    }
    for (uint32_t d = 0; d < s->opts->n_devices; d++) {
        if (s->n_inside[d] > 0 && s->inside[d][0].ends_ns < at) {
            at = s->inside[d][0].ends_ns;
        }
    }
    return at;
}

static void run(sim *s) {
    while (s->result->n_broken == 0) {
        arrive(s);
        int64_t cancel_ns = cancel(s);
        end_steps(s);
        pith_scheduler_sweep(
            s->scheduler, pith_scheduler_lost(s->scheduler) ? PITH_UNAVAILABLE : PITH_OK, s->now);
        start_steps(s);
        check_ages(s);
        if (s->n_arrived == s->opts->n_jobs && pith_scheduler_idle(s->scheduler)) {
            return;
        }
        int64_t at = next_event(s, cancel_ns);
        if (at == INT64_MAX) { /* a lost step, or jobs that no step would take */
            complain(s, "jobs inside and nothing will happen", s->n_arrived);
        }
        s->now = at;
    }
}

static bool set_up(sim *s) {
    const pith_sim_opts *o = s->opts;
    pith_speed speeds[PITH_MODELS_MAX];
    bool told = o->calibrated.fixed_ns > 0 || o->calibrated.token_ns > 0.0;
    for (uint32_t i = 0; i < o->n_models; i++) {
        speeds[i] = told ? o->calibrated : o->speed;
    }
    pith_scheduler_opts opts = {.n_devices = o->n_devices,
                                .n_models = o->n_models,
                                .speeds = speeds,
                                .window_tokens = WINDOW_TOKENS_MAX,
                                .ahead_ns = o->ahead_ns,
                                .aside_tokens = o->aside_tokens,
                                .limits = o->limits};
    s->jobs = calloc(o->n_jobs, sizeof *s->jobs);
    if (s->jobs == NULL || pith_scheduler_open(&s->scheduler, &opts, NULL) != PITH_OK) {
        return false;
    }
    pith_scheduler_listener listener = {.began = began, .settled = settled, .user = s};
    pith_scheduler_listen(s->scheduler, &listener);
    int64_t at = 0;
    for (uint32_t i = 0; i < o->n_jobs; i++) {
        at += o->even ? o->arrival_ns : (int64_t)below(s, 2 * (uint64_t)o->arrival_ns + 1);
        if (!make_job(s, i, at)) {
            return false;
        }
    }
    return true;
}

static void tear_down(sim *s) {
    for (uint32_t i = 0; s->jobs != NULL && i < s->opts->n_jobs; i++) {
        free(s->jobs[i].job.doc.windows);
        free(s->jobs[i].job.doc.ids);
        free(s->jobs[i].job.doc.id_units);
    }
    pith_scheduler_close(s->scheduler);
    free(s->jobs);
}

void pith_sim_run(const pith_sim_opts *opts, pith_sim_result *result) {
    *result = (pith_sim_result){.trace = UINT64_C(14695981039346656037)};
    sim s = {.opts = opts, .result = result, .random = opts->seed};
    if (!set_up(&s)) {
        complain(&s, "no memory", 0);
    } else {
        run(&s);
        pith_scheduler_view view;
        pith_scheduler_look(s.scheduler, &view);
        result->learned = view.speed;
        for (uint32_t i = 0; i < opts->n_jobs; i++) {
            if (result->n_broken == 0 && s.jobs[i].answers != 1) {
                complain(&s, "not answered exactly once", i);
            }
        }
    }
    result->n_steps = s.n_steps;
    result->ends_ns = s.now;
    tear_down(&s);
}
