/* Runs the scheduler in simulated time and checks what it promises at every event:
 *
 *   - every job is answered exactly once, with a status that something justifies;
 *   - OK means that every window was scored, or that a deadline cut the text short and says so;
 *   - a step is within its tokens, and within its time unless it is one window;
 *   - nobody waits for a turn beyond the age bound and two steps for every job that was queued;
 *   - a step is held up by such as are put in front of it no longer than it takes itself;
 *   - a device is never given more steps than it holds; the simulation never runs dry.
 *
 * One seed, one trace. */
#ifndef PITH_TESTS_SIM_ENGINE_SIM_H
#define PITH_TESTS_SIM_ENGINE_SIM_H

#include "runtime/engine/plan.h"

typedef struct pith_sim_opts {
    uint64_t seed;
    uint32_t n_jobs;
    uint32_t n_devices;
    uint32_t n_models;
    pith_speed speed;      /* of every device and model, to within a tenth */
    pith_speed calibrated; /* what the scheduler is told of it; all zero: the truth */
    int64_t ahead_ns;
    uint32_t aside_tokens; /* the devices leave a step at each sixth of it for one in front */
    pith_plan_limits limits;
    int64_t arrival_ns;    /* mean time between arrivals */
    bool even;             /* exactly that */
    uint32_t fixed_tokens; /* of every text; 0: mixed lengths up to tokens_max */
    uint32_t tokens_max;
    uint32_t giant_tokens; /* of the first text, which comes at once; 0: as the others */
    bool mixed_priorities;
    uint32_t cancel_permille;
    int64_t cancel_within_ns;
    uint32_t deadline_permille;
    int64_t deadline_within_ns;
    uint32_t failure_permille; /* steps that fail alone */
    uint64_t fault_step;       /* the device is lost at this step; 0: never */
    bool print;                /* the trace, to stdout */
    /* To see the checks fail. */
    uint64_t lose_step;    /* this step never comes back; 0: every one does */
    int64_t age_claim_ns;  /* checked instead of limits.age_ns; 0: that */
    int64_t step_claim_ns; /* checked instead of limits.step_ns; 0: that */
    double aside_claim;    /* of a step's time it is held up at most; 0: once */
} pith_sim_opts;

typedef struct pith_sim_result {
    uint64_t trace; /* hash */
    uint32_t n_broken;
    char broken[160]; /* the first promise that was */
    uint64_t answers[PITH_STATUS_COUNT];
    uint64_t partial;
    uint64_t n_steps;
    uint64_t n_aside; /* of them put in front of another */
    int64_t ends_ns;
    int64_t step_max_ns;
    int64_t waited_max_ns[PITH_PRIORITY_COUNT]; /* arrival until the first window's step */
    int64_t giant_ns;                           /* the first text's arrival until its answer */
    int64_t took_max_ns;                        /* the others' */
    int64_t took_sum_ns;
    uint32_t queued_max;
    pith_speed learned; /* what the scheduler takes the first device for in the end */
} pith_sim_result;

void pith_sim_run(const pith_sim_opts *opts, pith_sim_result *result);

#endif
