#include "tests/runtime/engine/fixture.h"

#include "runtime/base/file.h"
#include "tests/support/random_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

float fake_score(uint32_t id) {
    return (float)(mix(id) >> 40) / (float)(1 << 24);
}

enum { LOOK_US = 500, SETTLE_US = 10000, LOOK_NS = 1000000 };

static int64_t scripted_now(void *self) {
    scripted_clock *clock = self;
    return atomic_load(&clock->now_ns);
}

pith_clock scripted_clock_init(scripted_clock *clock) {
    atomic_store(&clock->now_ns, INT64_C(1000000000000));
    return (pith_clock){.now_ns = scripted_now, .self = clock};
}

void fake_wait_submitted(fake_runner *fake, uint32_t n) {
    while (atomic_load(&fake->n_submitted) < n) {
        (void)usleep(LOOK_US);
    }
}

/* A tokenized job is in the scheduler's hands one turn of its loop later. */
void wait_tokenized(const pith_job *job) {
    uint32_t done;
    uint32_t total = 0;
    while (total == 0) {
        (void)usleep(LOOK_US);
        pith_job_progress(job, &done, &total);
    }
    (void)usleep(SETTLE_US);
}

static pith_status fake_submit(void *self, pith_step *step) {
    fake_runner *fake = self;
    if (fake->n_inside == PITH_STEPS_IN_FLIGHT || atomic_load(&fake->refuse)) {
        return PITH_EXHAUSTED;
    }
    fake->inside[fake->n_inside++] = step;
    (void)atomic_fetch_add(&fake->n_submitted, 1);
    return PITH_OK;
}

static void fake_compute(fake_runner *fake, pith_step *step) {
    for (uint32_t i = 0; i < step->n_tok; i++) {
        step->score[i] = fake_score(step->ids[i]);
    }
    if (atomic_load(&fake->nan)) {
        step->score[1] = NAN;
    }
    for (uint32_t s = 0; s < step->n_seq; s++) {
        uint32_t at = atomic_fetch_add(&fake->n_sequences, 1);
        if (at < sizeof fake->first_ids / sizeof *fake->first_ids) {
            fake->first_ids[at] = step->ids[step->cu_seqlens[s] + 1];
        }
    }
    step->status = atomic_load(&fake->fail)
                       ? pith_fail(&step->err, PITH_INTERNAL, "the device made a mistake")
                       : PITH_OK;
    if (atomic_load(&fake->lost)) {
        step->status = pith_fail(&step->err, PITH_UNAVAILABLE, "the device fell off the bus");
    }
    step->begin_ns = 0;
    step->end_ns = 1000;
}

static pith_step *fake_poll(void *self, int64_t wait_ns) {
    fake_runner *fake = self;
    bool held = atomic_load(&fake->held) && !atomic_exchange(&fake->one, false);
    if (fake->n_inside == 0 || held) {
        (void)usleep((useconds_t)(wait_ns < LOOK_NS ? wait_ns : LOOK_NS) / 1000);
        return NULL;
    }
    pith_step *step = fake->inside[0];
    fake->inside[0] = fake->inside[1];
    fake->n_inside--;
    fake_compute(fake, step);
    (void)atomic_fetch_add(&fake->n_steps, 1);
    return step;
}

static void fake_close(void *self) {
    fake_runner *fake = self;
    fake->closed = true;
}

void fake_runner_init(fake_runner *fake, pith_runner *runner) {
    memset(fake, 0, sizeof *fake);
    *runner = (pith_runner){.submit = fake_submit,
                            .poll = fake_poll,
                            .close = fake_close,
                            .self = fake,
                            .ahead_ns = INT64_MAX / 4}; /* always two steps inside */
}

void kept_reply_init(kept_reply *kept) {
    memset(kept, 0, sizeof *kept);
    (void)pthread_mutex_init(&kept->mutex, NULL);
    (void)pthread_cond_init(&kept->changed, NULL);
}

void kept_reply_free(kept_reply *kept) {
    free(kept->text);
    (void)pthread_mutex_destroy(&kept->mutex);
    (void)pthread_cond_destroy(&kept->changed);
}

void kept_reply_take(void *user, const pith_reply *reply) {
    kept_reply *kept = user;
    (void)pthread_mutex_lock(&kept->mutex);
    kept->count++;
    kept->status = reply->status;
    (void)snprintf(kept->error, sizeof kept->error, "%s", reply->error ? reply->error : "");
    (void)snprintf(kept->fingerprint, sizeof kept->fingerprint, "%s", reply->model->fingerprint);
    kept->n_windows = reply->timing.n_windows;
    kept->model_ns = reply->timing.model_ns;
    kept->partial = reply->partial;
    if (reply->result != NULL && kept->text == NULL) {
        kept->text_len = reply->result->text_len;
        kept->text = malloc(kept->text_len + 1);
        memcpy(kept->text, reply->result->text, kept->text_len);
        kept->text[kept->text_len] = '\0';
        kept->passthrough = reply->result->passthrough;
        kept->unscored_words = reply->result->unscored_words;
        kept->kept_tokens = reply->result->kept_tokens;
    }
    (void)pthread_cond_broadcast(&kept->changed);
    (void)pthread_mutex_unlock(&kept->mutex);
}

