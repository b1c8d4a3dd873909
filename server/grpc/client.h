/* A gRPC client for the command line: one call, one connection, blocking. Plain text.
 *
 * Owns nothing between calls. Any thread. `addr` is "HOST:PORT". Errors carry the server's text and
 * the pith_status nearest to its code; a server that cannot be reached is PITH_UNAVAILABLE. */
#ifndef PITH_SERVER_GRPC_CLIENT_H
#define PITH_SERVER_GRPC_CLIENT_H

#include "pith/v1/compression.pb-c.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* *response is freed with pith__v1__compress_response__free_unpacked(response, NULL); NULL on
 * failure. */
PITH_MUST_USE pith_status pith_client_compress(const char *addr,
                                               const Pith__V1__CompressRequest *request,
                                               int64_t timeout_ns,
                                               Pith__V1__CompressResponse **response,
                                               pith_err *err);

/* grpc.health.v1.Health/Check of `service` ("" is the whole server). */
PITH_MUST_USE pith_status pith_client_health(const char *addr, const char *service,
                                             int64_t timeout_ns, bool *serving, pith_err *err);

#endif
