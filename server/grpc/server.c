#include "server/grpc/server.h"

#include "runtime/base/clock.h"
#include "server/grpc/compression.h"
#include "server/grpc/health.h"
#include "server/grpc/item.h"
#include "server/grpc/oip.h"
#include "server/grpc/reflection.h"
#include "server/grpc/transport.h"
#include "server/observe/metrics.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    TEXT_BYTES_DEFAULT = 16 * 1024 * 1024,
    MESSAGE_EXTRA_BYTES = 64 * 1024, /* fields besides the text: keep ranges, question, id */
    CONNECTIONS_DEFAULT = 1024,
    CALLS_DEFAULT = 16384,
    STREAMS_PER_CONNECTION = 1024, /* ghz and Go clients open one stream per call in flight */
    STREAM_ITEMS_DEFAULT = 64,
    /* A probe asks for a name. A kubelet and a few operators are all who ask. */
    PROBE_BYTES_MAX = 4096,
    PROBE_CONNECTIONS = 64,
    PROBE_STREAMS = 16,
    PROBE_QUOTA_BYTES = 4 << 20
};

#define MS_NS                 INT64_C(1000000)
#define LAME_DUCK_DEFAULT_NS  (500 * MS_NS)
#define SEND_STALL_DEFAULT_NS (60000 * MS_NS)

/* The core's receive buffers. Two texts of the greatest size on each of 32 connections; a smaller
 * quota fails calls that would have succeeded a moment later. */
#define QUOTA_BYTES ((size_t)1 << 30)

/* Of cmake/proto.cmake. */
extern const unsigned char pith_descriptor_set[];
extern const unsigned long pith_descriptor_set_len;

static const char *const service_names[] = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "pith.v1.CompressionService",
};

struct pith_grpc_server {
    pith_grpc_opts opts;
    pith_compression compression;
    pith_health *health;
    pith_reflection *reflection;
    pith_transport *transport;
    pith_transport *probes; /* the plain-text port of health alone, or NULL */
    atomic_bool ready;
};

/* On a poller thread. Who watches health is told of the engine's state. */
static void on_tick(void *arg) {
    pith_grpc_server *server = arg;
    pith_health_look(server->health);
    pith_certificates_look(server->opts.certificates, pith_clock_now(&pith_clock_system));
}

/* Before a call's message is read: does it show a key, and is there an engine? */
static pith_status admit(void *arg, pith_call *call, pith_fault *fault) {
    const pith_grpc_server *server = arg;
    if (server->opts.keys != NULL) {
        size_t len;
        const char *header = pith_call_header(call, "authorization", &len);
        int key = pith_keys_find(server->opts.keys, header, len);
        if (key == PITH_KEY_NONE) {
            return pith_fault_set(
                fault, PITH_NO_KEY, NULL,
                "expected \"authorization: Bearer KEY\" with a key that is known");
        }
        pith_call_set_key(call, key);
    }
    if (!atomic_load_explicit(&server->ready, memory_order_acquire)) {
        (void)pith_fault_set(fault, PITH_UNAVAILABLE, NULL, "the model is being loaded");
        fault->reason = "LOADING";
        return PITH_UNAVAILABLE;
    }
    return PITH_OK;
}

/* The way in that a method is, or PITH_RPC_OTHER. */
static int entry_of(const pith_method *method) {
    static const pith_method *const methods[] = {
        [PITH_ENTRY_COMPRESS] = &pith_method_compress,
        [PITH_ENTRY_STREAM_COMPRESS] = &pith_method_stream_compress,
        [PITH_ENTRY_BATCH_COMPRESS] = &pith_method_batch_compress,
        [PITH_ENTRY_MODEL_INFER] = &pith_method_model_infer,
    };
    int entry = 0;
    while (entry < PITH_RPC_OTHER && methods[entry] != method) {
        entry++;
    }
    return entry;
}

static void on_refused(void *arg, pith_call *call, const pith_fault *fault) {
    (void)arg;
    int entry = entry_of(pith_call_method(call));
    if (entry != PITH_RPC_OTHER) {
        pith_refusal_observe(call, (pith_entry)entry, fault, NULL, 0,
                             pith_clock_now(&pith_clock_system));
    }
}

static void on_end(void *arg, const pith_method *method, int code, int64_t duration_ns) {
    const pith_grpc_server *server = arg;
    pith_observe_rpc(server->opts.observe, entry_of(method), code, duration_ns);
}

