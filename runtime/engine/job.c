#include "runtime/engine/internal.h"

#include <stdlib.h>

pith_status pith_job_check(const pith_job *job, int64_t now_ns) {
    if (atomic_load_explicit(&job->cancelled, memory_order_relaxed)) {
        return PITH_CANCELLED;
    }
    return now_ns >= job->opts.deadline_ns ? PITH_DEADLINE : PITH_OK;
}

void pith_job_fail(pith_job *job, pith_status status, const pith_err *err) {
    if (job->status != PITH_OK) {
        return;
    }
    job->status = status;
    if (err != NULL) {
        job->err = *err;
    } else if (status == PITH_CANCELLED) {
        (void)pith_fail(&job->err, status, "the client cancelled the call");
    } else if (status == PITH_DEADLINE) {
        (void)pith_fail(&job->err, status, "the deadline passed before the text was scored");
    } else if (status == PITH_UNAVAILABLE) {
        (void)pith_fail(&job->err, status, "the device is lost");
    } else {
        (void)pith_fail(&job->err, status, "%s", pith_status_name(status));
    }
}

void pith_job_move(pith_job *job, pith_stage stage) {
    pith_counters *counters = &job->engine->counters;
    pith_uncount(&counters->in_stage[job->stage], 1);
    pith_count(&counters->in_stage[stage], 1);
    job->stage = stage;
}

void pith_job_ref(pith_job *job) {
    (void)atomic_fetch_add_explicit(&job->refs, 1, memory_order_relaxed);
}

void pith_job_progress(const pith_job *job, uint32_t *done, uint32_t *total) {
    *total = atomic_load_explicit(&job->progress_total, memory_order_relaxed);
    *done = atomic_load_explicit(&job->progress_done, memory_order_relaxed);
}

void pith_job_cancel(pith_job *job) {
    if (!atomic_exchange(&job->cancelled, true)) {
        pith_count(&job->engine->cancels, 1);
    }
}

void pith_job_release(pith_job *job) {
    if (job == NULL) {
        return;
    }
    if (atomic_fetch_sub_explicit(&job->refs, 1, memory_order_acq_rel) == 1) {
        pith_arena_reset(&job->arena);
        free(job);
    }
}
