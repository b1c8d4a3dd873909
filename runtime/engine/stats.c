#include "runtime/engine/counters.h"

const char *pith_priority_name(pith_priority priority) {
    static const char *const names[PITH_PRIORITY_COUNT] = {
        [PITH_PRIORITY_NORMAL] = "normal",
        [PITH_PRIORITY_INTERACTIVE] = "interactive",
        [PITH_PRIORITY_BATCH] = "batch",
    };
    return (unsigned)priority < PITH_PRIORITY_COUNT ? names[priority] : "unknown";
}

const char *pith_stage_name(pith_stage stage) {
    static const char *const names[PITH_STAGE_COUNT] = {
        [PITH_STAGE_INGEST] = "ingest",
        [PITH_STAGE_MODEL] = "model",
        [PITH_STAGE_FINISH] = "finish",
    };
    return (unsigned)stage < PITH_STAGE_COUNT ? names[stage] : "unknown";
}

const char *pith_refused_name(pith_refused reason) {
    static const char *const names[PITH_REFUSED_COUNT] = {
        [PITH_REFUSED_NOT] = "none",          [PITH_REFUSED_INVALID] = "invalid",
        [PITH_REFUSED_MODEL] = "model",       [PITH_REFUSED_REQUESTS] = "queue_requests",
        [PITH_REFUSED_BYTES] = "queue_bytes", [PITH_REFUSED_TOKENS] = "queue_tokens",
        [PITH_REFUSED_DEADLINE] = "deadline", [PITH_REFUSED_DRAINING] = "draining",
        [PITH_REFUSED_FAULT] = "fault",       [PITH_REFUSED_MEMORY] = "memory",
    };
    return (unsigned)reason < PITH_REFUSED_COUNT ? names[reason] : "unknown";
}

void pith_counters_init(pith_counters *counters) {
    pith_histogram *times[] = {&counters->queue_ns,  &counters->ingest_ns, &counters->compute_ns,
                               &counters->finish_ns, &counters->total_ns,  &counters->step_ns};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        pith_histogram_init(times[i], &pith_histogram_seconds);
    }
    pith_histogram_init(&counters->batch_tokens, &pith_histogram_powers);
    pith_histogram_init(&counters->batch_size, &pith_histogram_powers);
}

static uint64_t not_negative(int64_t ns) {
    return ns > 0 ? (uint64_t)ns : 0;
}

void pith_counters_answered(pith_counters *c, const pith_reply *reply, size_t text_len) {
    pith_count(&c->outcomes[reply->status], 1);
    pith_count(&c->answered, 1);
    const pith_compress_result *result = reply->result;
    if (reply->status != PITH_OK || result == NULL) {
        return;
    }
    pith_count(&c->passes[result->passthrough], 1);
    pith_count(&c->partial, reply->partial);
    pith_count(&c->unscored_words, result->unscored_words);
    pith_count(&c->input_bytes, text_len);
    pith_count(&c->input_tokens, result->input_tokens);
    pith_count(&c->kept_tokens, result->kept_tokens);
    pith_count(&c->critical_total, result->critical_total);
    pith_count(&c->critical_kept, result->critical_kept);
    const pith_timing *t = &reply->timing;
    pith_histogram_add(&c->queue_ns, not_negative(t->queue_ns));
    pith_histogram_add(&c->ingest_ns, not_negative(t->tokenize_ns));
    pith_histogram_add(&c->compute_ns, not_negative(t->model_ns));
    pith_histogram_add(&c->finish_ns, not_negative(t->finish_ns));
    pith_histogram_add(&c->total_ns, not_negative(t->total_ns));
}

static void read_all(const pith_counter *from, uint64_t *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        to[i] = pith_counted(&from[i]);
    }
}

void pith_counters_read(const pith_counters *c, pith_engine_stats *s) {
    /* answered before accepted: a snapshot never shows more answers than jobs */
    s->answered = atomic_load(&c->answered);
    s->accepted = atomic_load(&c->accepted);
    s->rejected = pith_counted(&c->rejected);
    read_all(c->outcomes, s->outcomes, PITH_STATUS_COUNT);
    read_all(c->refusals, s->refusals, PITH_REFUSED_COUNT);
    read_all(c->passes, s->passes, PITH_PASS_COUNT);
    for (int i = PITH_PASS_NONE + 1; i < PITH_PASS_COUNT; i++) {
        s->passed_through += s->passes[i];
    }
    s->cancelled = s->outcomes[PITH_CANCELLED];
    s->nonfinite = s->passes[PITH_PASS_NONFINITE_SCORE];
    s->partial = pith_counted(&c->partial);
    s->unscored_words = pith_counted(&c->unscored_words);
    s->input_bytes = pith_counted(&c->input_bytes);
    s->input_tokens = pith_counted(&c->input_tokens);
    s->kept_tokens = pith_counted(&c->kept_tokens);
    s->critical_total = pith_counted(&c->critical_total);
    s->critical_kept = pith_counted(&c->critical_kept);
    s->steps = pith_counted(&c->steps);
    s->steps_failed = pith_counted(&c->steps_failed);
    s->steps_aside = pith_counted(&c->steps_aside);
    s->step_tokens = pith_counted(&c->step_tokens);
    pith_histogram_read(&c->queue_ns, &s->queue_ns);
    pith_histogram_read(&c->ingest_ns, &s->ingest_ns);
    pith_histogram_read(&c->compute_ns, &s->compute_ns);
    pith_histogram_read(&c->finish_ns, &s->finish_ns);
    pith_histogram_read(&c->total_ns, &s->total_ns);
    pith_histogram_read(&c->step_ns, &s->step_ns);
    pith_histogram_read(&c->batch_tokens, &s->batch_tokens);
    pith_histogram_read(&c->batch_size, &s->batch_size);
    read_all(c->in_stage, s->in_stage, PITH_STAGE_COUNT);
    read_all(c->waiting, s->waiting, PITH_PRIORITY_COUNT);
    s->running = pith_counted(&c->running);
    s->steps_running = pith_counted(&c->steps_running);
}
