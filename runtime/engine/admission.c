/* Admission: how much is inside, how much may be, and how long a newcomer would wait.
 *
 * A text is counted by its bytes at submit, before any work, and by its tokens once it has them.
 * The estimates only refuse and advise; what runs when is the scheduler's. */
#include "runtime/engine/internal.h"

enum { SEEN_BYTES_MAX = 64 * 1024 * 1024 }; /* then all is halved: the last texts count more */

/* All of one moment: a sum of bytes without its tokens would say that a text has none. */
static pith_seen seen_of(pith_engine *engine) {
    (void)pthread_mutex_lock(&engine->seen_mutex);
    pith_seen seen = engine->seen;
    (void)pthread_mutex_unlock(&engine->seen_mutex);
    return seen;
}

static uint64_t tokens_of(const pith_seen *seen, size_t text_len) {
    return seen->bytes < PITH_SLICE_BYTES
               ? (uint64_t)text_len / PITH_BYTES_PER_TOKEN + 1
               : (uint64_t)((double)text_len * (double)seen->tokens / (double)seen->bytes) + 1;
}

/* Nanoseconds that `text_len` bytes take at what took `ns` for all that was seen. A text costs
 * something however short it is: a letter must not say what a byte takes. */
static int64_t time_of(const pith_seen *seen, size_t text_len, uint64_t ns) {
    double bytes = (double)seen->bytes + (double)seen->texts * PITH_TEXT_COST_BYTES;
    return bytes > 0.0 ? (int64_t)((double)text_len * (double)ns / bytes) : 0;
}

static int64_t wait_of(const pith_engine *engine, const pith_seen *seen, pith_priority priority,
                       size_t text_len) {
    uint64_t work[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS];
    for (int c = 0; c < PITH_PRIORITY_COUNT; c++) {
        for (int b = 0; b < PITH_PLAN_BUCKETS; b++) {
            work[c][b] = atomic_load_explicit(&engine->queued_ps[c][b], memory_order_relaxed) +
                         atomic_load_explicit(&engine->coming_ps[c][b], memory_order_relaxed);
        }
    }
    uint32_t budget = (uint32_t)atomic_load(&engine->step_budget);
    uint32_t bucket = pith_plan_bucket(tokens_of(seen, text_len), budget > 0 ? budget : 1);
    return (int64_t)(pith_plan_before(work, priority, bucket) / 1000) +
           time_of(seen, text_len, seen->ingest_ns);
}

int64_t pith_engine_wait(pith_engine *engine, pith_priority priority, size_t text_len) {
    pith_seen seen = seen_of(engine);
    return (unsigned)priority < PITH_PRIORITY_COUNT ? wait_of(engine, &seen, priority, text_len)
                                                    : 0;
}

/* When half of what waits will have gone. */
static int64_t retry_after(int64_t wait_ns) {
    int64_t half = wait_ns / 2;
    return half < PITH_RETRY_NS_MIN   ? PITH_RETRY_NS_MIN
           : half > PITH_RETRY_NS_MAX ? PITH_RETRY_NS_MAX
                                      : half;
}

/* Counts first and looks then, so that no two submitters share the last place. Alone, one text is
 * always let in. */
static pith_refused take_room(pith_engine *engine, size_t text_len, uint64_t tokens) {
    uint32_t jobs = atomic_fetch_add(&engine->jobs_in_flight, 1);
    size_t bytes = atomic_fetch_add(&engine->bytes_in_flight, text_len);
    uint64_t others = atomic_load(&engine->tokens_in_flight);
    if (atomic_load(&engine->draining)) {
        return PITH_REFUSED_DRAINING;
    }
    if (atomic_load(&engine->faulted)) {
        return PITH_REFUSED_FAULT;
    }
    if (jobs >= engine->jobs_max) {
        return PITH_REFUSED_REQUESTS;
    }
    if (jobs > 0 && bytes + text_len > engine->bytes_max) {
        return PITH_REFUSED_BYTES;
    }
    return jobs > 0 && others + tokens > engine->tokens_max ? PITH_REFUSED_TOKENS
                                                            : PITH_REFUSED_NOT;
}

