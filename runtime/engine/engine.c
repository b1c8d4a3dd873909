#include "runtime/engine/internal.h"

#include "runtime/base/utf8.h"
#include "runtime/engine/model_runner.h"
#include "runtime/text/critical.h"

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
    size_t ranges = request->n_keep * sizeof(pith_range);
    pith_job *job = malloc(sizeof *job + ranges + request->text_len + 1);
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
    pith_arena_init(&job->arena,
                    PITH_ARENA_BYTES_MIN + PITH_ARENA_BYTES_PER_TEXT_BYTE * request->text_len);
    return job;
}

/* Counts the job in, or says why there is no room. */
static pith_refused reserve(pith_engine *engine, size_t text_len) {
    if (atomic_fetch_add(&engine->jobs_in_flight, 1) >= engine->jobs_max) {
        (void)atomic_fetch_sub(&engine->jobs_in_flight, 1);
        return PITH_REFUSED_REQUESTS;
    }
    if (atomic_fetch_add(&engine->bytes_in_flight, text_len) + text_len >
        PITH_TEXTS_MAX * engine->text_bytes_max) {
        (void)atomic_fetch_sub(&engine->bytes_in_flight, text_len);
        (void)atomic_fetch_sub(&engine->jobs_in_flight, 1);
        return PITH_REFUSED_BYTES;
    }
    return PITH_REFUSED_NOT;
}

static void unreserve(pith_engine *engine, size_t text_len) {
    (void)atomic_fetch_sub(&engine->bytes_in_flight, text_len);
    (void)atomic_fetch_sub(&engine->jobs_in_flight, 1);
}

