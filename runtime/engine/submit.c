/* Submit: validation, admission, and a job of its own memory. */
#include "runtime/engine/internal.h"

#include "runtime/base/size.h"
#include "runtime/base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void blame(pith_refusal *refusal, const char *name) {
    refusal->field = name;
}

static pith_status check_budget(const pith_compress_request *request, pith_refusal *refusal,
                                pith_err *err) {
    double v = request->budget_value;
    switch (request->budget) {
    case PITH_BUDGET_DEFAULT:
        return PITH_OK;
    case PITH_BUDGET_THRESHOLD:
        blame(refusal, "threshold");
        return v >= 0.0 && v <= 1.0
                   ? PITH_OK
                   : pith_fail(err, PITH_INVALID, "threshold: %g is not in [0, 1]", v);
    case PITH_BUDGET_TARGET_RATIO:
        blame(refusal, "target_ratio");
        return v > 0.0 && v <= 1.0
                   ? PITH_OK
                   : pith_fail(err, PITH_INVALID, "target_ratio: %g is not in (0, 1]", v);
    case PITH_BUDGET_MAX_TOKENS:
        blame(refusal, "max_tokens");
        return v >= 1.0 && v <= UINT32_MAX && floor(v) == v
                   ? PITH_OK
                   : pith_fail(err, PITH_INVALID, "max_tokens: %g is not a count from 1", v);
    default:
        blame(refusal, "budget");
        return pith_fail(err, PITH_INVALID, "budget: unknown kind");
    }
}

static pith_status check_text(const pith_engine *engine, const pith_compress_request *request,
                              pith_refusal *refusal, pith_err *err) {
    blame(refusal, "text");
    if (request->text_len > engine->text_bytes_max) {
        return pith_fail(err, PITH_INVALID, "text: %zu bytes, the limit is %zu", request->text_len,
                         engine->text_bytes_max);
    }
    size_t valid = pith_utf8_valid(request->text, request->text_len);
    if (valid != request->text_len) {
        return pith_fail(err, PITH_INVALID, "text: invalid UTF-8 at byte offset %zu", valid);
    }
    return PITH_OK;
}

static pith_status check_ranges(const pith_compress_request *request, pith_refusal *refusal,
                                pith_err *err) {
    blame(refusal, "keep");
    for (size_t i = 0; i < request->n_keep; i++) {
        pith_range range = request->keep[i];
        if (range.start > range.end || range.end > request->text_len) {
            return pith_fail(err, PITH_INVALID,
                             "keep[%zu]: [%u, %u) is not a range of a text of %zu bytes", i,
                             range.start, range.end, request->text_len);
        }
    }
    return PITH_OK;
}

static pith_status check_request(const pith_engine *engine, const pith_compress_request *request,
                                 const pith_submit_opts *opts, pith_refusal *refusal,
                                 pith_err *err) {
    if ((unsigned)request->domain >= PITH_DOMAIN_COUNT) {
        blame(refusal, "domain");
        return pith_fail(err, PITH_INVALID, "domain: unknown value %d", (int)request->domain);
    }
    if (request->profile != PITH_PROFILE_FAITHFUL && request->profile != PITH_PROFILE_KOMPRESS) {
        blame(refusal, "profile");
        return pith_fail(err, PITH_INVALID, "profile: unknown value %d", (int)request->profile);
    }
    if ((unsigned)opts->priority >= PITH_PRIORITY_COUNT) {
        blame(refusal, "priority");
        return pith_fail(err, PITH_INVALID, "priority: unknown value %d", (int)opts->priority);
    }
    if (request->fold_repeats && request->profile == PITH_PROFILE_KOMPRESS) {
        blame(refusal, "fold_repeats");
        return pith_fail(err, PITH_INVALID, "fold_repeats: the kompress profile does not know it");
    }
    pith_status status = check_budget(request, refusal, err);
    if (status == PITH_OK) {
        status = check_text(engine, request, refusal, err);
    }
    return status == PITH_OK ? check_ranges(request, refusal, err) : status;
}

/* kompress shows the model windows of its reference's length, whatever the model's own. */
static pith_status check_profile(const pith_engine *engine, const pith_compress_request *request,
                                 uint32_t model, pith_refusal *refusal, pith_err *err) {
    uint32_t longest = engine->models[model]->config.positions_max;
    longest = longest < engine->step_tokens_cap ? longest : engine->step_tokens_cap;
    if (request->profile != PITH_PROFILE_KOMPRESS || longest >= PITH_KOMPRESS_WINDOW_TOKENS) {
        return PITH_OK;
    }
    blame(refusal, "profile");
    return pith_fail(err, PITH_INVALID,
                     "profile: kompress wants windows of %d tokens, model \"%s\" has at most %u",
                     PITH_KOMPRESS_WINDOW_TOKENS, engine->models[model]->name, longest);
}

static pith_status find_model(const pith_engine *engine, const char *name, uint32_t *index,
                              pith_refusal *refusal, pith_err *err) {
    if (name == NULL || name[0] == '\0') {
        *index = 0;
        return PITH_OK;
    }
    for (uint32_t i = 0; i < engine->n_models; i++) {
        if (strcmp(engine->models[i]->name, name) == 0) {
            *index = i;
            return PITH_OK;
        }
    }
    blame(refusal, "model");
    return pith_fail(err, PITH_NOT_FOUND, "model: no model named \"%.64s\"", name);
}

