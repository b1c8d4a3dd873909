/* Pith's gRPC server: compression, health and reflection on one port, health alone on another.
 *
 *   open  -> binds (a port in use shows here), nothing is served
 *   start -> serves; health says SERVING once there is an engine
 *   drain -> no new calls, open ones end; then
 *   close -> waits for the last answers of the engine, frees
 *
 * Owns its sockets and three threads ("pith-accept", "pith-grpc", "pith-watchdog"); borrows the
 * engine, which must stay open until close has returned, or be closed before it (its last answers
 * are then out). Calls of this API come from one thread, but for hurry and read_stats. Signals are
 * main's: block them before open, so that the core's threads inherit the mask, and ignore SIGPIPE.
 * No fork after open.
 */
#ifndef PITH_SERVER_GRPC_SERVER_H
#define PITH_SERVER_GRPC_SERVER_H

#include "runtime/base/status.h"
#include "runtime/engine/engine.h"
#include "server/access/certificates.h"
#include "server/access/keys.h"
#include "server/observe/observe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_grpc_server pith_grpc_server;

/* Zero stands for the default of every number. */
typedef struct pith_grpc_opts {
    const char *listen;        /* "127.0.0.1:50051", "[::1]:0", ":50051"; port 0 picks one */
    const char *health_listen; /* a second port for health alone, plain, without keys; NULL: none */
    pith_engine *engine;       /* NULL: set_ready brings it */
    pith_observe *observe;     /* is told of every request, and shows our counts; NULL: nobody */
    pith_certificates *certificates; /* of `listen`, watched for changes; NULL: plain text */
    pith_keys *keys;                 /* who may call, all but health; NULL: anybody */
    size_t text_bytes_max;           /* 16 MiB; a message may be 64 KiB longer */
    uint32_t max_connections;        /* 1024; fewer when file descriptors are short */
    uint32_t calls_max;              /* open Compress and StreamCompress calls: 16384 */
    uint32_t stream_items_max;       /* items open or unsent in one stream: 64 */
    bool fold_repeats;               /* of every request in the faithful profile */
    uint16_t keepalive_ms;           /* between two pings of a peer that is silent: 30 s */
    int64_t send_stall_ns; /* a peer that takes nothing of its answer loses the call: 60 s */
    int64_t lame_duck_ns;  /* of a drain: NOT_SERVING, still accepting: 500 ms */
} pith_grpc_opts;

typedef struct pith_grpc_stats {
    uint64_t calls; /* calls == calls_ended + calls_open */
    uint64_t calls_ended;
    uint64_t calls_open;
    uint64_t calls_cancelled; /* by the peer, its deadline or the drain, before their answer */
    uint64_t calls_refused;   /* over calls_max, without a key, or draining */
    uint64_t calls_stalled;   /* whose peers did not read */
    uint64_t streams;         /* opened by peers; streams - calls were never accepted */
    uint64_t connections;
    uint64_t connections_refused;
    uint64_t connections_cut; /* opened and dropped too many calls */
} pith_grpc_stats;

/* PITH_INVALID: `listen` is no address; PITH_IO: it cannot be bound, in one line. */
PITH_MUST_USE pith_status pith_grpc_server_open(pith_grpc_server **server,
                                                const pith_grpc_opts *opts, pith_err *err);
PITH_MUST_USE pith_status pith_grpc_server_start(pith_grpc_server *server, pith_err *err);

/* The engine has loaded and warmed up. Until then health says NOT_SERVING and every other call is
 * refused with UNAVAILABLE. The engine is borrowed. */
void pith_grpc_server_set_ready(pith_grpc_server *server, pith_engine *engine);

uint16_t pith_grpc_server_port(const pith_grpc_server *server);
const char *pith_grpc_server_address(const pith_grpc_server *server);        /* "127.0.0.1:50051" */
const char *pith_grpc_server_health_address(const pith_grpc_server *server); /* NULL: none */
void pith_grpc_server_read_stats(pith_grpc_server *server, pith_grpc_stats *stats);

/* Health says NOT_SERVING; after the lame duck, the time for routers to notice, no call is taken
 * and open ones get `grace_ms` to end. Returns how many were cut because it ran out. Blocks. */
size_t pith_grpc_server_drain(pith_grpc_server *server, uint32_t grace_ms);

/* Any thread: a drain stops waiting and cuts what is open (a second SIGTERM). */
void pith_grpc_server_hurry(pith_grpc_server *server);

void pith_grpc_server_close(pith_grpc_server *server);

#endif
