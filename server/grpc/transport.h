/* The gRPC C core as a server: a completion queue, a poller and its relief, our own accept loop.
 *
 * Owns the listening socket, the core's server and queue, the threads "pith-grpc" (pollers),
 * "pith-accept" and "pith-watchdog", and the list of calls. Open, start, stop, drain and close: one
 * thread, in this order. All methods are generic: a call is seen at its headers, so a flood of
 * calls that never send a message costs nothing per message, and unknown methods are answered. Only
 * identity compression is accepted (the core inflates before it checks the size).
 *
 * The core sees plain text alone: with certificates, TLS ends in a relay between the socket and the
 * core (server/access/relay.h), so that the guards of the accept loop hold there too. */
#ifndef PITH_SERVER_GRPC_TRANSPORT_H
#define PITH_SERVER_GRPC_TRANSPORT_H

#include "runtime/base/status.h"
#include "server/access/certificates.h"
#include "server/grpc/call.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pith_transport pith_transport;

enum { PITH_METHODS_MAX = 32 };

typedef struct pith_method_entry {
    const pith_method *method;
    void *service; /* given back by pith_call_service */
} pith_method_entry;

typedef struct pith_transport_opts {
    const char *listen;               /* "HOST:PORT", "[V6]:PORT", ":PORT"; port 0 picks one */
    pith_certificates *certificates;  /* NULL: plain text */
    const pith_method_entry *methods; /* [n_methods], at most PITH_METHODS_MAX, copied */
    size_t n_methods;
    size_t message_bytes_max; /* of a received message, framing apart */
    uint32_t connections_max;
    uint32_t calls_max;    /* open calls of methods that are not always_served */
    uint32_t streams_max;  /* concurrent calls of one connection */
    size_t quota_bytes;    /* the core's own buffers */
    uint16_t keepalive_ms; /* between two pings of a silent peer; 0: 30 s */
    int64_t send_stall_ns; /* a peer that takes nothing of an answer for so long loses its call */
    /* Looks at a call's headers before its message is read; anything but PITH_OK refuses it with
     * `fault`. A poller thread; NULL: every call is welcome. Not asked of needs_no_key methods. */
    pith_status (*admit)(void *arg, pith_call *call, pith_fault *fault);
    void *admit_arg;
    /* Told of a call that is refused before its message is read, of any method that is not
     * always_served; and of the end of every call, with its gRPC status and the time since its
     * headers. Poller threads; may be NULL. */
    void (*on_refused)(void *arg, pith_call *call, const pith_fault *fault);
    void (*on_end)(void *arg, const pith_method *method, int code, int64_t duration_ns);
    void *watch_arg;
    void (*on_tick)(void *arg); /* a poller thread, twice a second until a drain; may be NULL */
    void *tick_arg;
} pith_transport_opts;

typedef struct pith_transport_stats {
    uint64_t calls;       /* seen */
    uint64_t calls_ended; /* calls == calls_ended + open */
    uint64_t cancelled;   /* before their answer was out */
    uint64_t refused;     /* over calls_max, or draining */
    uint64_t stalled;     /* aborted: their peers did not take the answer */
    uint64_t open;
    uint64_t streams;             /* opened by peers; those beyond `calls` never were accepted */
    uint64_t connections;         /* open now */
    uint64_t connections_refused; /* over connections_max, no file descriptor, no HTTP/2 preface */
    uint64_t connections_cut;     /* abandoned too many calls */
} pith_transport_stats;

/* Binds the address. PITH_INVALID: not an address; PITH_IO: cannot bind, one line with the reason.
 */
PITH_MUST_USE pith_status pith_transport_open(pith_transport **transport,
                                              const pith_transport_opts *opts, pith_err *err);

/* Serves. */
PITH_MUST_USE pith_status pith_transport_start(pith_transport *transport, pith_err *err);

uint16_t pith_transport_port(const pith_transport *transport);
const char *pith_transport_address(const pith_transport *transport); /* "127.0.0.1:50051" */
void pith_transport_read_stats(pith_transport *transport, pith_transport_stats *stats);

/* Serves on for `wait_ns`, or until hurried. */
void pith_transport_linger(pith_transport *transport, int64_t wait_ns);

/* Stops listening. New calls are refused with PITH_UNAVAILABLE, on_drain is called on every open
 * one, and the rest gets `grace_ns` to end; what is left then is cancelled. Returns the number
 * cancelled. */
size_t pith_transport_drain(pith_transport *transport, int64_t grace_ns);

/* Any thread: a drain under way cancels what is open now. */
void pith_transport_hurry(pith_transport *transport);

/* Waits until every call is gone, so its holders must be about to let go; then frees. */
void pith_transport_close(pith_transport *transport);

#endif
