/* Shared by the files of server/observe. */
#ifndef PITH_SERVER_OBSERVE_OBSERVE_INTERNAL_H
#define PITH_SERVER_OBSERVE_OBSERVE_INTERNAL_H

#include "runtime/base/histogram.h"
#include "server/grpc/rpc_error.h"
#include "server/observe/observe.h"
#include "server/observe/trace_context.h"
#include "server/observe/tracer.h"

#include <stdatomic.h>

struct pith_observe {
    _Atomic(pith_engine *) engine;         /* NULL while it loads */
    atomic_int_fast64_t draining_since_ns; /* 0: no drain */
    pith_tracer *tracer;                   /* NULL without --otlp */
    atomic_uint_fast64_t requests[PITH_ENTRY_COUNT][PITH_RPC_CAUSES];
    pith_histogram duration[PITH_ENTRY_COUNT];
    pith_histogram rpc[PITH_RPC_METHODS][PITH_RPC_CODES];
    struct {
        pith_metrics_source write;
        void *arg;
    } sources[PITH_METRICS_SOURCES_MAX];
    size_t n_sources;
};

/* "pith.v1.CompressionService/Compress" and so on. */
const char *pith_entry_name(pith_entry entry);

/* metrics.c */
void pith_observe_write_page(pith_observe *observe, FILE *out);

/* access_log.c */
/* Untrusted bytes as printable ASCII that needs no escape in JSON; others become '?'. */
void pith_copy_id(char *out, size_t size, const void *id, size_t len);
void pith_access_log(const pith_request_event *event, const pith_trace_context *trace,
                     int64_t duration_ns);

#endif
