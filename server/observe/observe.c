#include "server/observe/observe.h"

#include "server/grpc/rpc_error.h"
#include "server/observe/observe_internal.h"

#include <stdlib.h>
#include <time.h>

const char *pith_entry_name(pith_entry entry) {
    static const char *const names[PITH_ENTRY_COUNT] = {
        [PITH_ENTRY_COMPRESS] = "pith.v1.CompressionService/Compress",
        [PITH_ENTRY_STREAM_COMPRESS] = "pith.v1.CompressionService/StreamCompress",
        [PITH_ENTRY_BATCH_COMPRESS] = "pith.v1.CompressionService/BatchCompress",
        [PITH_ENTRY_MODEL_INFER] = "inference.GRPCInferenceService/ModelInfer",
        [PITH_ENTRY_HTTP_COMPRESS] = "POST /compress",
    };
    return names[entry];
}

/* Nanoseconds: few, as each method has a histogram a status. */
static const pith_histogram_bounds rpc_bounds = {
    .n = 8,
    .upper = {1000000, 5000000, 25000000, 100000000, 500000000, 2500000000, 10000000000,
              60000000000},
};

pith_status pith_observe_open(pith_observe **observe, const char *otlp_url, pith_err *err) {
    *observe = NULL;
    pith_observe *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the metrics");
    }
    for (int e = 0; e < PITH_ENTRY_COUNT; e++) {
        pith_histogram_init(&made->duration[e], &pith_histogram_seconds);
    }
    for (int m = 0; m < PITH_RPC_METHODS; m++) {
        for (int code = 0; code < PITH_RPC_CODES; code++) {
            pith_histogram_init(&made->rpc[m][code], &rpc_bounds);
        }
    }
    pith_status status =
        otlp_url == NULL ? PITH_OK : pith_tracer_open(&made->tracer, otlp_url, err);
    if (status != PITH_OK) {
        pith_observe_close(made);
        return status;
    }
    *observe = made;
    return PITH_OK;
}

void pith_observe_close(pith_observe *observe) {
    if (observe != NULL) {
        pith_tracer_close(observe->tracer);
        free(observe);
    }
}

void pith_observe_set_engine(pith_observe *observe, pith_engine *engine) {
    atomic_store_explicit(&observe->engine, engine, memory_order_release);
}

void pith_observe_set_draining(pith_observe *observe) {
    atomic_store(&observe->draining_since_ns, pith_clock_now(&pith_clock_system));
}

void pith_observe_rpc(pith_observe *observe, int entry, int code, int64_t duration_ns) {
    bool known = entry >= 0 && entry < PITH_RPC_METHODS && code >= 0 && code < PITH_RPC_CODES;
    if (observe != NULL && known) {
        pith_histogram_add(&observe->rpc[entry][code], duration_ns < 0 ? 0 : (uint64_t)duration_ns);
    }
}

/* A failure of ours, not a refusal of what the peer sent or of more than there is room for. */
static bool is_failure(pith_status status) {
    return status == PITH_IO || status == PITH_CORRUPT || status == PITH_INTERNAL ||
           status == PITH_NO_MEMORY || status == PITH_UNAVAILABLE;
}

static void trace(pith_observe *observe, const pith_request_event *event,
                  const pith_trace_context *parent, int64_t duration_ns) {
    if (observe->tracer == NULL) {
        return;
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    pith_span span = {
        .parent = *parent,
        .name = pith_entry_name(event->entry),
        .code = pith_rpc_code_name((int)pith_rpc_code_of(event->status)),
        .failed = is_failure(event->status),
        .end_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
        .duration_ns = duration_ns,
        .text_bytes = event->text_len,
    };
    pith_copy_id(span.request_id, sizeof span.request_id, event->id, event->id_len);
    if (event->reply != NULL && event->reply->result != NULL) {
        span.input_tokens = event->reply->result->input_tokens;
        span.kept_tokens = event->reply->result->kept_tokens;
        span.queue_ns = event->reply->timing.queue_ns;
        span.tokenize_ns = event->reply->timing.tokenize_ns;
        span.model_ns = event->reply->timing.model_ns;
        span.finish_ns = event->reply->timing.finish_ns;
    }
    pith_tracer_add(observe->tracer, &span);
}

void pith_observe_request(pith_observe *observe, const pith_request_event *event) {
    if (observe == NULL) {
        return;
    }
    int64_t duration_ns = pith_clock_now(&pith_clock_system) - event->begin_ns;
    (void)atomic_fetch_add_explicit(
        &observe->requests[event->entry][pith_rpc_cause_of(event->status, event->reason)], 1,
        memory_order_relaxed);
    pith_histogram_add(&observe->duration[event->entry],
                       duration_ns < 0 ? 0 : (uint64_t)duration_ns);
    pith_trace_context parent;
    (void)pith_trace_context_parse(event->traceparent, &parent);
    pith_access_log(event, &parent, duration_ns);
    trace(observe, event, &parent, duration_ns);
}

bool pith_observe_add_source(pith_observe *observe, pith_metrics_source source, void *arg) {
    if (observe->n_sources == PITH_METRICS_SOURCES_MAX) {
        return false;
    }
    observe->sources[observe->n_sources].write = source;
    observe->sources[observe->n_sources++].arg = arg;
    return true;
}

char *pith_observe_metrics(pith_observe *observe, size_t *len) {
    char *page = NULL;
    FILE *out = open_memstream(&page, len);
    if (out == NULL) {
        return NULL;
    }
    pith_observe_write_page(observe, out);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(page);
        return NULL;
    }
    return page;
}
