/* The frame guard on a connection's bytes: what it finds does not hang on the pieces in which they
 * come, what is a flood stays one, and its bookkeeping stays within what HTTP/2 allows. The first
 * two bytes are the size of a piece and the pause between two, in milliseconds. */
#include "server/grpc/frame_guard.h"

#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds) {
        abort();
    }
}

static void check_state(const pith_frame_guard *g) {
    check(g->n_header < PITH_FRAME_HEADER_BYTES && g->skip_bytes < 1u << 24);
    check(g->stream_highest <= INT32_MAX && g->n_streams <= g->stream_highest);
    for (int i = 1; i < PITH_FRAME_MARKS; i++) {
        check(g->marks[i - 1] <= g->marks[i] && g->marks[i] <= g->stream_highest);
    }
    check(pith_flood_text(g->flood)[0] != '\0');
}

/* Feeds [size] bytes in pieces, `pause_ns` apart. */
static pith_frame_guard feed(const uint8_t *data, size_t size, size_t piece, int64_t pause_ns) {
    pith_frame_guard guard;
    int64_t now = MS;
    pith_flood flood = PITH_FLOOD_NONE;
    pith_frame_guard_init(&guard, false, now);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        pith_flood found = pith_frame_guard_feed(&guard, data + at, n, now);
        check(flood == PITH_FLOOD_NONE || found == flood);
        flood = found;
        now += pause_ns;
    }
    check_state(&guard);
    return guard;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    size_t piece = (size_t)data[0] + 1;
    int64_t pause_ns = data[1] * MS;
    pith_frame_guard whole = feed(data + 2, size - 2, size, 0);
    pith_frame_guard parts = feed(data + 2, size - 2, piece, 0);
    check(whole.flood == parts.flood && whole.stream_highest == parts.stream_highest &&
          whole.n_streams == parts.n_streams && whole.reset_tokens == parts.reset_tokens &&
          whole.empty_tokens == parts.empty_tokens && whole.settings_acked == parts.settings_acked);
    if (whole.flood == PITH_FLOOD_NONE) {
        check(whole.skip_bytes == parts.skip_bytes && whole.n_header == parts.n_header &&
              memcmp(whole.header, parts.header, whole.n_header) == 0);
    }
    (void)feed(data + 2, size - 2, piece, pause_ns);
    return 0;
}
