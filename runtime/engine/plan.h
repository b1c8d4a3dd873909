/* What the next step holds: the scheduler's one decision, as a pure function.
 *
 * The queues own nothing: jobs are linked in place, the caller keeps them alive while queued. No
 * thread, clock or allocation here; the same calls give the same plan. One thread at a time.
 *
 * Order. Classes by priority. Inside a class first the jobs that one step can finish, then longer
 * ones by the power of four that holds their length, each in the order of arrival. What does not
 * fit is passed over by what does. A job that got no window for `age_ns`, and for
 * PITH_PLAN_AGE_STEPS times what its next one takes, is aged: every other step starts with the jobs
 * aged longest, whatever their class and length. So a queued job gets a window within that time and
 * two steps for every job that was aged before it, and one that lives by its age alone has at most
 * a sixteenth of the device.
 *
 * Bounds. A step computes for at most step_ns as predicted, and holds at most step_tokens; one
 * window is always allowed. Long jobs, and aged ones, fill at most half of it, so that a short job
 * that comes while they run waits for half a step. No window is added that would end a chosen one
 * after its job's cut_by_ns.
 *
 * Aside. A device may put a small step in front of the one inside: of jobs not begun that come
 * before every job inside, in no more time than the step inside was given. So a job that lives
 * beside a flood of such has half of the device while it has a step inside. */
#ifndef PITH_ENGINE_PLAN_H
#define PITH_ENGINE_PLAN_H

#include "runtime/engine/stats.h"
#include "runtime/text/document.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PITH_PLAN_BUCKETS = 8,     /* one step, 4, 16, ... 4^6 steps, longer */
    PITH_PLAN_PICKS_MAX = 512, /* jobs in one step */
    PITH_PLAN_AGE_STEPS = 16,
};

/* How long a step of one model takes on one device: fixed + per token. */
typedef struct pith_speed {
    int64_t fixed_ns;
    double token_ns;
} pith_speed;

typedef struct pith_plan_job {
    /* The owner's, before add. */
    pith_priority priority;
    uint32_t model;
    const pith_window *windows; /* [n_windows] */
    uint32_t n_windows;
    int64_t cut_by_ns; /* a window that would end later is not worth starting */
    uint64_t token_ps; /* picoseconds per token, for the work that waits */
    /* The queues'. */
    uint32_t next; /* windows given to steps so far */
    uint32_t bucket;
    bool queued;
    int64_t turn_ns;                 /* added, or last given a window */
    uint64_t tokens_left;            /* of windows not yet given */
    struct pith_plan_job *before[2]; /* in its class, in order of age */
    struct pith_plan_job *after[2];
} pith_plan_job;

typedef struct pith_plan_list {
    pith_plan_job *head;
    pith_plan_job *tail;
} pith_plan_list;

typedef struct pith_queues {
    pith_plan_list classes[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS];
    pith_plan_list aged; /* every job, by turn_ns */
    /* Computation that waits, in picoseconds: exactly what was added goes off again. */
    uint64_t work_ps[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS];
    uint32_t n_jobs;
    bool aged_last; /* the last step began with aged jobs */
} pith_queues;

typedef struct pith_plan_device {
    const pith_speed *speeds; /* by model */
    uint32_t running;         /* steps inside */
    uint32_t running_max;
    int64_t free_ns;       /* when the steps inside are predicted to have ended */
    int64_t ahead_ns;      /* a further step is cut this long before; 0: not before */
    uint32_t aside_tokens; /* of a step in front of the one inside; 0: there is none */
    int64_t aside_ns;      /* what such steps may still take of the time of the one inside */
    uint32_t rank;         /* the lowest pith_plan_rank of the jobs inside */
    bool lost;
} pith_plan_device;

typedef struct pith_plan_limits {
    int64_t step_ns;
    uint32_t step_tokens;
    int64_t age_ns;
} pith_plan_limits;

/* Windows [first, first + n) of a job. */
typedef struct pith_pick {
    pith_plan_job *job;
    uint32_t first;
    uint32_t n;
} pith_pick;

typedef struct pith_plan {
    uint32_t device;
    uint32_t model;
    uint32_t n_seq;
    uint32_t n_tok;
    int64_t ends_ns; /* predicted */
    bool aged;       /* begins with an aged job */
    bool aside;      /* to be put in front of the step inside */
    uint32_t rank;   /* the lowest of its jobs */
    uint32_t n_picks;
    pith_pick picks[PITH_PLAN_PICKS_MAX];
} pith_plan;

/* Tokens of a step that takes `ns`, at most step_tokens; at least 1. */
uint32_t pith_plan_budget(const pith_speed *speed, int64_t ns, uint32_t step_tokens);

/* Predicted time of a step of n_tok. */
int64_t pith_speed_ns(const pith_speed *speed, uint64_t n_tok);

/* Where a job of `tokens` queues when a step holds `budget`. */
uint32_t pith_plan_bucket(uint64_t tokens, uint32_t budget);

/* Where a job stands in the order, by class and bucket; 0 is first. */
uint32_t pith_plan_rank(const pith_plan_job *job);

/* Queues a job with at least one window; `budget` sorts it in. */
void pith_queues_add(pith_queues *queues, pith_plan_job *job, uint32_t budget, int64_t now_ns);
void pith_queues_remove(pith_queues *queues, pith_plan_job *job);

/* Fills `plan`; false when no device takes a step now or no window is worth starting. */
bool pith_plan_step(const pith_queues *queues, const pith_plan_device *devices, uint32_t n_devices,
                    const pith_plan_limits *limits, int64_t now_ns, pith_plan *plan);

/* Takes the planned windows out of the queues; jobs without more windows leave them. */
void pith_queues_take(pith_queues *queues, const pith_plan *plan, int64_t now_ns);

/* Every queued job, the one that waited longest first; NULL at the end. */
pith_plan_job *pith_queues_oldest(const pith_queues *queues);
pith_plan_job *pith_queues_younger(const pith_plan_job *job);

/* Work that goes before a new job of that class and bucket. */
uint64_t pith_plan_before(uint64_t work_ps[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS],
                          pith_priority priority, uint32_t bucket);

#endif
