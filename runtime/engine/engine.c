#include "runtime/engine/internal.h"

#include "runtime/engine/model_runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        .gpu_kernels = opts->gpu_kernels,
    };
    pith_status status = pith_devices_open(engine->devices, &engine->n_devices, &device, err);
    if (opts->step_tokens_max == 0 && engine->devices[0].step_tokens > 0) {
        engine->step_tokens_cap = engine->devices[0].step_tokens;
    }
    for (size_t i = 0; status == PITH_OK && i < opts->n_models; i++) {
        status = pith_model_open(&engine->models[i], &opts->models[i], engine->devices,
                                 engine->n_devices, engine->step_tokens_cap, &engine->note, err);
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

/* Settings that were had before and give the same bytes; NULL: none. */
static pith_settings *find_alike(pith_settings *all, const pith_settings *wanted) {
    while (all != NULL &&
           memcmp(all->fingerprints, wanted->fingerprints, sizeof wanted->fingerprints) != 0) {
        all = all->older;
    }
    return all;
}

static pith_status make_settings(pith_engine *engine, const char *patterns, bool reread,
                                 pith_err *err) {
    pith_settings_opts opts = {
        .models = engine->models,
        .n_models = engine->n_models,
        .device = &engine->devices[0],
        .patterns = patterns,
        .fold_after = engine->fold_after,
        .reread = reread,
    };
    pith_settings *made;
    pith_status status = pith_settings_open(&made, &opts, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_settings *alike = find_alike(engine->all_settings, made);
    if (alike != NULL) {
        pith_settings_close(made);
        atomic_store(&engine->settings, alike);
        return PITH_OK;
    }
    if (engine->n_settings == PITH_SETTINGS_MAX) {
        pith_settings_close(made);
        return pith_fail(err, PITH_EXHAUSTED, "%d different settings, which is all a process has",
                         PITH_SETTINGS_MAX);
    }
    made->older = engine->all_settings;
    engine->all_settings = made;
    engine->n_settings++;
    atomic_store(&engine->settings, made);
    return PITH_OK;
}

pith_status pith_engine_reload(pith_engine *engine, const char *critical_config, pith_err *err) {
    (void)pthread_mutex_lock(&engine->reload_mutex);
    pith_status status = make_settings(engine, critical_config, true, err);
    (void)pthread_mutex_unlock(&engine->reload_mutex);
    return status;
}

/* A runner of the caller's has a speed that nobody knows yet: a microsecond per token is a fast
 * GPU's, and the scheduler follows what it sees. */
static pith_status open_runner(pith_engine *engine, const pith_engine_opts *opts, pith_err *err) {
    if (opts->runner != NULL) {
        engine->runner = *opts->runner;
        for (size_t i = 0; i < engine->n_models; i++) {
            engine->speeds[i] = (pith_speed){.token_ns = 1000.0};
        }
        return PITH_OK;
    }
    for (size_t i = 0; i < engine->n_models; i++) {
        pith_status status = pith_model_calibrate(engine->models[i], &engine->clock,
                                                  engine->step_tokens_cap, &engine->speeds[i], err);
        if (status != PITH_OK) {
            return status;
        }
    }
    pith_status status = pith_model_runner_open(&engine->runner, engine->models, engine->n_models,
                                                engine->n_devices, &engine->clock, err);
    engine->runner.ahead_ns =
        strncmp(engine->devices[0].device, "cuda", 4) == 0 ? PITH_AHEAD_NS : 0;
    return status;
}

static uint32_t longest_window(const pith_engine *engine) {
    uint32_t longest = PITH_KOMPRESS_WINDOW_TOKENS;
    for (size_t i = 0; i < engine->n_models; i++) {
        uint32_t window = engine->models[i]->config.window_tokens;
        longest = window > longest ? window : longest;
    }
    return longest < engine->step_tokens_cap ? longest : engine->step_tokens_cap;
}

static pith_status open_scheduler(pith_engine *engine, pith_err *err) {
    pith_scheduler_opts opts = {
        .n_devices = engine->n_devices,
        .n_models = (uint32_t)engine->n_models,
        .speeds = engine->speeds,
        .window_tokens = longest_window(engine),
        .ahead_ns = engine->runner.ahead_ns,
        .aside_tokens = engine->runner.aside_tokens < engine->step_tokens_cap
                            ? engine->runner.aside_tokens
                            : engine->step_tokens_cap,
        .limits = {.step_ns = engine->step_ns_max,
                   .step_tokens = engine->step_tokens_cap,
                   .age_ns = PITH_AGE_NS},
    };
    pith_status status = pith_scheduler_open(&engine->scheduler, &opts, err);
    if (status == PITH_OK) {
        status = pith_queue_open(&engine->ready, engine->jobs_max, err);
    }
    if (status == PITH_OK) {
        status = pith_lanes_open(engine, err);
    }
    atomic_store(&engine->heartbeat_ns,
                 pith_clock_now(&engine->clock)); /* models took their time */
    if (status == PITH_OK) {
        pith_schedule_init(engine);
    }
    if (status == PITH_OK &&
        pthread_create(&engine->schedule_thread, NULL, pith_schedule_main, engine) != 0) {
        return pith_fail(err, PITH_INTERNAL, "cannot start the engine's thread");
    }
    engine->schedule_started = status == PITH_OK;
    return status;
}

static void set_limits(pith_engine *e, const pith_engine_opts *opts) {
    e->jobs_max = opts->jobs_max > 0 ? opts->jobs_max : PITH_JOBS_MAX_DEFAULT;
    e->text_bytes_max =
        opts->text_bytes_max > 0 ? opts->text_bytes_max : PITH_TEXT_BYTES_MAX_DEFAULT;
    e->bytes_max = opts->bytes_max > 0 ? opts->bytes_max : PITH_TEXTS_MAX * e->text_bytes_max;
    e->tokens_max = opts->tokens_max > 0 ? opts->tokens_max : e->bytes_max / PITH_BYTES_PER_TOKEN;
    e->step_tokens_cap =
        opts->step_tokens_max > 0 ? opts->step_tokens_max : PITH_STEP_TOKENS_DEFAULT;
    e->step_ns_max = opts->step_ns_max > 0 ? opts->step_ns_max : PITH_STEP_NS_DEFAULT;
    e->fold_after = opts->fold_after;
}

pith_status pith_engine_open(pith_engine **engine, const pith_engine_opts *opts, pith_err *err) {
    *engine = NULL;
    pith_engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the engine");
    }
    e->clock = opts->clock != NULL ? *opts->clock : pith_clock_system;
    set_limits(e, opts);
    pith_counters_init(&e->counters);
    atomic_store(&e->heartbeat_ns, pith_clock_now(&e->clock));
    atomic_store(&e->beat_ns, PITH_BEAT_NS);
    (void)pthread_mutex_init(&e->reload_mutex, NULL);
    (void)pthread_mutex_init(&e->seen_mutex, NULL);
    (void)pthread_mutex_init(&e->loop_mutex, NULL);
    pith_turns_init(&e->turns, 1);
    pith_status status = open_models(e, opts, err);
    if (status == PITH_OK) {
        status = make_settings(e, opts->critical_config, false, err);
    }
    if (status == PITH_OK) {
        status = open_runner(e, opts, err);
    }
    if (status == PITH_OK) {
        status = open_scheduler(e, err);
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
    pith_lane_close(&engine->lanes[PITH_LANE_INGEST]);
    pith_lane_close(&engine->lanes[PITH_LANE_INGEST_LONG]);
    if (engine->ready != NULL) {
        pith_queue_shut(engine->ready);
    }
    if (engine->schedule_started) {
        (void)pthread_join(engine->schedule_thread, NULL);
    }
    pith_lane_close(&engine->lanes[PITH_LANE_FINISH]);
    pith_lane_close(&engine->lanes[PITH_LANE_FINISH_LONG]);
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
    pith_scheduler_close(engine->scheduler);
    pith_queue_close(engine->ready);
    for (int i = 0; i < PITH_INLINE_LISTS; i++) {
        pith_token_list_free(&engine->inline_lists[i]);
    }
    pith_token_list_free(&engine->finish_list);
    pith_turns_reset(&engine->turns);
    for (size_t i = 0; i < engine->n_models; i++) {
        pith_model_close(engine->models[i]);
    }
    pith_devices_close(engine->devices, engine->n_devices);
    pith_settings_close(engine->all_settings);
    (void)pthread_mutex_destroy(&engine->loop_mutex);
    (void)pthread_mutex_destroy(&engine->seen_mutex);
    (void)pthread_mutex_destroy(&engine->reload_mutex);
    free(engine);
}

const char *pith_engine_note(const pith_engine *engine) {
    return engine->note.text;
}

size_t pith_engine_models(pith_engine *engine, const pith_model_info **models) {
    *models = atomic_load(&engine->settings)->infos;
    return engine->n_models;
}

_Static_assert((int)PITH_GPUS_MAX == (int)PITH_DEVICES_MAX, "a GPU's figures for each device");

static void read_gpus(const pith_engine *engine, pith_engine_stats *stats) {
    for (uint32_t d = 0; d < engine->n_devices; d++) {
        const pith_device *device = &engine->devices[d];
        if (device->uuid == NULL) {
            continue; /* the CPU */
        }
        pith_gpu_stats *gpu = &stats->gpus[stats->n_gpus++];
        gpu->ordinal = device->ordinal;
        gpu->saturated = device->ops->saturated(device->ctx);
        gpu->kernels_refused = device->kernels_refused;
        (void)snprintf(gpu->uuid, sizeof gpu->uuid, "%s", device->uuid);
    }
}

void pith_engine_read_stats(pith_engine *engine, pith_engine_stats *stats) {
    uint64_t token_ps = atomic_load(&engine->token_ps);
    *stats = (pith_engine_stats){
        .bytes_in_flight = atomic_load(&engine->bytes_in_flight),
        .tokens_in_flight = atomic_load(&engine->tokens_in_flight),
        .jobs_max = engine->jobs_max,
        .bytes_max = engine->bytes_max,
        .tokens_max = engine->tokens_max,
        .step_tokens_max = atomic_load(&engine->step_budget),
        .step_ns_max = (uint64_t)engine->step_ns_max,
        .tokens_per_second = token_ps > 0 ? 1e12 / (double)token_ps : 0.0,
        .heartbeat_ns = atomic_load(&engine->heartbeat_ns),
        .beat_ns = atomic_load(&engine->beat_ns),
        .state = pith_engine_check(engine),
    };
    pith_counters_read(&engine->counters, stats);
    read_gpus(engine, stats);
    stats->in_flight = atomic_load(&engine->jobs_in_flight);
}

pith_engine_state pith_engine_check(pith_engine *engine) {
    if (atomic_load(&engine->faulted)) {
        return PITH_ENGINE_FAULTED;
    }
    int64_t silent = pith_clock_now(&engine->clock) - atomic_load(&engine->heartbeat_ns);
    if (silent > PITH_BEATS_MISSED_MAX * atomic_load(&engine->beat_ns)) {
        return PITH_ENGINE_STALLED;
    }
    return atomic_load(&engine->draining) ? PITH_ENGINE_DRAINING : PITH_ENGINE_SERVING;
}

pith_status pith_engine_check_job(const pith_engine *engine, const pith_job *job, int64_t now_ns) {
    if (atomic_load_explicit(&engine->faulted, memory_order_relaxed)) {
        return PITH_UNAVAILABLE;
    }
    if (atomic_load_explicit(&engine->aborting, memory_order_relaxed)) {
        return PITH_CANCELLED;
    }
    return pith_job_check(job, now_ns);
}
