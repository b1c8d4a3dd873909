/* Spans to an OpenTelemetry collector: OTLP/HTTP 1.x with JSON bodies.
 *
 * Owns a bounded table of spans and the thread "pith-otlp", which sends what is there every second.
 * A request adds a span and goes on: when the table is full, or the collector does not take a batch
 * within its time, spans are dropped and counted. Any thread. */
#ifndef PITH_SERVER_OBSERVE_TRACER_H
#define PITH_SERVER_OBSERVE_TRACER_H

#include "runtime/base/status.h"
#include "server/observe/trace_context.h"

#include <stdint.h>
#include <stdio.h>

typedef struct pith_tracer pith_tracer;

enum {
    PITH_TRACER_SPANS_MAX = 4096, /* that wait; 1.5 MB */
    PITH_SPAN_ID_TEXT_BYTES = 129 /* of the request's id */
};

/* One request, plain data. */
typedef struct pith_span {
    pith_trace_context parent; /* empty: a trace of its own */
    const char *name;          /* a constant */
    const char *code;          /* gRPC code name, a constant */
    bool failed;               /* of our making: not a refusal of what the peer sent */
    int64_t end_ns;            /* CLOCK_REALTIME */
    int64_t duration_ns;
    int64_t queue_ns;
    int64_t tokenize_ns;
    int64_t model_ns;
    int64_t finish_ns;
    uint64_t text_bytes;
    uint32_t input_tokens;
    uint32_t kept_tokens;
    char request_id[PITH_SPAN_ID_TEXT_BYTES]; /* printable ASCII */
} pith_span;

/* `url` of the collector, "http://127.0.0.1:4318": "/v1/traces" is added where it has no path.
 * PITH_INVALID: not an http or https URL. */
PITH_MUST_USE pith_status pith_tracer_open(pith_tracer **tracer, const char *url, pith_err *err);

/* Sends what is there once more, for two seconds at most. */
void pith_tracer_close(pith_tracer *tracer);

/* `tracer` may be NULL. A span whose parent is not sampled is left out. */
void pith_tracer_add(pith_tracer *tracer, const pith_span *span);

/* Counters for the metrics page; all zero for NULL. */
void pith_tracer_write_metrics(pith_tracer *tracer, FILE *out);

#endif
