#include "tests/server/fake_engine.h"

#include "runtime/base/utf8.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Beats as the engine's; its thread looks up more often. */
enum { JOBS_MAX_DEFAULT = 4096, BEAT_MS = 500, LOOK_MS = 50 };

typedef struct script {
    int64_t delay_ns;
    pith_status status;
    pith_status refuse;
    char field[32];
    int64_t retry_ns;
    int64_t freeze_ns; /* the engine stands for so long */
} script;

struct pith_job {
    atomic_int refs;
    atomic_bool cancelled;
    pith_engine *engine;
    pith_job *next;
    int64_t due_ns;
    int64_t accepted_ns;
    int64_t deadline_ns;
    script script;
    bool explain;
    pith_reply_fn reply;
    void *user;
    size_t text_len;
    char text[];
};

struct pith_engine {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pith_job *jobs;
    uint32_t jobs_max;
    size_t text_bytes_max;
    bool draining;
    bool stopping;
    bool frozen;
    int64_t frozen_until_ns;
    pith_engine_stats stats;
};

static const pith_model_info fake_model = {
    .name = "fake",
    .fingerprint = "00fake00",
    .device = "cpu",
    .dtype = "f32",
    .isa = "ref",
    .window_tokens = 512,
    .is_default = true,
};

static int64_t now_ns(void) {
    return pith_clock_now(&pith_clock_system);
}

static pith_status status_named(const char *name, size_t len) {
    for (int i = 0; i < PITH_STATUS_COUNT; i++) {
        const char *known = pith_status_name((pith_status)i);
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            return (pith_status)i;
        }
    }
    return PITH_INTERNAL;
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The value of "@name=value" when the word [word, end) is that. */
static const char *directive(const char *word, const char *end, const char *name) {
    size_t len = strlen(name);
    return (size_t)(end - word) > len && memcmp(word, name, len) == 0 ? word + len : NULL;
}

static script read_script(const char *text, size_t len) {
    script out = {0};
    const char *end_of_text = text + len;
    while (text < end_of_text && *text == '@') {
        const char *end = text;
        while (end < end_of_text && !is_space(*end)) {
            end++;
        }
        const char *value;
        if ((value = directive(text, end, "@delay=")) != NULL) {
            out.delay_ns = strtoll(value, NULL, 10) * 1000000;
        } else if ((value = directive(text, end, "@retry=")) != NULL) {
            out.retry_ns = strtoll(value, NULL, 10) * 1000000;
        } else if ((value = directive(text, end, "@freeze=")) != NULL) {
            out.freeze_ns = strtoll(value, NULL, 10) * 1000000;
        } else if ((value = directive(text, end, "@status=")) != NULL) {
            out.status = status_named(value, (size_t)(end - value));
        } else if ((value = directive(text, end, "@refuse=")) != NULL) {
            out.refuse = status_named(value, (size_t)(end - value));
        } else if ((value = directive(text, end, "@field=")) != NULL) {
            (void)snprintf(out.field, sizeof out.field, "%.*s", (int)(end - value), value);
        }
        text = end < end_of_text ? end + 1 : end;
    }
    return out;
}

/* --- the work --------------------------------------------------------------------------- */

typedef struct work {
    pith_compress_result result;
    char *text;
    pith_range *ranges;
    uint32_t *start;
    uint32_t *end;
    float *score;
    bool *kept;
    bool *critical;
} work;

static void note_word(work *w, const pith_job *job, size_t start, size_t end) {
    size_t i = w->result.input_words++;
    bool digit = false;
    for (size_t k = start; k < end; k++) {
        digit |= job->text[k] >= '0' && job->text[k] <= '9';
    }
    bool keep = digit || end - start >= 4;
    w->start[i] = (uint32_t)start;
    w->end[i] = (uint32_t)end;
    w->score[i] = keep ? 0.75F : 0.25F;
    w->kept[i] = keep;
    w->critical[i] = digit;
    w->result.critical_total += digit;
    w->result.critical_kept += digit;
    if (keep) {
        w->ranges[w->result.n_kept_ranges++] =
            (pith_range){.start = (uint32_t)start, .end = (uint32_t)end};
        if (w->result.text_len > 0) {
            w->text[w->result.text_len++] = ' ';
        }
        memcpy(w->text + w->result.text_len, job->text + start, end - start);
        w->result.text_len += end - start;
        w->result.kept_words++;
    }
}

