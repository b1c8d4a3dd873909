#include "server/observe/observe.h"

#include "server/observe/observe_internal.h"

#include <stdlib.h>

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

pith_status pith_observe_open(pith_observe **observe, pith_engine *engine, pith_err *err) {
    *observe = calloc(1, sizeof **observe);
    if (*observe == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the metrics");
    }
    (*observe)->engine = engine;
    for (int e = 0; e < PITH_ENTRY_COUNT; e++) {
        pith_histogram_init(&(*observe)->duration[e], &pith_histogram_seconds);
    }
    return PITH_OK;
}

void pith_observe_close(pith_observe *observe) {
    free(observe);
}

void pith_observe_request(pith_observe *observe, const pith_request_event *event) {
    if (observe == NULL) {
        return;
    }
    bool known = (int)event->status >= 0 && event->status < PITH_STATUS_COUNT;
    int64_t duration_ns = pith_clock_now(&pith_clock_system) - event->begin_ns;
    (void)atomic_fetch_add_explicit(
        &observe->requests[event->entry][known ? event->status : PITH_INTERNAL], 1,
        memory_order_relaxed);
    pith_histogram_add(&observe->duration[event->entry],
                       duration_ns < 0 ? 0 : (uint64_t)duration_ns);
    pith_trace_context trace;
    (void)pith_trace_context_parse(event->traceparent, &trace);
    pith_access_log(event, &trace, duration_ns);
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
