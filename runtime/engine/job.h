/* A job: one text on its way through the engine. Read this file first.
 *
 *   submit -> ingest queue -> ingest thread: document (units, tokens, windows)
 *          -> ready queue  -> engine thread: windows into steps, scores out of steps
 *          -> finish queue -> finish thread: decide, join, reply callback
 *
 * A job moves right and never left. The stage that popped it owns everything in it but `cancelled`,
 * `refs` and the progress counts, which any thread may touch. Two references: the engine's (dropped
 * after the reply) and the submitter's handle. */
#ifndef PITH_ENGINE_JOB_H
#define PITH_ENGINE_JOB_H

#include "runtime/engine/engine.h"
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

    uint32_t windows_cut;  /* engine thread: windows given to steps so far */
    uint32_t windows_done; /* windows whose scores are in */
    bool listed;           /* engine thread: in the list of its class */
    struct pith_job *next; /* engine thread: the one behind it there */

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

void pith_job_ref(pith_job *job);

#endif
