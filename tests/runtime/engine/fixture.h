/* An engine on a tiny random model with the shipped vocabulary, with the real runner or a scripted
 * one, and replies that wait to be looked at. */
#ifndef PITH_TESTS_RUNTIME_ENGINE_FIXTURE_H
#define PITH_TESTS_RUNTIME_ENGINE_FIXTURE_H

#include "runtime/engine/engine.h"
#include "runtime/engine/runner.h"

#include <pthread.h>
#include <stdatomic.h>

/* A runner whose scores are a hash of the token id, so that tests know what must come out. */
typedef struct fake_runner {
    atomic_bool held;        /* steps stay inside */
    atomic_bool fail;        /* steps end as PITH_INTERNAL */
    atomic_bool nan;         /* the first score of each step is NaN */
    atomic_bool lost;        /* steps end as PITH_UNAVAILABLE */
    atomic_bool one;         /* one more step comes back although held */
    atomic_bool refuse;      /* no step is taken */
    atomic_uint n_submitted; /* steps taken so far */
    atomic_uint n_steps;     /* finished */
    pith_step *inside[PITH_STEPS_IN_FLIGHT];
    uint32_t n_inside;
    uint32_t first_ids[4096]; /* second id of each sequence, in the order of computation */
    atomic_uint n_sequences;
    bool closed;
} fake_runner;

void fake_runner_init(fake_runner *fake, pith_runner *runner);
float fake_score(uint32_t id);

/* Waits until n steps were taken; until a job was tokenized. */
void fake_wait_submitted(fake_runner *fake, uint32_t n);
void wait_tokenized(const pith_job *job);

/* A reply as it was at the callback. */
typedef struct kept_reply {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t count; /* callbacks so far: must end as 1 */
    pith_status status;
    char error[PITH_ERR_TEXT_BYTES];
    char *text;
    size_t text_len;
    pith_passthrough passthrough;
    uint32_t kept_tokens;
    uint32_t n_windows;
    char fingerprint[64];
    int64_t model_ns;
    uint32_t unscored_words;
    bool partial;
} kept_reply;

/* A clock that stands still until a test sets it. */
typedef struct scripted_clock {
    atomic_int_fast64_t now_ns;
} scripted_clock;

pith_clock scripted_clock_init(scripted_clock *clock);

void kept_reply_init(kept_reply *kept);
void kept_reply_free(kept_reply *kept);
void kept_reply_take(void *user, const pith_reply *reply); /* the pith_reply_fn */
void kept_reply_wait(kept_reply *kept);

/* Writes the model into a new folder; the caller frees the path. NULL when the shipped vocabulary
 * is not there. */
char *tiny_model_make(void);
char *tiny_model_make_for(uint32_t n_heads, uint32_t window_tokens);
void tiny_model_remove(char *dir);

/* cmocka's group setup and teardown: one such model for the program's tests. */
extern char *model_dir;
int make_model(void **state);
int remove_model(void **state);

/* The same by a runner that any thread may drive. */
pith_engine *faked_anywhere(fake_runner *fake, pith_engine_opts opts);

/* Opens an engine on `dir`; opts may set everything but the models. */
pith_engine *engine_on(const char *dir, pith_engine_opts opts);

/* An engine on `model_dir` that computes by `fake`; the test fails where it does not open. */
pith_engine *faked(fake_runner *fake, pith_engine_opts opts);

/* Hands over request_of(text), with a deadline only where opts has one; its reply goes to `kept`.
 * `job` and `refusal` may be NULL. */
pith_status submit(pith_engine *engine, const char *text, kept_reply *kept, pith_submit_opts opts,
                   pith_job **job, pith_refusal *refusal);

/* A faithful request for a text; target ratio 0.5. */
pith_compress_request request_of(const char *text, size_t len);

/* A text of n words, seeded, with lines, numbers and repeats; the caller frees it. */
char *words_of(uint32_t n, uint64_t seed);

#endif
