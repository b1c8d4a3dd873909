/* Frees our threads when a peer keeps the gRPC core reading.
 *
 * The core reads and parses a socket for as long as it has bytes, on whichever of our threads it is
 * called from. A peer that sends faster than the core parses (frames that cost much and carry
 * little) keeps that thread inside for ever: no completion is handled, so no other guard can act,
 * and nobody else is served. The watchdog sees a thread that does not come back and cuts the
 * connection that sends the most. Owns one thread. */
#ifndef PITH_SERVER_GRPC_WATCHDOG_H
#define PITH_SERVER_GRPC_WATCHDOG_H

#include "server/grpc/accept.h"

typedef struct pith_watchdog pith_watchdog;
struct pith_poller; /* transport_internal.h */

/* Watches the stays of the transport's pollers [PITH_POLLERS] and the accept thread's. A stay of
 * more than `stay_ns_max`, which must be above every wait that the thread asks the core for, makes
 * it act. */
PITH_MUST_USE pith_status pith_watchdog_open(pith_watchdog **watchdog, pith_accept *accept,
                                             const struct pith_poller *pollers, int64_t stay_ns_max,
                                             pith_err *err);
void pith_watchdog_close(pith_watchdog *watchdog);

#endif
