/* What is wrong with a request: a status with its text, and the request field at fault.
 *
 * Plain memory of the caller. Filled by the wire check, by request validation and from the engine's
 * answer; read by rpc_error.h, which turns it into a gRPC status. */
#ifndef PITH_SERVER_GRPC_FAULT_H
#define PITH_SERVER_GRPC_FAULT_H

#include "runtime/base/status.h"

#include <stdint.h>

enum { PITH_FAULT_FIELD_BYTES = 96 }; /* "request.keep[65535].start" and room to spare */

typedef struct pith_fault {
    pith_err err;
    char field[PITH_FAULT_FIELD_BYTES]; /* path of proto names; "" when no field is to blame */
    /* With PITH_NOT_FOUND: the name that was asked for; with PITH_EXHAUSTED: whose quota it is, ""
     * for the server's. */
    char resource[PITH_FAULT_FIELD_BYTES];
    int64_t retry_after_ns; /* with PITH_EXHAUSTED and PITH_UNAVAILABLE; 0: unknown */
    int64_t wait_ns;        /* the queue's estimated wait, where that is the reason; 0: none */
    const char *reason;     /* ErrorInfo.reason, a constant; NULL: the status's own */
} pith_fault;

/* Fills `fault` with a status, a field (NULL: none) and a formatted text; returns the status. */
pith_status pith_fault_set(pith_fault *fault, pith_status status, const char *field,
                           const char *fmt, ...) PITH_PRINTF(4, 5);

#endif