static void do_work(work *w, const pith_job *job) {
    size_t n = job->text_len / 2 + 1; /* most words a text can have */
    *w = (work){.text = malloc(job->text_len + 1),
                .ranges = malloc(n * sizeof *w->ranges),
                .start = malloc(n * sizeof *w->start),
                .end = malloc(n * sizeof *w->end),
                .score = malloc(n * sizeof *w->score),
                .kept = malloc(n * sizeof *w->kept),
                .critical = malloc(n * sizeof *w->critical)};
    for (size_t at = 0; at < job->text_len;) {
        while (at < job->text_len && is_space(job->text[at])) {
            at++;
        }
        size_t start = at;
        while (at < job->text_len && !is_space(job->text[at])) {
            at++;
        }
        if (at > start) {
            note_word(w, job, start, at);
        }
    }
    pith_compress_result *r = &w->result;
    r->text = w->text;
    r->kept_ranges = w->ranges;
    r->input_tokens = r->input_words;
    r->kept_tokens = r->kept_words;
    r->domain = PITH_DOMAIN_PROSE;
    if (r->input_words == 0) {
        r->text = job->text;
        r->text_len = job->text_len;
        r->passthrough = PITH_PASS_EMPTY;
    }
    if (job->explain) {
        r->explanation = (pith_explanation){.start = w->start,
                                            .end = w->end,
                                            .score = w->score,
                                            .kept = w->kept,
                                            .critical = w->critical,
                                            .n = r->input_words};
    }
}

static void answer(pith_job *job) {
    work w = {0};
    int64_t now = now_ns();
    pith_reply reply = {.status = job->script.status,
                        .error = "scripted",
                        .model = &fake_model,
                        .retry_after_ns = job->script.retry_ns,
                        .error_field = job->script.field[0] != '\0' ? job->script.field : NULL,
                        .timing = {.total_ns = now - job->accepted_ns, .n_windows = 1}};
    if (atomic_load(&job->cancelled)) {
        reply.status = PITH_CANCELLED;
    } else if (now >= job->deadline_ns) {
        reply.status = PITH_DEADLINE;
    }
    if (reply.status == PITH_OK) {
        do_work(&w, job);
        reply.result = &w.result;
    }
    pith_engine *engine = job->engine;
    (void)pthread_mutex_lock(&engine->mutex);
    engine->stats.answered++;
    engine->stats.in_flight--;
    engine->stats.cancelled += reply.status == PITH_CANCELLED;
    (void)pthread_mutex_unlock(&engine->mutex);
    job->reply(job->user, &reply);
    free(w.text);
    free(w.ranges);
    free(w.start);
    free(w.end);
    free(w.score);
    free(w.kept);
    free(w.critical);
    pith_job_release(job);
}

/* The first job whose time has come. Mutex held. */
static pith_job *take_due(pith_engine *engine, int64_t now) {
    for (pith_job **at = &engine->jobs; *at != NULL; at = &(*at)->next) {
        pith_job *job = *at;
        if (job->due_ns <= now || job->deadline_ns <= now || atomic_load(&job->cancelled) ||
            engine->stopping) {
            *at = job->next;
            return job;
        }
    }
    return NULL;
}

