#include "server/grpc/frame_guard.h"

#include <string.h>

/* RFC 9113 sections 3.4 and 6. */
enum {
    PREFACE_BYTES = 24,
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9,
    FLAG_END_STREAM = 1,
    FLAG_ACK = 1,
    FLAG_END_HEADERS = 4
};

/* Bounds. A stream costs the gRPC core about 15 us, so what is allowed below takes a sixtieth of a
 * processor; ten times of it, which a script can send, is over in a fifth of a second. */
enum {
    /* A reset within this of its stream's start counts in full; a later one counts a tenth, as the
     * streams that can be open at once bound those already. */
    PERIOD_MS = 25, /* times PITH_FRAME_MARKS */
    YOUNG_COST = 10,
    OLD_COST = 1,
    RESET_TOKENS_FIRST = 200 * YOUNG_COST,
    RESET_TOKENS_WARY = 20 * YOUNG_COST,
    RESET_TOKENS_MAX = 2000 * YOUNG_COST,
    RESET_TOKENS_PER_S = 1000 * YOUNG_COST,
    /* Clients send SETTINGS once or twice and none of the other frames that count here. */
    EMPTY_TOKENS_MAX = 1000,
    EMPTY_TOKENS_PER_S = 100,
    /* The core is told to take 16 KiB of metadata; this is that, uncompressed, four times. */
    BLOCK_BYTES_MAX = 64 * 1024,
    BLOCK_FRAMES_MAX = 64,
    /* Clients wait for our SETTINGS, which limit streams to 1,024, or open few before. */
    UNACKED_STREAMS_MAX = 2048
};

#define MS_NS     INT64_C(1000000)
#define SECOND_NS INT64_C(1000000000)

void pith_frame_guard_init(pith_frame_guard *guard, bool wary, int64_t now_ns) {
    *guard = (pith_frame_guard){.skip_bytes = PREFACE_BYTES,
                                .period = now_ns / (PERIOD_MS * MS_NS),
                                .refilled_ns = now_ns,
                                .reset_tokens = wary ? RESET_TOKENS_WARY : RESET_TOKENS_FIRST,
                                .empty_tokens = EMPTY_TOKENS_MAX};
}

const char *pith_flood_text(pith_flood flood) {
    static const char *const texts[] = {
        [PITH_FLOOD_NONE] = "nothing",
        [PITH_FLOOD_RESETS] = "streams opened to be reset",
        [PITH_FLOOD_HEADER_BLOCK] = "a header block without an end",
        [PITH_FLOOD_EMPTY_FRAMES] = "frames that carry nothing",
        [PITH_FLOOD_STREAMS] = "streams without end before acknowledging their limit",
    };
    return texts[flood];
}

static int64_t refill(int64_t tokens, int64_t elapsed_ns, int64_t per_s, int64_t max) {
    /* A pause of a second fills every bucket that this module has at least up to its maximum. */
    int64_t ns = elapsed_ns < 100 * SECOND_NS ? elapsed_ns : 100 * SECOND_NS;
    int64_t more = ns * per_s / SECOND_NS;
    return tokens + more < max ? tokens + more : max;
}

/* Buckets and marks, once for each piece of bytes. */
static void pass_time(pith_frame_guard *g, int64_t now_ns) {
    int64_t elapsed = now_ns - g->refilled_ns;
    if (elapsed >= 10 * MS_NS) { /* one token at least in each bucket: nothing is rounded away */
        g->reset_tokens = refill(g->reset_tokens, elapsed, RESET_TOKENS_PER_S, RESET_TOKENS_MAX);
        g->empty_tokens = refill(g->empty_tokens, elapsed, EMPTY_TOKENS_PER_S, EMPTY_TOKENS_MAX);
        g->refilled_ns = now_ns;
    }
    int64_t period = now_ns / (PERIOD_MS * MS_NS);
    int64_t passed = period - g->period;
    for (int64_t i = 0; i < passed && i < PITH_FRAME_MARKS; i++) {
        memmove(g->marks, g->marks + 1, sizeof g->marks - sizeof g->marks[0]);
        g->marks[PITH_FRAME_MARKS - 1] = g->stream_highest;
    }
    g->period = period;
}

