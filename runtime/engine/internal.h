/* What the files of the engine share: the engine itself, its lanes, models and limits. */
#ifndef PITH_ENGINE_INTERNAL_H
#define PITH_ENGINE_INTERNAL_H

#include "runtime/base/queue.h"
#include "runtime/base/slice.h"
#include "runtime/engine/counters.h"
#include "runtime/engine/job.h"
#include "runtime/engine/model.h"
#include "runtime/engine/runner.h"
#include "runtime/engine/scheduler.h"
#include "runtime/engine/settings.h"
#include "runtime/engine/turns.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    PITH_LANE_THREADS_MAX = 8,
    /* Long texts worked on in turns; more wait in line. Each has its token list: 70 bytes a token.
     */
    PITH_LONG_THREADS = 3,
    /* Texts up to this size are ingested by who submits them: half a queue's wake-up, some 20 us.
     */
    PITH_INLINE_BYTES = 2048,
    PITH_INLINE_LISTS = 4,     /* submitters that can do so at a time */
    PITH_INLINE_PER_TURN = 16, /* texts finished by who takes a turn: schedule.c */
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
    /* What a text is taken for until it is tokenized: English under a vocabulary of 8,192 to 50,000
     * has 3.2 to 4.5 bytes a token. Followed by what is seen. */
    PITH_BYTES_PER_TOKEN = 3,
    /* What a text costs beside its bytes, in bytes of a long one: some 10 us of memory, clocks and
     * queues are 250 bytes at 40 ns each (bench/textpath), and a thread that waits for a core takes
     * many times that. Generous, since an estimate lays the rest of what short texts take on long
     * ones, and refuses them where it is too high. */
    PITH_TEXT_COST_BYTES = 4096,
};

#define PITH_MS INT64_C(1000000)

#define PITH_STEP_NS_DEFAULT (25 * PITH_MS)
/* A GPU's next step is cut so long before the end of the one at hand: a copy and a launch. */
#define PITH_AHEAD_NS (2 * PITH_MS)
/* A job that got no window for so long is aged (plan.h): well over a step, well under a patience.
 */
#define PITH_AGE_NS (1000 * PITH_MS)
/* A heartbeat is due so often, or after a step of four times the predicted length. */
#define PITH_BEAT_NS (500 * PITH_MS)
/* An idle engine thread shows that it lives this often. */
#define PITH_IDLE_NS (100 * PITH_MS)
/* What a client is told to wait, at least and at most. */
#define PITH_RETRY_NS_MIN (25 * PITH_MS)
#define PITH_RETRY_NS_MAX (30000 * PITH_MS)
/* Before its deadline a job is given so long to finish, beside what its bytes take. */
#define PITH_RESERVE_NS PITH_MS

/* Threads that do one kind of work on jobs from one queue. */
typedef struct pith_lane {
    pith_engine *engine;
    void (*work)(pith_engine *engine, pith_job *job, pith_token_list *list);
    bool is_long;       /* works in turns, in slices */
    pith_queue *queue;  /* holds jobs_max, and no more jobs than that are accepted: */
    uint32_t n_threads; /* a push by the engine itself never fails */
    pthread_t threads[PITH_LANE_THREADS_MAX];
    /* One each, open from the start so that memory does not grow with the first burst; the long
     * texts' threads leave theirs empty. */
    pith_token_list lists[PITH_LANE_THREADS_MAX];
    atomic_uint n_running; /* gives each thread its own */
} pith_lane;

enum { PITH_LANE_INGEST, PITH_LANE_INGEST_LONG, PITH_LANE_FINISH, PITH_LANE_FINISH_LONG };
enum { PITH_LANES = PITH_LANE_FINISH_LONG + 1 };

/* Texts seen so far, for estimates; halved now and then. */
typedef struct pith_seen {
    uint64_t texts, bytes, tokens;
    uint64_t ingest_ns, finish_ns;
} pith_seen;

/* Who drives the scheduler and the runner, and what it has in hand. */
typedef struct pith_loop {
    pith_engine *engine;
    pith_scheduler *scheduler;
    uint64_t cancels_seen;
    uint32_t n_running; /* steps inside the runner */
    uint32_t n_settled; /* in this turn */
    size_t settled_bytes;
    pith_job *settled[PITH_INLINE_PER_TURN];
} pith_loop;

struct pith_engine {
    pith_clock clock;
    uint32_t jobs_max;
    size_t bytes_max;
    uint64_t tokens_max;
    size_t text_bytes_max;
    uint32_t step_tokens_cap;
    int64_t step_ns_max;