static void *engine_loop(void *arg) {
    pith_engine *engine = arg;
    (void)pthread_mutex_lock(&engine->mutex);
    while (!engine->stopping || engine->jobs != NULL) {
        int64_t now = now_ns();
        bool frozen = engine->frozen || now < engine->frozen_until_ns;
        if (!frozen || engine->stopping) {
            engine->stats.heartbeat_ns = now;
            pith_job *job = take_due(engine, now);
            if (job != NULL) {
                (void)pthread_mutex_unlock(&engine->mutex);
                answer(job);
                (void)pthread_mutex_lock(&engine->mutex);
                continue;
            }
        }
        int64_t until = now + (engine->jobs != NULL ? 1 : LOOK_MS) * INT64_C(1000000);
        struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
        (void)pthread_cond_timedwait(&engine->wake, &engine->mutex, &at);
    }
    (void)pthread_mutex_unlock(&engine->mutex);
    return NULL;
}

/* --- engine.h ----------------------------------------------------------------------------- */

pith_status pith_engine_open(pith_engine **engine, const pith_engine_opts *opts, pith_err *err) {
    *engine = calloc(1, sizeof **engine);
    if (*engine == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory");
    }
    (*engine)->jobs_max = opts->jobs_max == 0 ? JOBS_MAX_DEFAULT : opts->jobs_max;
    (*engine)->text_bytes_max = opts->text_bytes_max;
    (*engine)->stats.heartbeat_ns = now_ns();
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&(*engine)->mutex, NULL);
    (void)pthread_cond_init(&(*engine)->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    return pthread_create(&(*engine)->thread, NULL, engine_loop, *engine) == 0 ? PITH_OK : PITH_IO;
}

void pith_engine_drain(pith_engine *engine) {
    (void)pthread_mutex_lock(&engine->mutex);
    engine->draining = true;
    (void)pthread_mutex_unlock(&engine->mutex);
}

void pith_engine_close(pith_engine *engine) {
    if (engine == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&engine->mutex);
    engine->draining = true;
    engine->stopping = true;
    for (pith_job *job = engine->jobs; job != NULL; job = job->next) {
        atomic_store(&job->cancelled, true);
    }
    (void)pthread_cond_signal(&engine->wake);
    (void)pthread_mutex_unlock(&engine->mutex);
    (void)pthread_join(engine->thread, NULL);
    (void)pthread_cond_destroy(&engine->wake);
    (void)pthread_mutex_destroy(&engine->mutex);
    free(engine);
}

static pith_status check(pith_engine *engine, const pith_compress_request *request,
                         const pith_submit_opts *opts, const script *s, pith_refusal *refusal,
                         pith_err *err) {
    *refusal = (pith_refusal){0};
    if (pith_utf8_valid(request->text, request->text_len) != request->text_len) {
        refusal->field = "text";
        return pith_fail(err, PITH_INVALID, "text: invalid UTF-8");
    }
    if (opts->model != NULL && opts->model[0] != '\0' && strcmp(opts->model, "fake") != 0) {
        refusal->field = "model";
        return pith_fail(err, PITH_NOT_FOUND, "model: no model named \"%s\"", opts->model);
    }
    if (engine->draining) {
        return pith_fail(err, PITH_UNAVAILABLE, "draining");
    }
    if (s->refuse != PITH_OK) {
        return pith_fail(err, s->refuse, "scripted refusal");
    }
    if (engine->stats.in_flight >= engine->jobs_max) {
        engine->stats.rejected++;
        refusal->reason = PITH_REFUSED_REQUESTS;
        return pith_fail(err, PITH_EXHAUSTED, "the queue is full");
    }
    return PITH_OK;
}

