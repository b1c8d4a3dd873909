/* A decoded CompressRequest -> what the engine takes. The one place that says which values of which
 * proto field are refused; the engine checks again, for callers that do not come over the wire.
 * Pure function, any thread. */
#ifndef PITH_SERVER_GRPC_REQUEST_H
#define PITH_SERVER_GRPC_REQUEST_H

#include "pith/v1/compression.pb-c.h"
#include "runtime/engine/engine.h"
#include "server/grpc/fault.h"

enum {
    PITH_KEEP_RANGES_MAX = 65536,
    PITH_MODEL_NAME_BYTES_MAX = 256 /* longer than any path component */
};

/* Fills `request` and the model and priority of `submit` from `message`, whose memory they borrow;
 * the rest (keep ranges, model name) is taken from `arena`. `prefix` stands before field names in
 * faults: "" or "request.". PITH_INVALID: a value out of range, naming the field; PITH_EXHAUSTED:
 * arena full. */
PITH_MUST_USE pith_status pith_request_read(const Pith__V1__CompressRequest *message,
                                            const char *prefix, size_t text_bytes_max,
                                            pith_arena *arena, pith_compress_request *request,
                                            pith_submit_opts *submit, pith_fault *fault);

#endif