static void set_defaults(pith_grpc_opts *o) {
    o->text_bytes_max = o->text_bytes_max == 0 ? TEXT_BYTES_DEFAULT : o->text_bytes_max;
    o->max_connections = o->max_connections == 0 ? CONNECTIONS_DEFAULT : o->max_connections;
    o->calls_max = o->calls_max == 0 ? CALLS_DEFAULT : o->calls_max;
    o->stream_items_max = o->stream_items_max == 0 ? STREAM_ITEMS_DEFAULT : o->stream_items_max;
    o->lame_duck_ns = o->lame_duck_ns == 0 ? LAME_DUCK_DEFAULT_NS : o->lame_duck_ns;
    o->send_stall_ns = o->send_stall_ns == 0 ? SEND_STALL_DEFAULT_NS : o->send_stall_ns;
}

static pith_status open_transport(pith_grpc_server *server, pith_err *err) {
    const pith_grpc_opts *o = &server->opts;
    const pith_method_entry methods[] = {
        {&pith_method_compress, &server->compression},
        {&pith_method_batch_compress, &server->compression},
        {&pith_method_stream_compress, &server->compression},
        {&pith_method_server_live, &server->compression},
        {&pith_method_server_ready, &server->compression},
        {&pith_method_model_ready, &server->compression},
        {&pith_method_server_metadata, &server->compression},
        {&pith_method_model_metadata, &server->compression},
        {&pith_method_model_infer, &server->compression},
        {&pith_method_health_check, server->health},
        {&pith_method_health_list, server->health},
        {&pith_method_health_watch, server->health},
        {&pith_method_reflection_v1, server->reflection},
        {&pith_method_reflection_v1alpha, server->reflection},
    };
    const pith_transport_opts transport = {
        .listen = o->listen,
        .certificates = o->certificates,
        .methods = methods,
        .n_methods = sizeof methods / sizeof methods[0],
        .message_bytes_max = o->text_bytes_max + MESSAGE_EXTRA_BYTES,
        .connections_max = o->max_connections,
        .calls_max = o->calls_max,
        .streams_max = STREAMS_PER_CONNECTION,
        .quota_bytes = QUOTA_BYTES,
        .keepalive_ms = o->keepalive_ms,
        .send_stall_ns = o->send_stall_ns,
        .admit = admit,
        .admit_arg = server,
        .on_refused = on_refused,
        .on_end = on_end,
        .watch_arg = server,
        .on_tick = on_tick,
        .tick_arg = server,
    };
    return pith_transport_open(&server->transport, &transport, err);
}

/* Its own transport: what keeps the other's threads busy does not keep a probe waiting. */
static pith_status open_probes(pith_grpc_server *server, pith_err *err) {
    const pith_method_entry methods[] = {
        {&pith_method_health_check, server->health},
        {&pith_method_health_list, server->health},
        {&pith_method_health_watch, server->health},
    };
    const pith_transport_opts probes = {
        .listen = server->opts.health_listen,
        .methods = methods,
        .n_methods = sizeof methods / sizeof methods[0],
        .message_bytes_max = PROBE_BYTES_MAX,
        .connections_max = PROBE_CONNECTIONS,
        .calls_max = PROBE_CONNECTIONS,
        .streams_max = PROBE_STREAMS,
        .quota_bytes = PROBE_QUOTA_BYTES,
        .send_stall_ns = server->opts.send_stall_ns,
    };
    return pith_transport_open(&server->probes, &probes, err);
}

/* Our part of the page of metrics. */
static void write_metrics(void *arg, FILE *out) {
    pith_grpc_stats s;
    pith_grpc_server_read_stats(arg, &s);
    pith_metric_counter(out, "pith_grpc_streams_total", "HTTP/2 streams that peers opened.",
                        s.streams);
    pith_metric_counter(out, "pith_grpc_calls_total", "Calls that came out of them.", s.calls);
    pith_metric_counter(out, "pith_grpc_calls_ended_total", "Calls that are over.", s.calls_ended);
    pith_metric_gauge(out, "pith_grpc_calls_open", "Calls that are not.", (double)s.calls_open);
    pith_metric_counter(out, "pith_grpc_calls_cancelled_total",
                        "Calls that ended before their answer was out.", s.calls_cancelled);
    pith_metric_counter(out, "pith_grpc_calls_refused_total",
                        "Calls refused before their message was read.", s.calls_refused);
    pith_metric_counter(out, "pith_grpc_calls_stalled_total",
                        "Calls ended because their peer did not read.", s.calls_stalled);
    pith_metric_gauge(out, "pith_grpc_connections", "Open connections.", (double)s.connections);
    pith_metric_counter(out, "pith_grpc_connections_refused_total",
                        "Connections over the cap, or without a preface or a handshake.",
                        s.connections_refused);
    pith_metric_counter(out, "pith_grpc_connections_cut_total", "Connections cut for a flood.",
                        s.connections_cut);
}