pith_refused pith_admission_reserve(pith_engine *engine, pith_priority priority, size_t text_len,
                                    int64_t deadline_ns, pith_refusal *refusal) {
    pith_seen seen = seen_of(engine);
    pith_refused reason = take_room(engine, text_len, tokens_of(&seen, text_len));
    if (reason == PITH_REFUSED_NOT && deadline_ns == PITH_DEADLINE_NONE) {
        return reason;
    }
    refusal->wait_ns = wait_of(engine, &seen, priority, text_len);
    int64_t now = pith_clock_now(&engine->clock);
    if (reason == PITH_REFUSED_NOT &&
        (deadline_ns <= now || deadline_ns - now < refusal->wait_ns)) {
        reason = PITH_REFUSED_DEADLINE;
    }
    if (reason != PITH_REFUSED_NOT) {
        pith_admission_release(engine, text_len);
        refusal->retry_after_ns = retry_after(refusal->wait_ns);
    }
    return reason;
}

void pith_admission_release(pith_engine *engine, size_t text_len) {
    (void)atomic_fetch_sub(&engine->bytes_in_flight, text_len);
    (void)atomic_fetch_sub(&engine->jobs_in_flight, 1);
}

static void expect(pith_engine *engine, pith_job *job, uint64_t tokens) {
    uint32_t budget = (uint32_t)atomic_load(&engine->step_budget);
    job->tokens = tokens;
    job->coming_bucket = pith_plan_bucket(tokens, budget > 0 ? budget : 1);
    job->coming_ps = tokens * atomic_load(&engine->token_ps);
    (void)atomic_fetch_add(&engine->tokens_in_flight, tokens);
    (void)atomic_fetch_add(&engine->coming_ps[job->opts.priority][job->coming_bucket],
                           job->coming_ps);
}

void pith_admission_expect(pith_engine *engine, pith_job *job) {
    pith_seen seen = seen_of(engine);
    expect(engine, job, tokens_of(&seen, job->request.text_len));
}

void pith_admission_arrived(pith_engine *engine, pith_job *job) {
    (void)atomic_fetch_sub(&engine->coming_ps[job->opts.priority][job->coming_bucket],
                           job->coming_ps);
    job->coming_ps = 0;
}

void pith_admission_correct(pith_engine *engine, pith_job *job) {
    pith_admission_arrived(engine, job);
    (void)atomic_fetch_sub(&engine->tokens_in_flight, job->tokens);
    expect(engine, job, job->doc.n_ids);
    int64_t spent = job->ingest_end_ns - job->ingest_begin_ns;
    (void)pthread_mutex_lock(&engine->seen_mutex);
    pith_seen *seen = &engine->seen;
    if (seen->bytes > SEEN_BYTES_MAX) {
        *seen = (pith_seen){.texts = seen->texts / 2,
                            .bytes = seen->bytes / 2,
                            .tokens = seen->tokens / 2,
                            .ingest_ns = seen->ingest_ns / 2,
                            .finish_ns = seen->finish_ns / 2};
    }
    seen->texts++;
    seen->bytes += job->request.text_len;
    seen->tokens += job->doc.n_ids;
    seen->ingest_ns += spent > 0 ? (uint64_t)spent : 0;
    (void)pthread_mutex_unlock(&engine->seen_mutex);
}

void pith_admission_saw_finish(pith_engine *engine, int64_t ns) {
    (void)pthread_mutex_lock(&engine->seen_mutex);
    engine->seen.finish_ns += ns > 0 ? (uint64_t)ns : 0;
    (void)pthread_mutex_unlock(&engine->seen_mutex);
}

int64_t pith_admission_cut_by(pith_engine *engine, size_t text_len, int64_t deadline_ns) {
    if (deadline_ns == PITH_DEADLINE_NONE) {
        return PITH_DEADLINE_NONE;
    }
    pith_seen seen = seen_of(engine);
    int64_t reserve = PITH_RESERVE_NS + 2 * time_of(&seen, text_len, seen.finish_ns);
    return deadline_ns > INT64_MIN + reserve ? deadline_ns - reserve : INT64_MIN;
}

void pith_admission_over(pith_engine *engine, pith_job *job) {
    pith_counters *counters = &engine->counters;
    pith_admission_arrived(engine, job);
    (void)atomic_fetch_sub(&engine->tokens_in_flight, job->tokens);
    pith_uncount(job->began ? &counters->running : &counters->waiting[job->opts.priority], 1);
    pith_uncount(&counters->in_stage[job->stage], 1);
    pith_admission_release(engine, job->request.text_len);
}
