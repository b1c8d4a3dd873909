/* What the server says about its requests: metrics, one log line each, and spans.
 *
 * Every front door (gRPC, OIP, HTTP) tells of each request once, when its answer is known, by
 * pith_observe_request. Counters are atomics and lose nothing; no request text is ever kept. Any
 * thread, never blocks but for the write of the log line. */
#ifndef PITH_SERVER_OBSERVE_OBSERVE_H
#define PITH_SERVER_OBSERVE_OBSERVE_H

#include "runtime/base/status.h"
#include "runtime/engine/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct pith_observe pith_observe;

/* The `method` label: every way in. */
typedef enum pith_entry {
    PITH_ENTRY_COMPRESS,
    PITH_ENTRY_STREAM_COMPRESS, /* an item of a stream */
    PITH_ENTRY_BATCH_COMPRESS,  /* an item of a batch */
    PITH_ENTRY_MODEL_INFER,
    PITH_ENTRY_HTTP_COMPRESS,
    PITH_ENTRY_COUNT
} pith_entry;

enum { PITH_TRACEPARENT_BYTES = 56 }; /* 55 characters (W3C Trace Context 1.0) and a NUL */

/* A request whose answer is known. Everything is borrowed for the call. */
typedef struct pith_request_event {
    pith_entry entry;
    pith_status status;
    const char *reason; /* where the status says too little (rpc_error.h); NULL: its own */
    const char *field;  /* request field at fault; NULL or "": none */
    const void *id;     /* [id_len] the request's id, untrusted */
    size_t id_len;
    size_t text_len;         /* bytes of the text, where it was read */
    int64_t begin_ns;        /* CLOCK_MONOTONIC: the request was whole */
    const pith_reply *reply; /* NULL: refused before the engine took it */
    const char *traceparent; /* NULL or "": none */
} pith_request_event;

/* otlp_url: where spans go, see tracer.h; NULL: nowhere. */
PITH_MUST_USE pith_status pith_observe_open(pith_observe **observe, const char *otlp_url,
                                            pith_err *err);
void pith_observe_close(pith_observe *observe);

/* The engine has loaded. It outlives every page from here on; until then its series are at zero and
 * its state is "loading". */
void pith_observe_set_engine(pith_observe *observe, pith_engine *engine);

/* A drain has begun: pith_drain_seconds counts. */
void pith_observe_set_draining(pith_observe *observe);

/* `observe` may be NULL. */
void pith_observe_request(pith_observe *observe, const pith_request_event *event);

/* A gRPC call of any method has ended. `entry`: its way in, or PITH_RPC_OTHER; `code`: its gRPC
 * status, 0 to 16; `observe` may be NULL. */
enum { PITH_RPC_OTHER = PITH_ENTRY_HTTP_COMPRESS, PITH_RPC_METHODS, PITH_RPC_CODES = 17 };
_Static_assert((int)PITH_RPC_METHODS == (int)PITH_ENTRY_COUNT,
               "the one way in that is no RPC is last");
void pith_observe_rpc(pith_observe *observe, int entry, int code, int64_t duration_ns);

/* Adds gauges of its own to the page; called for every page, with the lock of none held. */
typedef void (*pith_metrics_source)(void *arg, FILE *out);
enum { PITH_METRICS_SOURCES_MAX = 8 };

/* Before the first page. False when the table is full. */
bool pith_observe_add_source(pith_observe *observe, pith_metrics_source source, void *arg);

/* The page in Prometheus text format 0.0.4: malloc'd, NULL when memory is short. */
char *pith_observe_metrics(pith_observe *observe, size_t *len);

#endif