/* One allocation holds the job, its text and its keep ranges. */
static pith_job *job_new(pith_engine *engine, const pith_compress_request *request,
                         const pith_submit_opts *opts, uint32_t model) {
    size_t ranges;
    size_t bytes;
    if (!pith_size_mul(request->n_keep, sizeof(pith_range), &ranges) ||
        !pith_size_add(ranges, sizeof(pith_job) + 1, &bytes) ||
        !pith_size_add(bytes, request->text_len, &bytes)) {
        return NULL;
    }
    pith_job *job = malloc(bytes);
    if (job == NULL) {
        return NULL;
    }
    memset(job, 0, sizeof *job);
    pith_range *keep = (pith_range *)(job + 1);
    char *text = (char *)(keep + request->n_keep);
    if (ranges > 0) {
        memcpy(keep, request->keep, ranges);
    }
    if (request->text_len > 0) {
        memcpy(text, request->text, request->text_len);
    }
    text[request->text_len] = '\0';
    atomic_init(&job->refs, 1);
    atomic_init(&job->cancelled, false);
    job->engine = engine;
    job->model = model;
    job->settings = atomic_load(&engine->settings);
    job->request = *request;
    job->request.text = text;
    job->request.keep = keep;
    job->opts = *opts;
    job->opts.model = NULL;
    job->plan.cut_by_ns = PITH_DEADLINE_NONE;
    pith_arena_init(&job->arena,
                    PITH_ARENA_BYTES_MIN + PITH_ARENA_BYTES_PER_TEXT_BYTE * request->text_len);
    return job;
}

static pith_status check_all(const pith_engine *engine, const pith_compress_request *request,
                             const pith_submit_opts *opts, uint32_t *model, pith_refusal *refusal,
                             pith_err *err) {
    pith_status status = check_request(engine, request, opts, refusal, err);
    refusal->reason = status == PITH_OK ? PITH_REFUSED_MODEL : PITH_REFUSED_INVALID;
    if (status == PITH_OK) {
        status = find_model(engine, opts->model, model, refusal, err);
    }
    if (status == PITH_OK) {
        refusal->reason = PITH_REFUSED_INVALID;
        status = check_profile(engine, request, *model, refusal, err);
    }
    return status;
}

static pith_status say_full(pith_engine *engine, const pith_refusal *refusal, pith_err *err) {
    unsigned n = atomic_load(&engine->jobs_in_flight);
    switch (refusal->reason) {
    case PITH_REFUSED_DRAINING:
        return pith_fail(err, PITH_UNAVAILABLE, "the server is draining");
    case PITH_REFUSED_FAULT:
        return pith_fail(err, PITH_UNAVAILABLE, "the device is lost");
    case PITH_REFUSED_DEADLINE:
        return pith_fail(err, PITH_DEADLINE,
                         "the estimated wait of %lld ms is longer than the deadline allows",
                         (long long)(refusal->wait_ns / PITH_MS));
    case PITH_REFUSED_BYTES:
        return pith_fail(err, PITH_EXHAUSTED, "the queue is full: %zu bytes, the limit is %zu",
                         atomic_load(&engine->bytes_in_flight), engine->bytes_max);
    case PITH_REFUSED_TOKENS:
        return pith_fail(err, PITH_EXHAUSTED, "the queue is full: about %llu tokens, of %llu",
                         (unsigned long long)atomic_load(&engine->tokens_in_flight),
                         (unsigned long long)engine->tokens_max);
    default:
        return pith_fail(err, PITH_EXHAUSTED, "the queue is full: %u requests, the limit is %u", n,
                         engine->jobs_max);
    }
}

/* From here on the job is answered, whatever comes. */
static void start(pith_engine *engine, pith_job *job) {
    job->accepted_ns = pith_clock_now(&engine->clock);
    pith_count(&engine->counters.accepted, 1);
    pith_count(&engine->counters.waiting[job->opts.priority], 1);
    pith_count(&engine->counters.in_stage[PITH_STAGE_INGEST], 1);
    pith_admission_expect(engine, job);
    int lane = pith_text_is_long(job) ? PITH_LANE_INGEST_LONG : PITH_LANE_INGEST;
    if (!pith_ingest_inline(engine, job)) {
        (void)pith_queue_push(engine->lanes[lane].queue, job);
    }
}

static pith_status submit(pith_engine *engine, const pith_compress_request *request,
                          const pith_submit_opts *opts, pith_job **handle, pith_refusal *refusal,
                          pith_err *err) {
    uint32_t model = 0;
    pith_status status = check_all(engine, request, opts, &model, refusal, err);
    if (status != PITH_OK) {
        return status;
    }
    refusal->field = NULL;
    refusal->reason = pith_admission_reserve(engine, opts->priority, request->text_len,
                                             opts->deadline_ns, refusal);
    if (refusal->reason != PITH_REFUSED_NOT) {
        return say_full(engine, refusal, err);
    }
    pith_job *job = job_new(engine, request, opts, model);
    if (job == NULL) {
        pith_admission_release(engine, request->text_len);
        refusal->reason = PITH_REFUSED_MEMORY;
        return pith_fail(err, PITH_NO_MEMORY, "no memory for a text of %zu bytes",
                         request->text_len);
    }
    if (handle != NULL) {
        pith_job_ref(job);
        *handle = job;
    }
    start(engine, job);
    return PITH_OK;
}

pith_status pith_engine_submit(pith_engine *engine, const pith_compress_request *request,
                               const pith_submit_opts *opts, pith_job **job, pith_refusal *refusal,
                               pith_err *err) {
    pith_refusal ignored;
    refusal = refusal != NULL ? refusal : &ignored;
    *refusal = (pith_refusal){0};
    if (job != NULL) {
        *job = NULL;
    }
    pith_status status = submit(engine, request, opts, job, refusal, err);
    if (status != PITH_OK) {
        pith_count(&engine->counters.rejected, 1);
        pith_count(&engine->counters.refusals[refusal->reason], 1);
    }
    return status;
}
