/* A job: one text on its way through the engine. Read this file first.
 *
 *   submit -> ingest lane: document (units, tokens, windows); short texts at once, in submit
 *          -> ready queue  -> engine thread: windows into steps, scores out of steps; while that
 *                             sleeps with nothing inside, whoever brings the job
 *          -> finish lane: decide, join, reply callback; few short texts where the step was ended
 *
 * A job moves right and never left. The stage that popped it owns everything in it but `cancelled`,
 * `refs` and the progress counts, which any thread may touch. Two references: the engine's (dropped
 * after the reply) and the submitter's handle. */
#ifndef PITH_ENGINE_JOB_H
#define PITH_ENGINE_JOB_H

#include "runtime/engine/engine.h"
#include "runtime/engine/plan.h"
#include "runtime/text/tokenizer.h"

#include <stdatomic.h>

struct pith_job {
    atomic_uint refs;
    atomic_bool cancelled;
    atomic_uint progress_done; /* windows scored, of progress_total: for a progress bar */
    atomic_uint progress_total;
    pith_engine *engine;
    uint32_t model;                       /* index */
    const struct pith_settings *settings; /* as of submit */
    pith_compress_request request;
    pith_submit_opts opts;
    pith_arena arena; /* document, scores, result */

    pith_document doc;  /* written by ingest */
    float *unit_scores; /* [doc.n_units] */

    pith_plan_job plan;    /* engine thread: windows not yet given to steps */
    uint32_t windows_done; /* windows whose scores are in */
    bool began;            /* a window of it was given to a step */

    /* What admission counts for the job. */
    pith_stage stage;
    uint64_t tokens;    /* estimated, then known */
    uint64_t coming_ps; /* estimated work until the engine thread has it; then 0 */
    uint32_t coming_bucket;

    pith_status status; /* what the reply will say; PITH_OK until something fails */
    pith_err err;
    const char *err_field; /* request field at fault, or NULL */
    pith_compress_result result;
    bool result_ready; /* trivial texts are decided by ingest */

    int64_t accepted_ns;
    int64_t ingest_begin_ns;
    int64_t ingest_end_ns;
    int64_t model_begin_ns;
    int64_t model_end_ns;
};

/* Why the job must stop now: PITH_CANCELLED, PITH_DEADLINE or PITH_OK (go on). */
pith_status pith_job_check(const pith_job *job, int64_t now_ns);

/* Records the first failure of a job. */
void pith_job_fail(pith_job *job, pith_status status, const pith_err *err);

/* The job goes on to the next stage: for the gauges. */
void pith_job_move(pith_job *job, pith_stage stage);

void pith_job_ref(pith_job *job);

#endif