    pith_model *models[PITH_MODELS_MAX];
    size_t n_models;
    pith_device devices[PITH_DEVICES_MAX]; /* alike */
    uint32_t n_devices;
    pith_err note; /* on how the devices got their weights; "": one device */
    pith_runner runner;
    pith_speed speeds[PITH_MODELS_MAX]; /* at open */

    _Atomic(pith_settings *) settings; /* in force; one of all */
    pthread_mutex_t reload_mutex;
    pith_settings *all_settings; /* newest first, no two alike */
    uint32_t n_settings;
    uint32_t fold_after;

    pith_lane lanes[PITH_LANES];
    pith_turns turns;
    pith_queue *ready; /* tokenized jobs, to the engine thread */
    pith_scheduler *scheduler;
    pthread_mutex_t loop_mutex; /* the engine thread's but while it waits with nothing inside */
    pith_loop loop;
    pthread_t schedule_thread;
    bool schedule_started;
    pith_token_list inline_lists[PITH_INLINE_LISTS];
    atomic_flag inline_taken[PITH_INLINE_LISTS];
    pith_token_list finish_list; /* the engine thread's */

    atomic_bool draining;
    atomic_bool aborting; /* every job ends as cancelled */
    atomic_bool faulted;  /* the device is lost: every job ends as unavailable */
    atomic_uint jobs_in_flight;
    atomic_size_t bytes_in_flight;
    atomic_uint_fast64_t tokens_in_flight;
    atomic_uint_fast64_t cancels; /* calls of pith_job_cancel: a sweep is due when it moved */
    pith_counters counters;

    /* Published by the engine thread once a turn. */
    atomic_int_fast64_t heartbeat_ns;
    atomic_int_fast64_t beat_ns;
    atomic_uint_fast64_t token_ps; /* the default model's time per token */
    atomic_uint_fast32_t step_budget;
    atomic_uint_fast64_t queued_ps[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS];
    /* The same for jobs that the engine thread has not seen yet, estimated. */
    atomic_uint_fast64_t coming_ps[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS];
    pthread_mutex_t seen_mutex; /* guards `seen` */
    pith_seen seen;
};

/* Counts a job in or says why there is no room; counts it out. admission.c. */
pith_refused pith_admission_reserve(pith_engine *engine, pith_priority priority, size_t text_len,
                                    int64_t deadline_ns, pith_refusal *refusal);
void pith_admission_release(pith_engine *engine, size_t text_len);
/* The job is accepted: its work is expected; it is known; it is over. */
void pith_admission_expect(pith_engine *engine, pith_job *job);
void pith_admission_correct(pith_engine *engine, pith_job *job);
void pith_admission_arrived(pith_engine *engine, pith_job *job);
void pith_admission_over(pith_engine *engine, pith_job *job);
/* When a text that is accepted now should be handed to finish, to be answered by deadline_ns. */
int64_t pith_admission_cut_by(pith_engine *engine, size_t text_len, int64_t deadline_ns);
void pith_admission_saw_finish(pith_engine *engine, int64_t ns);

/* Why a job must stop now, the engine's own reasons included; PITH_OK: go on. */
pith_status pith_engine_check_job(const pith_engine *engine, const pith_job *job, int64_t now_ns);

/* lanes.c */
PITH_MUST_USE pith_status pith_lanes_open(pith_engine *engine, pith_err *err);
/* Shuts one lane and waits until its jobs are through. */
void pith_lane_close(pith_lane *lane);
bool pith_text_is_long(const pith_job *job);

/* The works of the lanes. */
void pith_ingest_job(pith_engine *engine, pith_job *job, pith_token_list *list);
void pith_finish_job(pith_engine *engine, pith_job *job, pith_token_list *list);
/* Ingests a short text here and now if a list is free. */
bool pith_ingest_inline(pith_engine *engine, pith_job *job);
/* Hands a job that has nothing left before it to a finish lane. */
void pith_finish_push(pith_engine *engine, pith_job *job);

/* Before the thread starts. */
void pith_schedule_init(pith_engine *engine);
/* Thread body; the argument is the engine. */
void *pith_schedule_main(void *arg);
/* Takes a job with windows to the scheduler: here and now if the engine thread sleeps with nothing
 * inside, and then short texts that come back at once are answered here. Any thread. */
void pith_schedule_job(pith_engine *engine, pith_job *job, pith_token_list *list);

#endif
