/* Pith's HTTP port: the drop-in compression endpoint, metrics, probes and the list of models.
 *
 *   POST /compress   {"content": text, "target_ratio": number or null} ->
 *                    {"compressed", "original_tokens", "compressed_tokens", "compression_ratio",
 *                    "model_used"}; tokens are white-space words, the ratio kept / total words
 *   GET  /metrics    Prometheus text format 0.0.4
 *   GET  /livez      200 while the process should be left alone, or 503
 *   GET  /readyz     200 while calls should be sent here, or 503
 *   GET  /v1/models  the loaded models
 *
 * Owns its listening socket, a poll thread (libmicrohttpd's), a thread that watches connections
 * ("pith-http"), and every open exchange; borrows the engine. No thread waits for a text: the
 * connection is suspended until the engine answers. Bounds: connections, bytes of a header block,
 * of a body and of all bodies together, time until a request is whole, until an answer is read, and
 * until the engine answers. A peer that closes its connection has its job cancelled. Open, start,
 * drain and close: one thread, in this order. */
#ifndef PITH_SERVER_HTTP_HTTP_H
#define PITH_SERVER_HTTP_HTTP_H

#include "runtime/base/status.h"
#include "runtime/engine/engine.h"
#include "server/access/certificates.h"
#include "server/access/keys.h"
#include "server/observe/observe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_http_server pith_http_server;

/* Zero stands for the default of every number. */
typedef struct pith_http_opts {
    const char *listen;    /* "127.0.0.1:8080", "[::1]:0", ":8080"; port 0 picks one */
    pith_engine *engine;   /* NULL: set_ready brings it; until then /readyz and /compress say 503 */
    pith_observe *observe; /* NULL: none, and /metrics is not found; shows our counts */
    pith_keys *keys;       /* NULL: anybody may call; probes and /metrics never need one */
    pith_certificates *certificates; /* NULL: plain text; borrowed */
    pith_profile profile;            /* of /compress */
    bool fold_repeats;               /* of /compress in the faithful profile */
    size_t text_bytes_max;           /* 16 MiB */
    uint32_t max_connections;        /* 256 */
    int64_t
        receive_ns;    /* from a connection's start, or its last answer, to a whole request: 30 s */
    int64_t send_ns;   /* for the peer to take an answer: 60 s */
    int64_t answer_ns; /* for the engine; what it has not scored by then passes unchanged: 20 s */
} pith_http_opts;

typedef struct pith_http_stats {
    uint64_t connections;     /* open now */
    uint64_t connections_cut; /* too slow to send a request or to read an answer */
    uint64_t waiting;         /* exchanges that wait for the engine */
    uint64_t gone;            /* peers that left before their answer */
} pith_http_stats;

/* PITH_INVALID: `listen` is no address; PITH_IO: it cannot be bound, in one line. */
PITH_MUST_USE pith_status pith_http_open(pith_http_server **server, const pith_http_opts *opts,
                                         pith_err *err);
PITH_MUST_USE pith_status pith_http_start(pith_http_server *server, pith_err *err);

/* The engine has loaded and warmed up; it is borrowed. */
void pith_http_set_ready(pith_http_server *server, pith_engine *engine);

const char *pith_http_address(const pith_http_server *server); /* "127.0.0.1:8080" */
uint16_t pith_http_port(const pith_http_server *server);
void pith_http_read_stats(pith_http_server *server, pith_http_stats *stats);

/* /readyz says 503 from now on; everything is still served, while routers notice. */
void pith_http_lame_duck(pith_http_server *server);

/* Stops listening; open connections are answered 503 unless their text is in the engine. Gives
 * those `grace_ms`, then cancels them. Returns how many were cut. Blocks. */
size_t pith_http_drain(pith_http_server *server, uint32_t grace_ms);

/* Any thread: a drain stops waiting. */
void pith_http_hurry(pith_http_server *server);

void pith_http_close(pith_http_server *server);

#endif
