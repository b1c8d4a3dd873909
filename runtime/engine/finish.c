/* Finish: scores to text, and the one reply that every accepted job gets. */
#include "runtime/engine/internal.h"

static void decide(pith_engine *engine, pith_job *job, pith_token_list *list) {
    const pith_model *model = engine->models[job->model];
    pith_status status = pith_compress_finish(&job->settings->decide[job->model], &job->request,
                                              &job->doc, model->tokenizer, job->unit_scores, list,
                                              &job->arena, &job->result, &job->err);
    if (status != PITH_OK) {
        pith_err err = job->err;
        pith_job_fail(job, status, &err);
    }
}

static pith_timing timing(const pith_job *job, int64_t finish_begin, int64_t now) {
    pith_timing t = {
        .queue_ns = job->ingest_begin_ns - job->accepted_ns,
        .tokenize_ns = job->ingest_end_ns - job->ingest_begin_ns,
        .finish_ns = now - finish_begin,
        .total_ns = now - job->accepted_ns,
        .n_windows = job->doc.n_windows,
    };
    if (job->model_begin_ns > 0) {
        t.queue_ns += job->model_begin_ns - job->ingest_end_ns;
        t.model_ns = job->model_end_ns - job->model_begin_ns;
    }
    return t;
}

static void finish(pith_engine *engine, pith_job *job, pith_token_list *list) {
    int64_t begin = pith_clock_now(&engine->clock);
    pith_status why = pith_job_check(job, begin);
    if (why == PITH_OK && atomic_load(&engine->aborting)) {
        why = PITH_CANCELLED;
    }
    if (why != PITH_OK) {
        pith_job_fail(job, why, NULL);
    }
    if (job->status == PITH_OK && !job->result_ready) {
        decide(engine, job, list);
    }
    int64_t now = pith_clock_now(&engine->clock);
    pith_reply reply = {
        .status = job->status,
        .error = job->status == PITH_OK ? NULL : job->err.text,
        .error_field = job->err_field,
        .result = job->status == PITH_OK ? &job->result : NULL,
        .model = &job->settings->infos[job->model],
        .timing = timing(job, begin, now),
    };
    job->opts.reply(job->opts.user, &reply);
    (void)atomic_fetch_sub(&engine->bytes_in_flight, job->request.text_len);
    pith_counters_answered(&engine->counters, &reply, job->request.text_len);
    (void)atomic_fetch_sub(&engine->jobs_in_flight, 1);
    pith_job_release(job);
}

void *pith_finish_main(void *arg) {
    pith_engine *engine = arg;
    pith_token_list list = {0};
    for (;;) {
        pith_job *job = pith_queue_pop(engine->finish, INT64_MAX);
        if (job == NULL) {
            break;
        }
        finish(engine, job, &list);
    }
    pith_token_list_free(&list);
    return NULL;
}
