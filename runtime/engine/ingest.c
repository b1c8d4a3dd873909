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

static void ingest(pith_engine *engine, pith_job *job, pith_token_list *list) {
    job->ingest_begin_ns = pith_clock_now(&engine->clock);
    pith_status status = pith_job_check(job, job->ingest_begin_ns);
    if (status != PITH_OK) {
        pith_job_fail(job, status, NULL);
    } else {
        status = prepare(engine, job, list);
        if (status != PITH_OK) {
            pith_err err = job->err;
            pith_job_fail(job, status, &err);
        }
    }
    job->ingest_end_ns = pith_clock_now(&engine->clock);
    atomic_store_explicit(&job->progress_total, job->doc.n_windows, memory_order_relaxed);
    bool scored = job->status == PITH_OK && !job->result_ready && job->doc.n_windows > 0;
    (void)pith_queue_push(scored ? engine->ready : engine->finish, job);
}

void *pith_ingest_main(void *arg) {
    pith_engine *engine = arg;
    pith_token_list list = {0};
    for (;;) {
        pith_job *job = pith_queue_pop(engine->ingest, INT64_MAX);
        if (job == NULL) {
            break;
        }
        ingest(engine, job, &list);
    }
    pith_token_list_free(&list);
    return NULL;
}