static pith_status enqueue(pith_engine *engine, pith_job *job, pith_job **handle, pith_err *err) {
    job->accepted_ns = pith_clock_now(&engine->clock);
    if (handle != NULL) {
        pith_job_ref(job);
        *handle = job;
    }
    pith_count(&engine->counters.accepted, 1);
    if (pith_queue_push(engine->ingest, job)) {
        return PITH_OK;
    }
    pith_uncount(&engine->counters.accepted, 1);
    if (handle != NULL) {
        pith_job_release(job);
        *handle = NULL;
    }
    pith_job_release(job);
    return pith_fail(err, PITH_UNAVAILABLE, "the server is shutting down");
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

static pith_status admit(pith_engine *engine, const pith_compress_request *request,
                         const pith_submit_opts *opts, pith_job **job, pith_refusal *refusal,
                         pith_err *err) {
    if (atomic_load(&engine->draining)) {
        refusal->reason = PITH_REFUSED_DRAINING;
        refusal->retry_after_ns = PITH_RETRY_NS;
        return pith_fail(err, PITH_UNAVAILABLE, "the server is draining");
    }
    uint32_t model = 0;
    pith_status status = check_all(engine, request, opts, &model, refusal, err);
    if (status != PITH_OK) {
        return status;
    }
    refusal->field = NULL;
    refusal->reason = reserve(engine, request->text_len);
    if (refusal->reason != PITH_REFUSED_NOT) {
        refusal->retry_after_ns = PITH_RETRY_NS;
        return pith_fail(err, PITH_EXHAUSTED, "the queue is full: %u jobs, %zu bytes in flight",
                         atomic_load(&engine->jobs_in_flight),
                         atomic_load(&engine->bytes_in_flight));
    }
    pith_job *made = job_new(engine, request, opts, model);
    if (made == NULL) {
        unreserve(engine, request->text_len);
        refusal->reason = PITH_REFUSED_MEMORY;
        return pith_fail(err, PITH_NO_MEMORY, "no memory for a text of %zu bytes",
                         request->text_len);
    }
    status = enqueue(engine, made, job, err);
    if (status != PITH_OK) {
        unreserve(engine, request->text_len);
        refusal->reason = PITH_REFUSED_DRAINING;
    }
    return status;
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
    pith_status status = admit(engine, request, opts, job, refusal, err);
    if (status != PITH_OK) {
        pith_count(&engine->counters.rejected, 1);
        pith_count(&engine->counters.refusals[refusal->reason], 1);
    }
    return status;
}

static pith_status open_models(pith_engine *engine, const pith_engine_opts *opts, pith_err *err) {
    if (opts->n_models == 0 || opts->n_models > PITH_MODELS_MAX) {
        return pith_fail(err, PITH_INVALID, "%zu models, expected 1 to %d", opts->n_models,
                         PITH_MODELS_MAX);
    }
    pith_device_opts device = {
        .device = opts->device,
        .dtype = opts->dtype,
        .isa = opts->isa,
        .n_threads = opts->n_threads,
    };
    pith_status status = pith_device_open(&engine->device, &device, err);
    for (size_t i = 0; status == PITH_OK && i < opts->n_models; i++) {
        status = pith_model_open(&engine->models[i], &opts->models[i], &engine->device,
                                 engine->step_tokens_cap, err);
        if (status != PITH_OK) {
            break;
        }
        engine->n_models++;
        for (size_t k = 0; k < i; k++) {
            if (strcmp(engine->models[k]->name, engine->models[i]->name) == 0) {
                status = pith_fail(err, PITH_INVALID, "two models are named \"%s\"",
                                   engine->models[i]->name);
            }
        }
    }
    return status;
}

static pith_status make_settings(pith_engine *engine, const char *patterns, bool reread,
                                 pith_err *err) {
    pith_settings_opts opts = {
        .models = engine->models,
        .n_models = engine->n_models,
        .device = &engine->device,
        .patterns = patterns,
        .fold_after = engine->fold_after,
        .reread = reread,
    };
    pith_settings *made;
    pith_status status = pith_settings_open(&made, &opts, err);
    if (status == PITH_OK) {
        made->older = atomic_load(&engine->settings);
        engine->n_settings++;
        atomic_store(&engine->settings, made);
    }
    return status;
}

pith_status pith_engine_reload(pith_engine *engine, const char *critical_config, pith_err *err) {
    (void)pthread_mutex_lock(&engine->reload_mutex);
    pith_status status =
        engine->n_settings < PITH_SETTINGS_MAX
            ? make_settings(engine, critical_config, true, err)
            : pith_fail(err, PITH_EXHAUSTED, "reloaded %d times, which is all a process can",
                        PITH_SETTINGS_MAX - 1);
    (void)pthread_mutex_unlock(&engine->reload_mutex);
    return status;
}

static pith_status open_queues(pith_engine *engine, pith_err *err) {
    pith_queue **queues[] = {&engine->ingest, &engine->ready, &engine->finish};
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        pith_status status = pith_queue_open(queues[i], engine->jobs_max, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

static pith_status start_threads(pith_engine *engine, pith_err *err) {
    bool ok = true;
    for (; ok && engine->n_ingest_threads < PITH_INGEST_THREADS; engine->n_ingest_threads += ok) {
        ok = pthread_create(&engine->ingest_threads[engine->n_ingest_threads], NULL,
                            pith_ingest_main, engine) == 0;
    }
    for (; ok && engine->n_finish_threads < PITH_FINISH_THREADS; engine->n_finish_threads += ok) {
        ok = pthread_create(&engine->finish_threads[engine->n_finish_threads], NULL,
                            pith_finish_main, engine) == 0;
    }
    if (ok) {
        ok = pthread_create(&engine->schedule_thread, NULL, pith_schedule_main, engine) == 0;
        engine->schedule_started = ok;
    }
    return ok ? PITH_OK : pith_fail(err, PITH_INTERNAL, "cannot start the engine's threads");
}

pith_status pith_engine_open(pith_engine **engine, const pith_engine_opts *opts, pith_err *err) {
    *engine = NULL;
    pith_engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the engine");
    }
    e->clock = opts->clock != NULL ? *opts->clock : pith_clock_system;
    e->jobs_max = opts->jobs_max > 0 ? opts->jobs_max : PITH_JOBS_MAX_DEFAULT;
    e->text_bytes_max =
        opts->text_bytes_max > 0 ? opts->text_bytes_max : PITH_TEXT_BYTES_MAX_DEFAULT;
    e->step_tokens_cap =
        opts->step_tokens_max > 0 ? opts->step_tokens_max : PITH_STEP_TOKENS_DEFAULT;
    e->step_ns_max = opts->step_ns_max > 0 ? opts->step_ns_max : PITH_STEP_NS_DEFAULT;
    pith_counters_init(&e->counters);
    atomic_store(&e->heartbeat_ns, pith_clock_now(&e->clock));
    e->fold_after = opts->fold_after;
    (void)pthread_mutex_init(&e->reload_mutex, NULL);
    pith_status status = open_models(e, opts, err);
    if (status == PITH_OK) {
        status = make_settings(e, opts->critical_config, false, err);
    }
    if (status == PITH_OK) {
        if (opts->runner != NULL) {
            e->runner = *opts->runner;
        } else {
            status = pith_model_runner_open(&e->runner, e->models, e->n_models, &e->clock, err);
        }
    }
    if (status == PITH_OK) {
        status = open_queues(e, err);
    }
    if (status == PITH_OK) {
        status = start_threads(e, err);
    }
    if (status != PITH_OK) {
        pith_engine_close(e);
        return status;
    }
    *engine = e;
    return PITH_OK;
}

void pith_engine_drain(pith_engine *engine) {
    atomic_store(&engine->draining, true);
}

/* Each stage is shut when the one before it has ended, so no job is lost between two. */
static void join_threads(pith_engine *engine) {
    if (engine->ingest != NULL) {
        pith_queue_shut(engine->ingest);
    }
    for (uint32_t i = 0; i < engine->n_ingest_threads; i++) {
        (void)pthread_join(engine->ingest_threads[i], NULL);
    }
    if (engine->ready != NULL) {
        pith_queue_shut(engine->ready);
    }
    if (engine->schedule_started) {
        (void)pthread_join(engine->schedule_thread, NULL);
    }
    if (engine->finish != NULL) {
        pith_queue_shut(engine->finish);
    }
    for (uint32_t i = 0; i < engine->n_finish_threads; i++) {
        (void)pthread_join(engine->finish_threads[i], NULL);
    }
}

void pith_engine_close(pith_engine *engine) {
    if (engine == NULL) {
        return;
    }
    pith_engine_drain(engine);
    atomic_store(&engine->aborting, true);
    join_threads(engine);
    if (engine->runner.close != NULL) {
        engine->runner.close(engine->runner.self);
    }
    pith_queue_close(engine->ingest);
    pith_queue_close(engine->ready);
    pith_queue_close(engine->finish);
    for (size_t i = 0; i < engine->n_models; i++) {
        pith_model_close(engine->models[i]);
    }
    pith_device_close(&engine->device);
    pith_settings_close(atomic_load(&engine->settings));
    (void)pthread_mutex_destroy(&engine->reload_mutex);
    free(engine);
}

size_t pith_engine_models(pith_engine *engine, const pith_model_info **models) {
    *models = atomic_load(&engine->settings)->infos;
    return engine->n_models;
}

void pith_engine_read_stats(pith_engine *engine, pith_engine_stats *stats) {
    int64_t per_token = atomic_load(&engine->ns_per_token);
    *stats = (pith_engine_stats){
        .in_flight = atomic_load(&engine->jobs_in_flight),
        .bytes_in_flight = atomic_load(&engine->bytes_in_flight),
        .jobs_max = engine->jobs_max,
        .bytes_max = PITH_TEXTS_MAX * engine->text_bytes_max,
        .step_tokens_max = engine->step_tokens_cap,
        .step_ns_max = (uint64_t)engine->step_ns_max,
        .tokens_per_second = per_token > 0 ? 1e9 / (double)per_token : 0.0,
        .heartbeat_ns = atomic_load(&engine->heartbeat_ns),
        .beat_ns = PITH_BEAT_NS,
        .state = pith_engine_check(engine),
    };
    pith_counters_read(&engine->counters, stats);
}

pith_engine_state pith_engine_check(pith_engine *engine) {
    int64_t silent = pith_clock_now(&engine->clock) - atomic_load(&engine->heartbeat_ns);
    if (silent > PITH_BEATS_MISSED_MAX * PITH_BEAT_NS) {
        return PITH_ENGINE_STALLED;
    }
    return atomic_load(&engine->draining) ? PITH_ENGINE_DRAINING : PITH_ENGINE_SERVING;
}

int64_t pith_engine_wait(pith_engine *engine, pith_priority priority, size_t text_len) {
    (void)priority;
    size_t bytes = atomic_load(&engine->bytes_in_flight) + text_len;
    return (int64_t)(bytes / 4) * atomic_load(&engine->ns_per_token);
}
