/* Ingest: from a text to a document with windows, or straight to the reply. */
#include "runtime/engine/internal.h"

/* Words outside every window were never scored (kompress keeps them without inference). */
static pith_status prepare(pith_engine *engine, pith_job *job, pith_token_list *list) {
    const pith_model *model = engine->models[job->model];
    pith_document_opts opts = model->document;
    opts.profile = job->request.profile;
    pith_status status =
        pith_document_prepare(&job->doc, model->tokenizer, &opts, job->request.text,
                              job->request.text_len, list, &job->arena, &job->err);
    if (status != PITH_OK) {
        return status;
    }
    if (job->request.explain && job->doc.n_words > PITH_EXPLAIN_WORDS_MAX) {
        job->err_field = "explain";
        return pith_fail(&job->err, PITH_INVALID, "explain: %u words, at most %d are explained",
                         job->doc.n_words, PITH_EXPLAIN_WORDS_MAX);
    }
    if (pith_compress_trivial(&job->request, &job->doc, &job->result, &job->arena)) {
        job->result_ready = true;
        return PITH_OK;
    }
    job->unit_scores = pith_arena_calloc(&job->arena, job->doc.n_units, sizeof(float));
    if (job->unit_scores == NULL) {
        return pith_fail(&job->err, PITH_EXHAUSTED, "no memory for %u scores", job->doc.n_units);
    }
    return PITH_OK;
}

void pith_ingest_job(pith_engine *engine, pith_job *job, pith_token_list *list) {
    job->ingest_begin_ns = pith_clock_now(&engine->clock);
    pith_status status = pith_engine_check_job(engine, job, job->ingest_begin_ns);
    if (status == PITH_OK) {
        status = prepare(engine, job, list);
        pith_token_list_trim(list);
    }
    if (status == PITH_CANCELLED || status == PITH_DEADLINE || status == PITH_UNAVAILABLE) {
        pith_job_fail(job, status, NULL);
    } else if (status != PITH_OK) {
        pith_err err = job->err;
        pith_job_fail(job, status, &err);
    }
    job->ingest_end_ns = pith_clock_now(&engine->clock);
    atomic_store_explicit(&job->progress_total, job->doc.n_windows, memory_order_relaxed);
    if (job->status == PITH_OK) {
        pith_admission_correct(engine, job);
    }
    if (job->status == PITH_OK && !job->result_ready && job->doc.n_windows > 0) {
        job->plan.cut_by_ns =
            pith_admission_cut_by(engine, job->request.text_len, job->opts.deadline_ns);
        pith_job_move(job, PITH_STAGE_MODEL);
        pith_schedule_job(engine, job, list);
    } else if (!pith_text_is_long(job)) { /* all but the answer is done */
        pith_job_move(job, PITH_STAGE_FINISH);
        pith_finish_job(engine, job, list);
    } else {
        pith_finish_push(engine, job);
    }
}

bool pith_ingest_inline(pith_engine *engine, pith_job *job) {
    for (int i = 0; i < PITH_INLINE_LISTS && job->request.text_len <= PITH_INLINE_BYTES; i++) {
        if (!atomic_flag_test_and_set(&engine->inline_taken[i])) {
            pith_ingest_job(engine, job, &engine->inline_lists[i]);
            atomic_flag_clear(&engine->inline_taken[i]);
            return true;
        }
    }
    return false;
}
