/* pith.v1.CompressionService over the engine.
 *
 * Owns nothing but its settings; each call carries its own state. The engine must outlive every
 * call: close the transport, or the engine, before the other's memory goes. */
#ifndef PITH_SERVER_GRPC_COMPRESSION_H
#define PITH_SERVER_GRPC_COMPRESSION_H

#include "runtime/engine/engine.h"
#include "server/access/keys.h"
#include "server/grpc/call.h"
#include "server/observe/observe.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_compression {
    pith_engine *engine;
    pith_observe *observe; /* may be NULL */
    pith_keys *keys;       /* may be NULL */
    size_t text_bytes_max;
    uint32_t stream_items_max; /* items of one stream that are open or unsent */
    bool fold_repeats;         /* of every request in the faithful profile */
    /* What the answers of one stream may take, those of its open items (an upper bound) and those
     * that its peer has not taken: with more the stream is not read. One item may be over. */
    size_t stream_bytes_max;
    atomic_bool loaded;  /* `engine` and `observe` are there: for probes, which come before */
    atomic_bool leaving; /* a drain has begun: ServerReady and ModelReady say so */
} pith_compression;

/* Their service pointer is the pith_compression. */
extern const pith_method pith_method_compress;
extern const pith_method pith_method_batch_compress;
extern const pith_method pith_method_stream_compress;

#endif
