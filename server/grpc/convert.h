/* The engine's reply -> CompressResponse, for the server and for the CLI. Pure function. */
#ifndef PITH_SERVER_GRPC_CONVERT_H
#define PITH_SERVER_GRPC_CONVERT_H

#include "pith/v1/compression.pb-c.h"
#include "runtime/engine/engine.h"

/* A response and its parts; `message` points into the struct, so it must stay where it is. */
typedef struct pith_response {
    Pith__V1__CompressResponse message;
    Pith__V1__Explanation explanation;
    Pith__V1__Timing timing;
} pith_response;

/* Fills `response` from a reply of status PITH_OK. Everything is borrowed from the reply and from
 * `id` [id_len]; the explanation's flags are copied to `arena` (8 bytes a unit). Lives as long as
 * they do. PITH_EXHAUSTED: arena full; PITH_INTERNAL: the reply carries no result. */
PITH_MUST_USE pith_status pith_response_from_reply(pith_response *response, const pith_reply *reply,
                                                   const void *id, size_t id_len, pith_arena *arena,
                                                   pith_err *err);

/* What `arena` must hold for a reply. */
size_t pith_response_arena_bytes(const pith_reply *reply);

#endif
