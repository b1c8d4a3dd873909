#include "runtime/engine/internal.h"

#include "runtime/base/utf8.h"
#include "runtime/engine/model_runner.h"
#include "runtime/text/critical.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void blame(const char **field, const char *name) {
    if (field != NULL) {
        *field = name;
    }
}

static pith_status check_budget(const pith_compress_request *request, const char **field,
                                pith_err *err) {
    double v = request->budget_value;
    switch (request->budget) {
    case PITH_BUDGET_DEFAULT:
        return PITH_OK;
    case PITH_BUDGET_THRESHOLD:
        blame(field, "threshold");
        return v >= 0.0 && v <= 1.0
                   ? PITH_OK
                   : pith_fail(err, PITH_INVALID, "threshold: %g is not in [0, 1]", v);
    case PITH_BUDGET_TARGET_RATIO:
        blame(field, "target_ratio");
        return v > 0.0 && v <= 1.0
                   ? PITH_OK
                   : pith_fail(err, PITH_INVALID, "target_ratio: %g is not in (0, 1]", v);
    case PITH_BUDGET_MAX_TOKENS:
        blame(field, "max_tokens");
        return v >= 1.0 && v <= UINT32_MAX && floor(v) == v
                   ? PITH_OK
                   : pith_fail(err, PITH_INVALID, "max_tokens: %g is not a count from 1", v);
    default:
        blame(field, "budget");
        return pith_fail(err, PITH_INVALID, "budget: unknown kind");
    }
}

