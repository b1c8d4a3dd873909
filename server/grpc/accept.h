/* Accept loop of the plain port: the guards that the core's own listener does not have.
 *
 * Owns the listening socket, a spare file descriptor, one thread, and a watch (a dup) on every
 * connection it has handed to the core. It caps connections, survives running out of file
 * descriptors, lets through only peers that open with the HTTP/2 preface within 5 s, and cuts a
 * connection whose frames are a flood (tap.h) or that keeps abandoning calls right after opening
 * them. The core owns a connection once it has it, and names it "fd:N" as a peer: that leads back
 * to the connection. */
#ifndef PITH_SERVER_GRPC_ACCEPT_H
#define PITH_SERVER_GRPC_ACCEPT_H

#include "runtime/base/status.h"
#include "server/access/certificates.h"

#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pith_accept pith_accept;

enum { PITH_LISTEN_TEXT_BYTES = 80 }; /* "[" 45 bytes of IPv6 and 16 of scope "]:65535" */

/* A thread's stay inside the core: pith_stay_begin, with the time, before the call, pith_stay_end
 * after. */
typedef struct pith_stay {
    atomic_int_fast64_t since_ns; /* 0: outside */
    int64_t reads_since_ns;       /* the thread's own: it reads sockets since then; 0: not yet */
    void (*on_long)(void *arg);   /* or NULL: it has read for PITH_RELIEF_NS, and reads on */
    void *arg;
} pith_stay;

/* An honest upload of some MB is read in less; what waits for the relief meanwhile, waits no longer
 * than for a text's ingest. */
#define PITH_RELIEF_NS INT64_C(2000000)

void pith_stay_begin(pith_stay *stay, int64_t now_ns);
void pith_stay_end(pith_stay *stay);
/* The calling thread has read a socket, perhaps within a stay. */
void pith_stay_read(int64_t now_ns);

typedef struct pith_accept_stats {
    uint64_t open;
    uint64_t refused; /* over the cap, no preface, no handshake */
    uint64_t cut;     /* by a guard, or when a drain's time was over */
    uint64_t streams; /* opened by peers; those that a drain or a cut overtook never were calls */
} pith_accept_stats;

/* Binds `listen` ("HOST:PORT", "[V6]:PORT", ":PORT"). With `certificates` (borrowed; NULL: plain
 * text) peers speak TLS, which ends in a relay before any of the guards. `connections_max` is
 * lowered to what the limit on file descriptors allows. PITH_INVALID: not an address; PITH_IO:
 * cannot bind. */
PITH_MUST_USE pith_status pith_accept_open(pith_accept **accept, const char *listen,
                                           uint32_t connections_max,
                                           pith_certificates *certificates, pith_err *err);
PITH_MUST_USE pith_status pith_accept_start(pith_accept *accept, grpc_server *server,
                                            pith_err *err);
void pith_accept_stop(pith_accept *accept); /* joins the thread, closes the listening socket */
void pith_accept_close(pith_accept *accept);

uint16_t pith_accept_port(const pith_accept *accept);
const char *pith_accept_address(const pith_accept *accept);

/* A call of `peer` ended before its answer, shortly after it began. Any thread. */
void pith_accept_abandoned(pith_accept *accept, const char *peer);
/* The accept thread's stay: handing a socket over lets the core read it there. Any thread. */
const pith_stay *pith_accept_stay(const pith_accept *accept);

/* Cuts the connection that received the most bytes since the last call, when those are at least
 * `bytes_min`; false when none did. Any thread. */
bool pith_accept_cut_busiest(pith_accept *accept, uint64_t bytes_min);

/* Cuts every connection that the core has; how many. After pith_accept_stop. */
size_t pith_accept_cut_all(pith_accept *accept);

void pith_accept_read_stats(pith_accept *accept, pith_accept_stats *stats);

#endif
