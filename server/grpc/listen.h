/* A listening TCP socket from text. Pure function; the caller owns the descriptor. */
#ifndef PITH_SERVER_GRPC_LISTEN_H
#define PITH_SERVER_GRPC_LISTEN_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

/* `listen` is "HOST:PORT", "[V6]:PORT" or ":PORT" (every address); port 0 picks one. A name stands
 * for the first of its addresses that can be bound. The socket does not block and is not shared:
 * a port in use is PITH_IO, text that is no address PITH_INVALID. `address` [size] gets what was
 * bound, "127.0.0.1:50051". */
PITH_MUST_USE pith_status pith_listen(const char *listen, int *fd, uint16_t *port, char *address,
                                      size_t size, pith_err *err);

#endif
