/* What the files of the engine share: the engine itself, its queues, models and threads. */
#ifndef PITH_ENGINE_INTERNAL_H
#define PITH_ENGINE_INTERNAL_H

#include "runtime/base/queue.h"
#include "runtime/engine/counters.h"
#include "runtime/engine/job.h"
#include "runtime/engine/model.h"
#include "runtime/engine/runner.h"
#include "runtime/engine/settings.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    PITH_INGEST_THREADS = 2, /* one long text must not hold up every other */
    PITH_FINISH_THREADS = 1,
    PITH_JOBS_MAX_DEFAULT = 256,
    /* About 25 KB of activations a token at ModernBERT-base's width: 50 MB. */
    PITH_STEP_TOKENS_DEFAULT = 2048,
    PITH_TEXT_BYTES_MAX_DEFAULT = 16 * 1024 * 1024,
    /* Texts accepted and not yet answered, in texts of the largest size: bounds memory. */
    PITH_TEXTS_MAX = 8,
    /* A job's arena: units, tokens, ids and scores of a text whose every byte is a token and a
     * unit: 20 + 12 + 8 + 4 bytes, the windows' overlap, the explanation, growth by doubling; or
     * whose every second byte ends a line: 36 for the document, 46 to fold it. */
    PITH_ARENA_BYTES_PER_TEXT_BYTE = 192,
    PITH_ARENA_BYTES_MIN = 8 * 1024 * 1024,
};

/* Steps aim at this much computation: a cancel or a deadline is seen at the next step's end. */
#define PITH_STEP_NS_DEFAULT (25 * INT64_C(1000000))
/* An engine thread shows that it lives at least this often. */
#define PITH_BEAT_NS (500 * INT64_C(1000000))
/* What a client is told to wait when nothing better is known. */
#define PITH_RETRY_NS (1000 * INT64_C(1000000))

struct pith_engine {
    pith_clock clock;
    uint32_t jobs_max;
    size_t text_bytes_max;

    pith_model *models[PITH_MODELS_MAX];
    size_t n_models;
    pith_device device;
    pith_runner runner;
    _Atomic(pith_settings *) settings; /* the newest */
    pthread_mutex_t reload_mutex;
    uint32_t n_settings;
    uint32_t fold_after;

    pith_queue *ingest; /* each holds jobs_max, and no more jobs than that are accepted: */
    pith_queue *ready;  /* a push by the engine itself never fails */
    pith_queue *finish;
    pthread_t ingest_threads[PITH_INGEST_THREADS];
    pthread_t finish_threads[PITH_FINISH_THREADS];
    pthread_t schedule_thread;
    uint32_t n_ingest_threads; /* started so far: what close must join */
    uint32_t n_finish_threads;
    bool schedule_started;

    atomic_bool draining;
    atomic_bool aborting; /* every job ends as cancelled */
    atomic_uint jobs_in_flight;
    atomic_size_t bytes_in_flight;
    pith_counters counters;
    atomic_int_fast64_t heartbeat_ns;
    atomic_int_fast64_t ns_per_token; /* smoothed; 0 until the first step */
    uint32_t step_tokens_cap;
    int64_t step_ns_max;
};

/* Thread bodies; the argument is the engine. */
void *pith_ingest_main(void *arg);
void *pith_schedule_main(void *arg);
void *pith_finish_main(void *arg);

#endif
