/* Counts the HTTP/2 frames of one connection, as its peer sends them, and says when they are a
 * flood.
 *
 * The gRPC core answers for most broken frames itself, but spends work without a bound on valid
 * ones: streams that are opened to be reset (CVE-2023-44487; many never reach a handler, so they
 * cannot be counted behind the core), header blocks that never end (CVE-2023-33953), frames that
 * carry nothing, and streams beyond its limit while the peer does not acknowledge that limit. Only
 * frame headers are looked at: nothing is decoded, nothing is kept, and bytes may come in any
 * pieces. Plain memory of the caller; one thread at a time. */
#ifndef PITH_SERVER_GRPC_FRAME_GUARD_H
#define PITH_SERVER_GRPC_FRAME_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum pith_flood {
    PITH_FLOOD_NONE,
    PITH_FLOOD_RESETS,       /* streams opened to be reset */
    PITH_FLOOD_HEADER_BLOCK, /* one header block, in too many bytes or frames */
    PITH_FLOOD_EMPTY_FRAMES, /* frames that carry nothing */
    PITH_FLOOD_STREAMS       /* streams, and no word that our limit was seen */
} pith_flood;

enum { PITH_FRAME_HEADER_BYTES = 9, PITH_FRAME_MARKS = 5 };

typedef struct pith_frame_guard {
    uint8_t header[PITH_FRAME_HEADER_BYTES];
    uint8_t n_header;    /* bytes of it that have come */
    uint32_t skip_bytes; /* of the preface or a payload, still to come */
    pith_flood flood;    /* once it is one it stays one */
    bool settings_acked;
    bool in_block; /* after HEADERS without END_HEADERS */
    uint32_t block_bytes;
    uint32_t block_frames;
    uint32_t stream_highest;
    uint64_t n_streams;
    uint32_t marks[PITH_FRAME_MARKS]; /* highest stream when each of the last periods began */
    int64_t period;                   /* number of the current one */
    int64_t refilled_ns;
    int64_t reset_tokens;
    int64_t empty_tokens;
} pith_frame_guard;

/* Before the first byte of a connection, which is that of the preface. `wary`: others have flooded
 * a moment ago; a new connection may reset few streams at once, as a flood may just come back. */
void pith_frame_guard_init(pith_frame_guard *guard, bool wary, int64_t now_ns);

/* The next bytes of the peer, [len]. `now_ns` never goes back. */
pith_flood pith_frame_guard_feed(pith_frame_guard *guard, const uint8_t *bytes, size_t len,
                                 int64_t now_ns);

/* "streams opened to be reset" and so on, for a log line. */
const char *pith_flood_text(pith_flood flood);

#endif
