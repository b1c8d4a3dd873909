/* Finish: scores to text, and the one reply that every accepted job gets. */
#include "runtime/engine/internal.h"

static void decide(pith_engine *engine, pith_job *job, pith_token_list *list) {
    const pith_model *model = engine->models[job->model];
    pith_status status = pith_compress_finish(&job->settings->decide[job->model], &job->request,
                                              &job->doc, model->tokenizer, job->unit_scores, list,
                                              &job->arena, &job->result, &job->err);
    if (status == PITH_CANCELLED || status == PITH_DEADLINE || status == PITH_UNAVAILABLE) {
        pith_job_fail(job, status, NULL);
    } else if (status != PITH_OK) {
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

void pith_finish_push(pith_engine *engine, pith_job *job) {
    bool work = job->status == PITH_OK && !job->result_ready && pith_text_is_long(job);
    pith_job_move(job, PITH_STAGE_FINISH);
    (void)pith_queue_push(engine->lanes[work ? PITH_LANE_FINISH_LONG : PITH_LANE_FINISH].queue,
                          job);
}

void pith_finish_job(pith_engine *engine, pith_job *job, pith_token_list *list) {
    int64_t begin = pith_clock_now(&engine->clock);
    pith_status why = pith_engine_check_job(engine, job, begin);
    if (why != PITH_OK) {
        pith_job_fail(job, why, NULL);
    }
    bool decided = job->status == PITH_OK && !job->result_ready;
    if (decided) {
        decide(engine, job, list);
        pith_token_list_trim(list);
    }
    int64_t now = pith_clock_now(&engine->clock);
    if (decided) {
        pith_admission_saw_finish(engine, now - begin);
    }
    pith_reply reply = {
        .status = job->status,
        .error = job->status == PITH_OK ? NULL : job->err.text,
        .error_field = job->err_field,
        .result = job->status == PITH_OK ? &job->result : NULL,
        .model = &job->settings->infos[job->model],
        .timing = timing(job, begin, now),
        .retry_after_ns = job->status == PITH_UNAVAILABLE ? PITH_RETRY_NS_MIN : 0,
        .partial = job->status == PITH_OK && job->doc.cut_short,
    };
    /* Whoever has its answer finds it counted. */
    pith_counters_answered(&engine->counters, &reply, job->request.text_len);
    job->opts.reply(job->opts.user, &reply);
    pith_admission_over(engine, job);
    pith_job_release(job);
}
