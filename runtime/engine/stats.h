/* What the engine says about itself: a snapshot for metrics and for health.
 *
 * Plain data. Counters only grow; gauges are as of the call. Every array has all its members from
 * the start, at zero. Taking a snapshot costs some 300 atomic loads and blocks nobody. */
#ifndef PITH_ENGINE_STATS_H
#define PITH_ENGINE_STATS_H

#include "runtime/base/histogram.h"
#include "runtime/base/status.h"
#include "runtime/decide/compress.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum pith_priority {
    PITH_PRIORITY_NORMAL,
    PITH_PRIORITY_INTERACTIVE, /* before normal work */
    PITH_PRIORITY_BATCH,       /* after normal work */
    PITH_PRIORITY_COUNT
} pith_priority;

/* Where an accepted job is. */
typedef enum pith_stage {
    PITH_STAGE_INGEST, /* waits for its tokens, or gets them */
    PITH_STAGE_MODEL,  /* windows wait, or run */
    PITH_STAGE_FINISH, /* decide, join, reply */
    PITH_STAGE_COUNT
} pith_stage;

/* Why submit took no job. */
typedef enum pith_refused {
    PITH_REFUSED_NOT,      /* it did */
    PITH_REFUSED_INVALID,  /* the request: PITH_INVALID */
    PITH_REFUSED_MODEL,    /* no such model: PITH_NOT_FOUND */
    PITH_REFUSED_REQUESTS, /* limit on jobs: PITH_EXHAUSTED */
    PITH_REFUSED_BYTES,    /* limit on bytes of text: PITH_EXHAUSTED */
    PITH_REFUSED_TOKENS,   /* limit on tokens, estimated: PITH_EXHAUSTED */
    PITH_REFUSED_DEADLINE, /* the wait is estimated to be longer: PITH_DEADLINE */
    PITH_REFUSED_DRAINING, /* PITH_UNAVAILABLE */
    PITH_REFUSED_FAULT,    /* the device is lost: PITH_UNAVAILABLE */
    PITH_REFUSED_MEMORY,   /* PITH_NO_MEMORY */
    PITH_REFUSED_COUNT
} pith_refused;

/* Lower-case names for labels: "interactive", "model", "queue_requests", ... */
const char *pith_priority_name(pith_priority priority);
const char *pith_stage_name(pith_stage stage);
const char *pith_refused_name(pith_refused reason);

typedef enum pith_engine_state {
    PITH_ENGINE_SERVING,
    PITH_ENGINE_DRAINING, /* accepts nothing, finishes what it has */
    PITH_ENGINE_STALLED,  /* no heartbeat for PITH_BEATS_MISSED_MAX beats; may come back */
    PITH_ENGINE_FAULTED,  /* the device is lost; stays so */
} pith_engine_state;

enum { PITH_BEATS_MISSED_MAX = 3 };

enum { PITH_GPUS_MAX = 8, PITH_GPU_UUID_BYTES = 48 };

/* One GPU that computes. */
typedef struct pith_gpu_stats {
    int ordinal;
    char uuid[PITH_GPU_UUID_BYTES]; /* "GPU-..." */
    uint64_t saturated;             /* values that did not fit f16, weights and activations */
    bool kernels_refused;           /* its fast kernels did not agree with the safe ones */
} pith_gpu_stats;

typedef struct pith_engine_stats {
    /* Counters. accepted == answered + in_flight when nobody is between the two. */
    uint64_t accepted;
    uint64_t answered;
    uint64_t outcomes[PITH_STATUS_COUNT];  /* of answered jobs */
    uint64_t rejected;                     /* all refusals */
    uint64_t refusals[PITH_REFUSED_COUNT]; /* the same by reason */
    uint64_t passes[PITH_PASS_COUNT];      /* answered OK, by pith_passthrough; NONE: changed */
    uint64_t passed_through;               /* the same without PITH_PASS_NONE */
    uint64_t cancelled;                    /* outcomes[PITH_CANCELLED] */
    uint64_t nonfinite;                    /* passes[PITH_PASS_NONFINITE_SCORE] */
    uint64_t partial;                      /* answered OK with a part unscored for its deadline */
    uint64_t unscored_words;
    uint64_t input_bytes; /* of texts answered OK */
    uint64_t input_tokens;
    uint64_t kept_tokens;
    uint64_t critical_total; /* critical spans, found and kept */
    uint64_t critical_kept;
    uint64_t steps;
    uint64_t steps_failed;
    uint64_t steps_aside; /* put in front of another that was being computed */
    uint64_t step_tokens;

    /* Histograms; times in nanoseconds. One value a job answered OK, or a step. */
    pith_histogram_view queue_ns; /* accepted until its first window ran, without ingest */
    pith_histogram_view ingest_ns;
    pith_histogram_view compute_ns; /* first step begun until last step done */
    pith_histogram_view finish_ns;
    pith_histogram_view total_ns;
    pith_histogram_view step_ns;
    pith_histogram_view batch_tokens; /* tokens of a step */
    pith_histogram_view batch_size;   /* windows of a step */

    /* Gauges. */
    uint64_t in_flight; /* accepted and not answered */
    uint64_t in_stage[PITH_STAGE_COUNT];
    uint64_t waiting[PITH_PRIORITY_COUNT]; /* jobs of which no window has run yet */
    uint64_t running;                      /* jobs of which one has */
    uint64_t bytes_in_flight;
    uint64_t tokens_in_flight; /* not yet scored; estimated until ingest has counted */
    uint64_t steps_running;

    /* Limits and speed. */
    uint64_t jobs_max;
    uint64_t bytes_max;
    uint64_t tokens_max;
    uint64_t step_tokens_max; /* of the next step: by step_ns and by the limit */
    uint64_t step_ns_max;
    double tokens_per_second; /* the device's speed, as calibrated and seen since */

    /* GPUs; none on the CPU. */
    uint32_t n_gpus;
    pith_gpu_stats gpus[PITH_GPUS_MAX];

    /* Health. */
    int64_t heartbeat_ns; /* the last beat, on the engine's clock */
    int64_t beat_ns;      /* time between two beats; a step may take no longer */
    pith_engine_state state;
} pith_engine_stats;

#endif
