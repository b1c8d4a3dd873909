/* The engine: accepts jobs, packs their windows into steps, runs the model, answers each job once.
 *
 * One engine thread that cuts steps, one thread for each device that waits for them (and computes
 * them on the CPU), an ingest pool (tokenize, route), a finish pool (decide, join).
 * Every queue is bounded; a full one refuses at submit. Submit, cancel and stats: any thread. */
#ifndef PITH_ENGINE_ENGINE_H
#define PITH_ENGINE_ENGINE_H

#include "runtime/base/clock.h"
#include "runtime/base/status.h"
#include "runtime/decide/compress.h"
#include "runtime/engine/stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_engine pith_engine;
typedef struct pith_job pith_job;

enum { PITH_MODELS_MAX = 16 };

typedef struct pith_model_spec {
    const char *name; /* NULL: the name in the model's config */
    const char *dir;
} pith_model_spec;

typedef struct pith_engine_opts {
    const pith_model_spec *models; /* [n_models]; the first is the default */
    size_t n_models;
    const char *device;          /* "auto", "cpu", "cuda:0", "cuda:0,cuda:1", "cuda:all" */
    const char *dtype;           /* "auto", "f32", "bf16" */
    const char *gpu_kernels;     /* "auto", "safe", "cublas" */
    const char *isa;             /* "auto", "avx2", "avx512", "avx512-bf16", "ref" */
    uint32_t n_threads;          /* compute threads of the CPU backend; 0: one per core */
    uint32_t jobs_max;           /* accepted and not yet answered; 0: default */
    size_t bytes_max;            /* their texts; 0: default, 8 of the largest. One always fits */
    uint64_t tokens_max;         /* their tokens; 0: default, as bytes_max. One always fits */
    uint32_t step_tokens_max;    /* tokens packed into one step; 0: default */
    int64_t step_ns_max;         /* computation of one step; 0: 25 ms. One window always fits */
    size_t text_bytes_max;       /* 16 MiB by default */
    uint32_t fold_after;         /* lines of a kind that stay before its repeats fold; 0: 1 */
    const char *critical_config; /* JSON text that replaces or switches patterns; NULL: built in */
    const pith_clock *clock;     /* NULL: system */
    /* NULL: the model runner. Taken over: the engine closes it. */
    const struct pith_runner *runner;
} pith_engine_opts;

typedef struct pith_model_info {
    const char *name;
    const char *fingerprint; /* hash of weights, config, backend, dtype, ISA */
    const char *device;      /* "cpu" */
    const char *dtype;       /* "f32", "bf16" */
    const char *isa;
    uint32_t window_tokens;
    uint64_t n_parameters;
    bool is_default;
} pith_model_info;

typedef struct pith_timing {
    int64_t queue_ns;    /* accepted until its first window ran */
    int64_t tokenize_ns; /* ingest */
    int64_t model_ns;    /* first step begun until last step done */
    int64_t finish_ns;   /* decide and join */
    int64_t total_ns;
    uint32_t n_windows;
} pith_timing;

/* What a job gets, exactly once. Valid during the callback only. */
typedef struct pith_reply {
    pith_status status;      /* PITH_OK: `result` holds */
    const char *error;       /* one line when status != PITH_OK */
    const char *error_field; /* request field at fault for PITH_INVALID, or NULL */
    const pith_compress_result *result;
    const pith_model_info *model;
    pith_timing timing;
    int64_t retry_after_ns; /* with PITH_EXHAUSTED and PITH_UNAVAILABLE; 0: unknown */
    bool partial; /* the deadline cut the scoring short: result->unscored_words are kept as is */
} pith_reply;

/* Called on an engine thread, or on one that submits, perhaps another text; must not block. */
typedef void (*pith_reply_fn)(void *user, const pith_reply *reply);

typedef struct pith_submit_opts {
    const char *model; /* NULL or "": default */
    pith_priority priority;
    int64_t deadline_ns; /* on the engine's clock, or PITH_DEADLINE_NONE */
    pith_reply_fn reply;
    void *user;
} pith_submit_opts;

/* Why submit took no job, and what to tell the client. */
typedef struct pith_refusal {
    pith_refused reason;
    const char *field;      /* request field at fault, or NULL; a constant */
    int64_t retry_after_ns; /* with PITH_EXHAUSTED and PITH_UNAVAILABLE: when to try again */
    int64_t wait_ns;        /* with PITH_DEADLINE and PITH_EXHAUSTED: the estimated wait */
} pith_refusal;

/* Loads the models, starts the threads, runs one warm-up step per model. */
PITH_MUST_USE pith_status pith_engine_open(pith_engine **engine, const pith_engine_opts *opts,
                                           pith_err *err);

/* Refuses new jobs with PITH_UNAVAILABLE; those in flight go on. */
void pith_engine_drain(pith_engine *engine);

/* Drains, cancels what is left, joins the threads and frees. */
void pith_engine_close(pith_engine *engine);

/* Takes a job. The text, keep ranges and model name are copied. When it returns PITH_OK the reply
 * callback will be called exactly once (perhaps before submit returns) and *job (may be NULL) is a
 * handle that pith_job_release must give back. Otherwise the callback is not called and `refusal`
 * (may be NULL) says more: PITH_INVALID (bad UTF-8 with the byte offset, ratio, range, too long),
 * PITH_NOT_FOUND (model), PITH_EXHAUSTED (a limit), PITH_DEADLINE (the estimated wait is longer),
 * PITH_UNAVAILABLE (draining, or the device is lost), PITH_NO_MEMORY. */
PITH_MUST_USE pith_status pith_engine_submit(pith_engine *engine,
                                             const pith_compress_request *request,
                                             const pith_submit_opts *opts, pith_job **job,
                                             pith_refusal *refusal, pith_err *err);

/* How long a text of text_len bytes would wait for its first window if it were submitted now. */
int64_t pith_engine_wait(pith_engine *engine, pith_priority priority, size_t text_len);

/* How many of the job's windows were scored, of how many; 0 of 0 until it was tokenized. */
void pith_job_progress(const pith_job *job, uint32_t *done, uint32_t *total);

/* Work stops at the next step boundary; the reply says PITH_CANCELLED unless it was under way. */
void pith_job_cancel(pith_job *job);
void pith_job_release(pith_job *job);

/* One line on how several devices got their weights; "" with one. */
const char *pith_engine_note(const pith_engine *engine);

/* *models stays valid until close; after a reload it is no longer up to date. */
size_t pith_engine_models(pith_engine *engine, const pith_model_info **models);

/* New patterns (NULL: the built-in ones) and, read anew from each model's config.json, its
 * thresholds: for the jobs submitted from now on, all at once. On failure nothing changes. The
 * model_fingerprint tells replies apart. Any thread. PITH_EXHAUSTED after 255 times. */
PITH_MUST_USE pith_status pith_engine_reload(pith_engine *engine, const char *critical_config,
                                             pith_err *err);

void pith_engine_read_stats(pith_engine *engine, pith_engine_stats *stats);

/* For health and its metric; lock-free. */
pith_engine_state pith_engine_check(pith_engine *engine);

#endif
