/* pith_status <-> gRPC status: one table, and the google.rpc.Status that explains it.
 *
 * Every error carries ErrorInfo{reason, domain "pith.v1"}, with metadata "eta_ms" where the queue
 * is the reason; INVALID_ARGUMENT adds BadRequest with the field, RESOURCE_EXHAUSTED QuotaFailure
 * and RetryInfo, UNAVAILABLE RetryInfo, NOT_FOUND ResourceInfo; RequestInfo has the request's id.
 * The text of internal errors stays in our log: paths and addresses are not for peers. Pure
 * functions, any thread. */
#ifndef PITH_SERVER_GRPC_RPC_ERROR_H
#define PITH_SERVER_GRPC_RPC_ERROR_H

#include "google/rpc/status.pb-c.h"
#include "runtime/base/arena.h"
#include "runtime/engine/engine.h"
#include "server/grpc/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of the gRPC specification, "Status codes and their use in gRPC". */
typedef enum pith_rpc_code {
    PITH_RPC_OK = 0,
    PITH_RPC_CANCELLED = 1,
    PITH_RPC_UNKNOWN = 2,
    PITH_RPC_INVALID_ARGUMENT = 3,
    PITH_RPC_DEADLINE_EXCEEDED = 4,
    PITH_RPC_NOT_FOUND = 5,
    PITH_RPC_RESOURCE_EXHAUSTED = 8,
    PITH_RPC_UNIMPLEMENTED = 12,
    PITH_RPC_INTERNAL = 13,
    PITH_RPC_UNAVAILABLE = 14,
    PITH_RPC_UNAUTHENTICATED = 16
} pith_rpc_code;

enum {
    PITH_REQUEST_ID_BYTES_MAX = 256,
    /* Trailers over 8 KiB are refused by clients (gRPC's default metadata limit); 512 bytes of
     * text twice, 256 of id, names and framing stay far below, also in base64. */
    PITH_RPC_DETAILS_BYTES_MAX = 4096
};

pith_rpc_code pith_rpc_code_of(pith_status status);

/* The nearest pith_status of a code that a server sent; PITH_INTERNAL for the rest. */
pith_status pith_rpc_code_to_status(int code);

/* "INVALID_ARGUMENT" and so on; never NULL. */
const char *pith_rpc_code_name(int code);

/* "QUEUE_FULL" and so on: the reason of a status's ErrorInfo; never NULL. */
const char *pith_rpc_reason(pith_status status);

/* The reason where a status alone says too little, or NULL: why the engine took no job, or failed
 * one that it had. */
const char *pith_rpc_refusal_reason(pith_refused refused);
const char *pith_rpc_reply_reason(const pith_reply *reply);

/* How a request can end: its status and its reason, as one number for counters. `reason`: NULL or a
 * name that is not known stands for the status's own. */
enum { PITH_RPC_CAUSES = PITH_STATUS_COUNT + 4 };
size_t pith_rpc_cause_of(pith_status status, const char *reason);
pith_status pith_rpc_cause_status(size_t cause);
const char *pith_rpc_cause_reason(size_t cause);

/* Delay to advise in nanoseconds, 0 when a retry would not help. */
int64_t pith_rpc_retry_ns(const pith_fault *fault);

/* True when the fault's text must not reach a peer. */
bool pith_rpc_is_private(pith_status status);

/* Builds the Status of a fault in `arena` (PITH_RPC_DETAILS_BYTES_MAX * 8 is enough). `id` is the
 * request's, [id_len] bytes. PITH_EXHAUSTED when the arena is full. */
PITH_MUST_USE pith_status pith_rpc_error_build(const pith_fault *fault, const uint8_t *id,
                                               size_t id_len, pith_arena *arena,
                                               Google__Rpc__Status **status);

#endif