pith_status pith_grpc_server_open(pith_grpc_server **server, const pith_grpc_opts *opts,
                                  pith_err *err) {
    *server = NULL;
    pith_grpc_server *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the server");
    }
    made->opts = *opts;
    set_defaults(&made->opts);
    made->compression = (pith_compression){
        .engine = opts->engine,
        .observe = opts->observe,
        .keys = opts->keys,
        .text_bytes_max = made->opts.text_bytes_max,
        .stream_items_max = made->opts.stream_items_max,
        .stream_bytes_max = 4 * made->opts.text_bytes_max,
        .fold_repeats = made->opts.fold_repeats,
    };
    pith_status status = pith_health_open(&made->health, err);
    if (status == PITH_OK) {
        status = pith_reflection_open(&made->reflection, pith_descriptor_set,
                                      pith_descriptor_set_len, service_names,
                                      sizeof service_names / sizeof service_names[0], err);
    }
    if (status == PITH_OK) {
        status = open_transport(made, err);
    }
    if (status == PITH_OK && opts->health_listen != NULL) {
        status = open_probes(made, err);
    }
    if (status == PITH_OK && opts->observe != NULL &&
        !pith_observe_add_source(opts->observe, write_metrics, made)) {
        status = pith_fail(err, PITH_EXHAUSTED, "no room for another source of metrics");
    }
    if (status != PITH_OK) {
        pith_grpc_server_close(made);
        return status;
    }
    *server = made;
    return PITH_OK;
}

pith_status pith_grpc_server_start(pith_grpc_server *server, pith_err *err) {
    if (server->opts.engine != NULL) {
        pith_grpc_server_set_ready(server, server->opts.engine);
    }
    pith_status status = PITH_OK;
    if (server->probes != NULL) {
        status = pith_transport_start(server->probes, err);
    }
    return status == PITH_OK ? pith_transport_start(server->transport, err) : status;
}

void pith_grpc_server_set_ready(pith_grpc_server *server, pith_engine *engine) {
    server->compression.engine = engine;
    atomic_store_explicit(&server->compression.loaded, true, memory_order_release);
    atomic_store_explicit(&server->ready, true,
                          memory_order_release); /* orders the engine before it */
    pith_health_set_ready(server->health, engine);
}

const char *pith_grpc_server_health_address(const pith_grpc_server *server) {
    return server->probes == NULL ? NULL : pith_transport_address(server->probes);
}

uint16_t pith_grpc_server_port(const pith_grpc_server *server) {
    return pith_transport_port(server->transport);
}

const char *pith_grpc_server_address(const pith_grpc_server *server) {
    return pith_transport_address(server->transport);
}

void pith_grpc_server_read_stats(pith_grpc_server *server, pith_grpc_stats *stats) {
    pith_transport_stats t;
    pith_transport_read_stats(server->transport, &t);
    *stats = (pith_grpc_stats){
        .calls = t.calls,
        .calls_ended = t.calls_ended,
        .calls_open = t.open,
        .calls_cancelled = t.cancelled,
        .calls_refused = t.refused,
        .calls_stalled = t.stalled,
        .streams = t.streams,
        .connections = t.connections,
        .connections_refused = t.connections_refused,
        .connections_cut = t.connections_cut,
    };
}

size_t pith_grpc_server_drain(pith_grpc_server *server, uint32_t grace_ms) {
    atomic_store(&server->compression.leaving, true);
    pith_health_set_draining(server->health);
    pith_transport_linger(server->transport, server->opts.lame_duck_ns);
    pith_health_end_watches(server->health);
    size_t cut = pith_transport_drain(server->transport, grace_ms * MS_NS);
    if (server->probes != NULL) { /* last: until here a probe is told that the process lives */
        (void)pith_transport_drain(server->probes, 0);
    }
    return cut;
}

void pith_grpc_server_hurry(pith_grpc_server *server) {
    pith_transport_hurry(server->transport);
}

void pith_grpc_server_close(pith_grpc_server *server) {
    if (server == NULL) {
        return;
    }
    if (server->transport != NULL) {
        pith_health_set_draining(server->health);
        pith_health_end_watches(server->health);
        pith_transport_close(server->transport);
        pith_transport_close(server->probes);
    }
    pith_reflection_close(server->reflection);
    pith_health_close(server->health);
    free(server);
}