void kept_reply_wait(kept_reply *kept) {
    (void)pthread_mutex_lock(&kept->mutex);
    while (kept->count == 0) {
        (void)pthread_cond_wait(&kept->changed, &kept->mutex);
    }
    (void)pthread_mutex_unlock(&kept->mutex);
}

static int copy_tokenizer(const char *dir) {
    char from[1024];
    char to[1024];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(from, sizeof from, "%s/models/pith-mini/tokenizer.json", source ? source : ".");
    (void)snprintf(to, sizeof to, "%s/tokenizer.json", dir);
    pith_file file;
    if (pith_file_read(&file, from, 1 << 26, NULL) != PITH_OK) {
        return -1;
    }
    FILE *out = fopen(to, "wb");
    int ok = out != NULL && fwrite(file.data, 1, file.len, out) == file.len;
    ok = out != NULL && fclose(out) == 0 && ok;
    pith_file_close(&file);
    return ok ? 0 : -1;
}

char *tiny_model_make(void) {
    return tiny_model_make_for(2, 200);
}

char *tiny_model_make_for(uint32_t n_heads, uint32_t window_tokens) {
    char dir[] = "/tmp/pith-engine-XXXXXX";
    if (mkdtemp(dir) == NULL) {
        return NULL;
    }
    pith_model_config config = pith_random_config_tiny();
    config.vocab_size = 8192; /* the shipped vocabulary */
    config.cls_id = 1;
    config.sep_id = 2;
    config.n_heads = n_heads;
    config.window_tokens = window_tokens;
    config.halo_tokens = 16;
    config.positions_max = 512;
    pith_random_model_opts opts = pith_random_model_defaults();
    char *copy = strdup(dir);
    if (pith_random_model_write(dir, &config, &opts, NULL) != PITH_OK || copy_tokenizer(dir) != 0) {
        tiny_model_remove(copy);
        return NULL;
    }
    return copy;
}

void tiny_model_remove(char *dir) {
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    for (size_t i = 0; dir != NULL && i < sizeof files / sizeof *files; i++) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    if (dir != NULL) {
        (void)rmdir(dir);
    }
    free(dir);
}

char *model_dir;

int make_model(void **state) {
    model_dir = tiny_model_make();
    return model_dir == NULL ? -1 : 0;
}

int remove_model(void **state) {
    tiny_model_remove(model_dir);
    return 0;
}

pith_engine *engine_on(const char *dir, pith_engine_opts opts) {
    pith_model_spec spec = {.name = "tiny", .dir = dir};
    opts.models = &spec;
    opts.n_models = 1;
    pith_engine *engine;
    pith_err err = {0};
    if (pith_engine_open(&engine, &opts, &err) != PITH_OK) {
        (void)fprintf(stderr, "engine: %s\n", err.text);
        return NULL;
    }
    return engine;
}

static pith_engine *faked_by(fake_runner *fake, pith_engine_opts opts, bool anywhere) {
    pith_runner runner;
    fake_runner_init(fake, &runner);
    runner.anywhere = anywhere;
    opts.runner = &runner;
    pith_engine *engine = engine_on(model_dir, opts);
    assert_non_null(engine);
    return engine;
}

pith_engine *faked(fake_runner *fake, pith_engine_opts opts) {
    return faked_by(fake, opts, false);
}

pith_engine *faked_anywhere(fake_runner *fake, pith_engine_opts opts) {
    return faked_by(fake, opts, true);
}

pith_status submit(pith_engine *engine, const char *text, kept_reply *kept, pith_submit_opts opts,
                   pith_job **job, pith_refusal *refusal) {
    pith_compress_request request = request_of(text, strlen(text));
    opts.deadline_ns = opts.deadline_ns == 0 ? PITH_DEADLINE_NONE : opts.deadline_ns;
    opts.reply = kept_reply_take;
    opts.user = kept;
    return pith_engine_submit(engine, &request, &opts, job, refusal, NULL);
}

pith_compress_request request_of(const char *text, size_t len) {
    return (pith_compress_request){.text = text,
                                   .text_len = len,
                                   .budget = PITH_BUDGET_TARGET_RATIO,
                                   .budget_value = 0.5,
                                   .profile = PITH_PROFILE_FAITHFUL};
}

char *words_of(uint32_t n, uint64_t seed) {
    static const char *const words[] = {
        "the", "build", "failed", "with",    "status", "in",      "module", "parser",    "after",
        "and", "0x1f",  "42",     "retries", "of",     "reading", "config", "/etc/pith", "ok"};
    size_t cap = (size_t)n * 11 + 1;
    char *text = malloc(cap);
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t x = mix(seed * 1000003 + i);
        len += (size_t)snprintf(text + len, cap - len, "%s%s",
                                words[x % (sizeof words / sizeof *words)],
                                (x >> 32) % 9 == 0 ? "\n" : " ");
    }
    text[len] = '\0';
    return text;
}