static pith_flood spend(int64_t *tokens, int64_t cost, pith_flood flood) {
    *tokens -= cost;
    return *tokens < 0 ? flood : PITH_FLOOD_NONE;
}

static pith_flood on_header_block(pith_frame_guard *g, uint32_t len, uint8_t flags, bool first) {
    g->block_bytes = first ? len : g->block_bytes + len;
    g->block_frames = first ? 1 : g->block_frames + 1;
    g->in_block = (flags & FLAG_END_HEADERS) == 0;
    /* A frame's length has 24 bits, so the sum cannot wrap before it is over the limit. */
    bool over = g->block_bytes > BLOCK_BYTES_MAX || g->block_frames > BLOCK_FRAMES_MAX;
    return over ? PITH_FLOOD_HEADER_BLOCK : PITH_FLOOD_NONE;
}

static pith_flood on_headers(pith_frame_guard *g, uint32_t len, uint8_t flags, uint32_t stream) {
    pith_flood flood = on_header_block(g, len, flags, true);
    if (flood != PITH_FLOOD_NONE) {
        return flood;
    }
    if (stream <= g->stream_highest) { /* trailers: no gRPC client sends them */
        return spend(&g->empty_tokens, 1, PITH_FLOOD_EMPTY_FRAMES);
    }
    g->stream_highest = stream;
    g->n_streams++;
    bool unseen = !g->settings_acked && g->n_streams > UNACKED_STREAMS_MAX;
    return unseen ? PITH_FLOOD_STREAMS : PITH_FLOOD_NONE;
}

/* A frame's header is complete. */
static pith_flood on_frame(pith_frame_guard *g) {
    const uint8_t *h = g->header;
    uint32_t len = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    uint8_t type = h[3];
    uint8_t flags = h[4];
    uint32_t stream =
        ((uint32_t)h[5] << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8]) & INT32_MAX;
    g->skip_bytes = len;
    switch (type) {
    case FRAME_DATA:
        return len > 0 || (flags & FLAG_END_STREAM) != 0
                   ? PITH_FLOOD_NONE
                   : spend(&g->empty_tokens, 1, PITH_FLOOD_EMPTY_FRAMES);
    case FRAME_HEADERS:
        return on_headers(g, len, flags, stream);
    case FRAME_CONTINUATION:
        /* Outside a block it is an error that the core ends the connection for. */
        return g->in_block ? on_header_block(g, len, flags, false) : PITH_FLOOD_NONE;
    case FRAME_RST_STREAM:
        return spend(&g->reset_tokens, stream > g->marks[0] ? YOUNG_COST : OLD_COST,
                     PITH_FLOOD_RESETS);
    case FRAME_SETTINGS:
        if ((flags & FLAG_ACK) != 0) {
            g->settings_acked = true;
        }
        return spend(&g->empty_tokens, 1, PITH_FLOOD_EMPTY_FRAMES);
    case FRAME_PING:          /* the core allows few, and ends the connection for more */
    case FRAME_WINDOW_UPDATE: /* one for each message that a client reads */
        return PITH_FLOOD_NONE;
    default:
        return spend(&g->empty_tokens, 1, PITH_FLOOD_EMPTY_FRAMES);
    }
}

pith_flood pith_frame_guard_feed(pith_frame_guard *g, const uint8_t *bytes, size_t len,
                                 int64_t now_ns) {
    pass_time(g, now_ns);
    size_t at = 0;
    while (at < len && g->flood == PITH_FLOOD_NONE) {
        if (g->skip_bytes > 0) {
            size_t n = len - at < g->skip_bytes ? len - at : g->skip_bytes;
            g->skip_bytes -= (uint32_t)n;
            at += n;
            continue;
        }
        size_t need = (size_t)(PITH_FRAME_HEADER_BYTES - g->n_header);
        size_t n = len - at < need ? len - at : need;
        memcpy(g->header + g->n_header, bytes + at, n);
        g->n_header = (uint8_t)(g->n_header + n);
        at += n;
        if (g->n_header == PITH_FRAME_HEADER_BYTES) {
            g->n_header = 0;
            g->flood = on_frame(g);
        }
    }
    return g->flood;
}
