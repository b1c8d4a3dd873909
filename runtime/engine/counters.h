/* The engine's counters: written by every stage, read for a snapshot. */
#ifndef PITH_ENGINE_COUNTERS_H
#define PITH_ENGINE_COUNTERS_H

#include "runtime/engine/engine.h"

#include <stdatomic.h>

typedef atomic_uint_fast64_t pith_counter;

static inline void pith_count(pith_counter *counter, uint64_t n) {
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline void pith_uncount(pith_counter *counter, uint64_t n) {
    (void)atomic_fetch_sub_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t pith_counted(const pith_counter *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

typedef struct pith_counters {
    pith_counter accepted, answered, rejected;
    pith_counter outcomes[PITH_STATUS_COUNT];
    pith_counter refusals[PITH_REFUSED_COUNT];
    pith_counter passes[PITH_PASS_COUNT];
    pith_counter partial, unscored_words;
    pith_counter input_bytes, input_tokens, kept_tokens, critical_total, critical_kept;
    pith_counter steps, steps_failed, steps_aside, step_tokens;
    pith_counter in_stage[PITH_STAGE_COUNT];
    pith_counter waiting[PITH_PRIORITY_COUNT];
    pith_counter running, steps_running;
    pith_histogram queue_ns, ingest_ns, compute_ns, finish_ns, total_ns;
    pith_histogram step_ns, batch_tokens, batch_size;
} pith_counters;

void pith_counters_init(pith_counters *counters);

/* Counts a job of text_len bytes as answered; in-flight gauges are the caller's. */
void pith_counters_answered(pith_counters *counters, const pith_reply *reply, size_t text_len);

/* Fills the counters and histograms of a snapshot. */
void pith_counters_read(const pith_counters *counters, pith_engine_stats *stats);

#endif