static pith_status check_text(const pith_engine *engine, const pith_compress_request *request,
                              const char **field, pith_err *err) {
    blame(field, "text");
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

static pith_status check_ranges(const pith_compress_request *request, const char **field,
                                pith_err *err) {
    blame(field, "keep");
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
                                 const pith_submit_opts *opts, const char **field, pith_err *err) {
    if ((unsigned)request->domain >= PITH_DOMAIN_COUNT) {
        blame(field, "domain");
        return pith_fail(err, PITH_INVALID, "domain: unknown value %d", (int)request->domain);
    }
    if (request->profile != PITH_PROFILE_FAITHFUL && request->profile != PITH_PROFILE_KOMPRESS) {
        blame(field, "profile");
        return pith_fail(err, PITH_INVALID, "profile: unknown value %d", (int)request->profile);
    }
    if ((unsigned)opts->priority >= PITH_PRIORITY_COUNT) {
        blame(field, "priority");
        return pith_fail(err, PITH_INVALID, "priority: unknown value %d", (int)opts->priority);
    }
    if (request->fold_repeats && request->profile == PITH_PROFILE_KOMPRESS) {
        blame(field, "fold_repeats");
        return pith_fail(err, PITH_INVALID, "fold_repeats: the kompress profile does not know it");
    }
    pith_status status = check_budget(request, field, err);
    if (status == PITH_OK) {
        status = check_text(engine, request, field, err);
    }
    return status == PITH_OK ? check_ranges(request, field, err) : status;
}

/* kompress shows the model windows of its reference's length, whatever the model's own. */
static pith_status check_profile(const pith_engine *engine, const pith_compress_request *request,
                                 uint32_t model, const char **field, pith_err *err) {
    uint32_t longest = engine->models[model]->config.positions_max;
    longest = longest < engine->step_tokens_cap ? longest : engine->step_tokens_cap;
    if (request->profile != PITH_PROFILE_KOMPRESS || longest >= PITH_KOMPRESS_WINDOW_TOKENS) {
        return PITH_OK;
    }
    blame(field, "profile");
    return pith_fail(err, PITH_INVALID,
                     "profile: kompress wants windows of %d tokens, model \"%s\" has at most %u",
                     PITH_KOMPRESS_WINDOW_TOKENS, engine->infos[model].name, longest);
}

static pith_status find_model(const pith_engine *engine, const char *name, uint32_t *index,
                              const char **field, pith_err *err) {
    if (name == NULL || name[0] == '\0') {
        *index = 0;
        return PITH_OK;
    }
    for (uint32_t i = 0; i < engine->n_models; i++) {
        if (strcmp(engine->infos[i].name, name) == 0) {
            *index = i;
            return PITH_OK;
        }
    }
    blame(field, "model");
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
    job->request = *request;
    job->request.text = text;
    job->request.keep = keep;
    job->opts = *opts;
    job->opts.model = NULL;
    pith_arena_init(&job->arena,
                    PITH_ARENA_BYTES_MIN + PITH_ARENA_BYTES_PER_TEXT_BYTE * request->text_len);
    return job;
}

/* Counts the job in, or says that there is no room. */
static bool reserve(pith_engine *engine, size_t text_len) {
    if (atomic_fetch_add(&engine->jobs_in_flight, 1) >= engine->jobs_max) {
        (void)atomic_fetch_sub(&engine->jobs_in_flight, 1);
        return false;
    }
    if (atomic_fetch_add(&engine->bytes_in_flight, text_len) + text_len >
        PITH_TEXTS_MAX * engine->text_bytes_max) {
        (void)atomic_fetch_sub(&engine->bytes_in_flight, text_len);
        (void)atomic_fetch_sub(&engine->jobs_in_flight, 1);
        return false;
    }
    return true;
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
    (void)atomic_fetch_add(&engine->accepted, 1);
    if (pith_queue_push(engine->ingest, job)) {
        return PITH_OK;
    }
    (void)atomic_fetch_sub(&engine->accepted, 1);
    if (handle != NULL) {
        pith_job_release(job);
        *handle = NULL;
    }
    pith_job_release(job);
    return pith_fail(err, PITH_UNAVAILABLE, "the server is shutting down");
}

pith_status pith_engine_submit(pith_engine *engine, const pith_compress_request *request,
                               const pith_submit_opts *opts, pith_job **job, const char **field,
                               pith_err *err) {
    if (job != NULL) {
        *job = NULL;
    }
    blame(field, NULL);
    if (atomic_load(&engine->draining)) {
        return pith_fail(err, PITH_UNAVAILABLE, "the server is draining");
    }
    uint32_t model = 0;
    pith_status status = check_request(engine, request, opts, field, err);
    if (status == PITH_OK) {
        status = find_model(engine, opts->model, &model, field, err);
    }
    if (status == PITH_OK) {
        status = check_profile(engine, request, model, field, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    if (!reserve(engine, request->text_len)) {
        (void)atomic_fetch_add(&engine->rejected, 1);
        return pith_fail(err, PITH_EXHAUSTED, "the queue is full: %u jobs, %zu bytes in flight",
                         atomic_load(&engine->jobs_in_flight),
                         atomic_load(&engine->bytes_in_flight));
    }
    pith_job *made = job_new(engine, request, opts, model);
    if (made == NULL) {
        unreserve(engine, request->text_len);
        return pith_fail(err, PITH_NO_MEMORY, "no memory for a text of %zu bytes",
                         request->text_len);
    }
    status = enqueue(engine, made, job, err);
    if (status != PITH_OK) {
        unreserve(engine, request->text_len);
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
    pith_model_decisions decisions = {.critical = engine->critical,
                                      .patterns = opts->critical_config,
                                      .fold_after = opts->fold_after};
    pith_status status = pith_device_open(&engine->device, &device, err);
    for (size_t i = 0; status == PITH_OK && i < opts->n_models; i++) {
        status = pith_model_open(&engine->models[i], &opts->models[i], &engine->device, &decisions,
                                 engine->step_tokens_cap, err);
        if (status != PITH_OK) {
            break;
        }
        pith_model_describe(engine->models[i], &engine->device, &engine->infos[i]);
        engine->infos[i].is_default = i == 0;
        engine->n_models++;
        for (size_t k = 0; k < i; k++) {
            if (strcmp(engine->infos[k].name, engine->infos[i].name) == 0) {
                status = pith_fail(err, PITH_INVALID, "two models are named \"%s\"",
                                   engine->infos[i].name);
            }
        }
    }
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
    atomic_store(&e->heartbeat_ns, pith_clock_now(&e->clock));
    pith_status status = pith_critical_open(&e->critical, opts->critical_config, err);
    if (status == PITH_OK) {
        status = open_models(e, opts, err);
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
    pith_critical_close(engine->critical);
    free(engine);
}

size_t pith_engine_models(const pith_engine *engine, const pith_model_info **models) {
    *models = engine->infos;
    return engine->n_models;
}

void pith_engine_read_stats(pith_engine *engine, pith_engine_stats *stats) {
    *stats = (pith_engine_stats){
        .accepted = atomic_load(&engine->accepted),
        .answered = atomic_load(&engine->answered),
        .rejected = atomic_load(&engine->rejected),
        .cancelled = atomic_load(&engine->cancelled),
        .steps = atomic_load(&engine->steps),
        .step_tokens = atomic_load(&engine->step_tokens),
        .passed_through = atomic_load(&engine->passed_through),
        .nonfinite = atomic_load(&engine->nonfinite),
        .in_flight = atomic_load(&engine->jobs_in_flight),
        .heartbeat_ns = atomic_load(&engine->heartbeat_ns),
    };
}
