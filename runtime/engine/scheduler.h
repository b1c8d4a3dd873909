/* The scheduler without its thread: jobs with windows go in, steps come out, scores go back, and
 * each job leaves exactly once through `settled`.
 *
 * Owns the steps' memory, allocated at open. No thread and no clock of its own: the engine thread
 * drives it, and so does the simulator (tests/sim). One thread at a time. */
#ifndef PITH_ENGINE_SCHEDULER_H
#define PITH_ENGINE_SCHEDULER_H

#include "runtime/backend/device.h"
#include "runtime/engine/job.h"
#include "runtime/engine/plan.h"
#include "runtime/engine/runner.h"

typedef struct pith_scheduler pith_scheduler;

typedef struct pith_scheduler_opts {
    uint32_t n_devices;
    uint32_t n_models;
    const pith_speed *speeds; /* [n_models] as calibrated; followed from then on */
    uint32_t window_tokens;   /* the longest window that can come */
    int64_t ahead_ns;         /* see pith_plan_device */
    uint32_t aside_tokens;    /* likewise */
    pith_plan_limits limits;
} pith_scheduler_opts;

PITH_MUST_USE pith_status pith_scheduler_open(pith_scheduler **scheduler,
                                              const pith_scheduler_opts *opts, pith_err *err);
/* No job may be inside. */
void pith_scheduler_close(pith_scheduler *scheduler);

/* What the driver hears of jobs; set before the first is added. */
typedef struct pith_scheduler_listener {
    void (*began)(void *user, pith_job *job); /* its first window was given to a step */
    /* It has nothing left here: what its reply must say is in it. */
    void (*settled)(void *user, pith_job *job, int64_t now_ns);
    void *user;
} pith_scheduler_listener;

void pith_scheduler_listen(pith_scheduler *s, const pith_scheduler_listener *listener);

/* Takes a job with at least one window. */
void pith_scheduler_add(pith_scheduler *s, pith_job *job, int64_t now_ns);

/* Ends jobs that were cancelled, or whose next window would come too late: what is inside a device
 * comes back first. `stop` other than PITH_OK ends every job with that status. */
void pith_scheduler_sweep(pith_scheduler *s, pith_status stop, int64_t now_ns);

/* The next step, for step->device, or NULL. It must come back through done. */
pith_step *pith_scheduler_cut(pith_scheduler *s, int64_t now_ns);

/* A step came back, or (status set) was never taken. Its memory is free for the next. With
 * PITH_UNAVAILABLE its device is lost for good. */
void pith_scheduler_done(pith_scheduler *s, pith_step *step, int64_t now_ns);

/* When to look again although nothing came back or in; INT64_MAX: not before something does. */
int64_t pith_scheduler_next(const pith_scheduler *s, int64_t now_ns);

bool pith_scheduler_idle(const pith_scheduler *s); /* no job inside */
bool pith_scheduler_lost(const pith_scheduler *s); /* a device is */

/* What the outside sees. */
typedef struct pith_scheduler_view {
    uint64_t work_ps[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS]; /* of queued windows */
    pith_speed speed;                                         /* the first model's */
    uint32_t budget;                                          /* its tokens of a step */
    uint32_t steps_running;
    int64_t oldest_step_ns;  /* when the oldest step inside was cut; 0: none */
    int64_t longest_step_ns; /* predicted, of any model */
} pith_scheduler_view;

void pith_scheduler_look(const pith_scheduler *s, pith_scheduler_view *view);

#endif
