/* TLS before a listener that speaks none: takes accepted sockets, does the handshake, and hands on
 * one end of a socket pair that carries the plain bytes.
 *
 * What stands behind it keeps all its own guards (tap.h, accept.h), which a TLS layer inside the
 * gRPC core would not let near the bytes. Owns one thread ("pith-tls"), the sockets it was given
 * and its ends of the pairs. Buffers: 16 KiB each way and connection. A connection that has not
 * finished its handshake within 10 s is closed. The peer's end of data is passed on in both
 * directions. */
#ifndef PITH_SERVER_ACCESS_RELAY_H
#define PITH_SERVER_ACCESS_RELAY_H

#include "server/access/certificates.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct pith_relay pith_relay;

/* Called on the relay's thread with a descriptor, non-blocking, that is now the callee's. */
typedef void (*pith_relay_ready)(void *arg, int fd);

typedef struct pith_relay_stats {
    uint64_t open;
    uint64_t handshakes_failed; /* also: too slow, plain text, no client certificate */
} pith_relay_stats;

/* The certificates are borrowed. */
PITH_MUST_USE pith_status pith_relay_open(pith_relay **relay, pith_certificates *certificates,
                                          uint32_t connections_max, pith_relay_ready ready,
                                          void *arg, pith_err *err);

/* Takes `fd`, which is non-blocking. False: too many connections; `fd` is closed. Any thread. */
bool pith_relay_add(pith_relay *relay, int fd);

void pith_relay_read_stats(pith_relay *relay, pith_relay_stats *stats);

/* Closes every connection and joins the thread. Unsent bytes of ended ones are given a moment. */
void pith_relay_close(pith_relay *relay);

#endif