pith_status pith_engine_submit(pith_engine *engine, const pith_compress_request *request,
                               const pith_submit_opts *opts, pith_job **job, pith_refusal *refusal,
                               pith_err *err) {
    pith_refusal ignored;
    script s = read_script(request->text, request->text_len);
    (void)pthread_mutex_lock(&engine->mutex);
    pith_status status =
        check(engine, request, opts, &s, refusal == NULL ? &ignored : refusal, err);
    if (status == PITH_OK) {
        pith_job *made = calloc(1, sizeof *made + request->text_len + 1);
        memcpy(made->text, request->text, request->text_len);
        atomic_init(&made->refs, job == NULL ? 1 : 2);
        made->engine = engine;
        made->text_len = request->text_len;
        made->script = s;
        made->explain = request->explain;
        made->accepted_ns = now_ns();
        made->due_ns = made->accepted_ns + s.delay_ns;
        if (s.freeze_ns > 0) {
            engine->frozen_until_ns = made->accepted_ns + s.freeze_ns;
        }
        made->deadline_ns = opts->deadline_ns;
        made->reply = opts->reply;
        made->user = opts->user;
        pith_job **tail = &engine->jobs;
        while (*tail != NULL) {
            tail = &(*tail)->next;
        }
        *tail = made;
        engine->stats.accepted++;
        engine->stats.in_flight++;
        if (job != NULL) {
            *job = made;
        }
        (void)pthread_cond_signal(&engine->wake);
    }
    (void)pthread_mutex_unlock(&engine->mutex);
    return status;
}

void pith_job_progress(const pith_job *job, uint32_t *done, uint32_t *total) {
    (void)job;
    *done = 0;
    *total = 1;
}

void pith_job_cancel(pith_job *job) {
    (void)pthread_mutex_lock(&job->engine->mutex);
    atomic_store(&job->cancelled, true);
    (void)pthread_cond_signal(&job->engine->wake);
    (void)pthread_mutex_unlock(&job->engine->mutex);
}

void pith_job_release(pith_job *job) {
    if (job != NULL && atomic_fetch_sub(&job->refs, 1) == 1) {
        free(job);
    }
}

pith_status pith_engine_reload(pith_engine *engine, const char *critical_config, pith_err *err) {
    (void)engine;
    if (critical_config != NULL && critical_config[0] != '{') {
        return pith_fail(err, PITH_INVALID, "patterns: not a JSON object");
    }
    return PITH_OK;
}

size_t pith_engine_models(pith_engine *engine, const pith_model_info **models) {
    (void)engine;
    *models = &fake_model;
    return 1;
}

void pith_engine_read_stats(pith_engine *engine, pith_engine_stats *stats) {
    (void)pthread_mutex_lock(&engine->mutex);
    *stats = engine->stats;
    (void)pthread_mutex_unlock(&engine->mutex);
    pith_histogram_view *times[] = {&stats->queue_ns,  &stats->ingest_ns, &stats->compute_ns,
                                    &stats->finish_ns, &stats->total_ns,  &stats->step_ns};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        times[i]->bounds = &pith_histogram_seconds;
    }
    stats->batch_tokens.bounds = &pith_histogram_powers;
    stats->batch_size.bounds = &pith_histogram_powers;
    stats->beat_ns = BEAT_MS * INT64_C(1000000);
    stats->state = pith_engine_check(engine);
}

pith_engine_state pith_engine_check(pith_engine *engine) {
    (void)pthread_mutex_lock(&engine->mutex);
    int64_t silent = now_ns() - engine->stats.heartbeat_ns;
    bool draining = engine->draining;
    (void)pthread_mutex_unlock(&engine->mutex);
    if (silent > PITH_BEATS_MISSED_MAX * BEAT_MS * INT64_C(1000000)) {
        return PITH_ENGINE_STALLED;
    }
    return draining ? PITH_ENGINE_DRAINING : PITH_ENGINE_SERVING;
}

int64_t pith_engine_wait(pith_engine *engine, pith_priority priority, size_t text_len) {
    (void)engine;
    (void)priority;
    (void)text_len;
    return 0;
}

void fake_engine_freeze(pith_engine *engine, bool frozen) {
    (void)pthread_mutex_lock(&engine->mutex);
    engine->frozen = frozen;
    (void)pthread_cond_signal(&engine->wake);
    (void)pthread_mutex_unlock(&engine->mutex);
}
