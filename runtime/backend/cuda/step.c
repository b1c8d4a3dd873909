/* Steps: what is reserved for them, the block that goes up, recordings. */
#include "runtime/backend/cuda/context.h"

#include "kernels/cuda/heads.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/norm.h"

#include <string.h>

/* Steps up to these sizes are recorded; the last class is what was reserved. */
static const uint32_t class_tokens[CUDA_CLASSES - 1] = {512, 2048};

enum { BLOCK_ALIGN = 256 };

static size_t aligned(size_t bytes) {
    return (bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

static uint32_t class_of(uint32_t n_tok) {
    uint32_t size_class = 0;
    while (size_class < CUDA_CLASSES - 1 && n_tok > class_tokens[size_class]) {
        size_class++;
    }
    return size_class;
}

static uint32_t tokens_of(const pith_ops_ctx *ctx, uint32_t size_class) {
    uint32_t most = ctx->bounds.tokens_max;
    return size_class < CUDA_CLASSES - 1 && class_tokens[size_class] < most
               ? class_tokens[size_class]
               : most;
}

/* A tile has one row at least, so there are at most as many as tokens. */
static cuda_layout layout_of(uint32_t tokens) {
    cuda_layout l = {.tokens = tokens};
    l.ids = aligned(2 * sizeof(uint32_t));
    l.positions = l.ids + aligned(tokens * sizeof(uint32_t));
    l.tiles = l.positions + aligned(tokens * sizeof(uint32_t));
    return l;
}

static size_t block_bytes(uint32_t tokens) {
    return layout_of(tokens).tiles + tokens * sizeof(pk_attn_cuda_tile);
}

/* --- recordings --- */

static void drop_graphs(cuda_recording *recording) {
    for (uint32_t c = 0; c < CUDA_CLASSES; c++) {
        for (uint32_t s = 0; s < CUDA_SLOTS; s++) {
            pith_cu_graph_close(recording->graphs[c][s]);
        }
    }
    *recording = (cuda_recording){0};
}

void cuda_forget(pith_ops_ctx *ctx, const void *owner) {
    for (uint32_t i = 0; i < CUDA_RECORDINGS; i++) {
        if (owner != NULL && ctx->recordings[i].owner == owner) {
            drop_graphs(&ctx->recordings[i]);
        }
    }
}

/* NULL: this step runs unrecorded. */
static cuda_recording *recording_of(pith_ops_ctx *ctx, const void *owner) {
    cuda_recording *empty = NULL;
    for (uint32_t i = 0; owner != NULL && ctx->graphs && i < CUDA_RECORDINGS; i++) {
        cuda_recording *r = &ctx->recordings[i];
        if (r->owner == owner) {
            return r->refused ? NULL : r;
        }
        empty = empty == NULL && r->owner == NULL ? r : empty;
    }
    if (empty != NULL) {
        empty->owner = owner;
    }
    return empty;
}

/* --- reserve --- */

static pith_status check_bounds(const pith_ops_reserve *b, pith_err *err) {
    if (b->hidden != b->n_heads * PK_ATTN_CUDA_HEAD_DIM) {
        return pith_fail(err, PITH_UNSUPPORTED, "hidden %u with %u heads: a GPU wants head dim %d",
                         b->hidden, b->n_heads, PK_ATTN_CUDA_HEAD_DIM);
    }
    if (b->hidden > PK_NORM_CUDA_DIM_MAX || b->hidden % PK_LINEAR_CUDA_K_STEP != 0 ||
        b->intermediate % PK_LINEAR_CUDA_K_STEP != 0) {
        return pith_fail(err, PITH_UNSUPPORTED,
                         "hidden %u, intermediate %u: a GPU wants multiples of %d, hidden at most "
                         "%d",
                         b->hidden, b->intermediate, PK_LINEAR_CUDA_K_STEP, PK_NORM_CUDA_DIM_MAX);
    }
    return PITH_OK;
}

static void release_slot(pith_ops_ctx *ctx, cuda_slot *slot) {
    pith_cu_host_free(slot->host_in);
    pith_cu_host_free(slot->host_out);
    cuda_free(ctx, slot->device_in);
    pith_cu_event_close(slot->uploaded);
    pith_cu_event_close(slot->done);
    *slot = (cuda_slot){0};
}

void cuda_release_steps(pith_ops_ctx *ctx) {
    for (uint32_t i = 0; i < CUDA_RECORDINGS; i++) {
        drop_graphs(&ctx->recordings[i]);
    }
    for (uint32_t i = 0; i < CUDA_SLOTS; i++) {
        release_slot(ctx, &ctx->slots[i]);
    }
    cuda_free(ctx, ctx->hidden16);
    cuda_free(ctx, ctx->conv);
    cuda_free(ctx, ctx->sums);
    cuda_free(ctx, ctx->saturated);
    ctx->hidden16 = NULL;
    ctx->conv = NULL;
    ctx->sums = NULL;
    ctx->saturated = NULL;
    ctx->bounds = (pith_ops_reserve){0};
}

static pith_status host_block(pith_ops_ctx *ctx, size_t bytes, uint8_t **out, pith_err *err) {
    void *mem;
    int code = pith_cu_host_alloc(bytes, &mem);
    *out = mem;
    return code == PITH_CU_OK
               ? PITH_OK
               : pith_fail(err, PITH_NO_MEMORY, "%s: %zu bytes of page-locked host memory: %s",
                           ctx->device_name, bytes, pith_cu_text(code));
}

static pith_status open_slot(pith_ops_ctx *ctx, cuda_slot *slot, pith_err *err) {
    void *mem = NULL;
    pith_status status = host_block(ctx, ctx->in_bytes, &slot->host_in, err);
    if (status == PITH_OK) {
        status = host_block(ctx, ctx->out_bytes + BLOCK_ALIGN, &slot->host_out, err);
    }
    if (status == PITH_OK) {
        status = cuda_alloc(ctx, ctx->in_bytes, &mem, err);
        slot->device_in = mem;
    }
    if (status == PITH_OK) {
        int code = pith_cu_event_open(&slot->uploaded);
        code = code == PITH_CU_OK ? pith_cu_event_open(&slot->done) : code;
        if (code != PITH_CU_OK) {
            status = pith_fail(err, PITH_INTERNAL, "%s: event: %s", ctx->device_name,
                               pith_cu_text(code));
        }
    }
    return status;
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static pith_status open_steps(pith_ops_ctx *ctx, pith_err *err) {
    const pith_ops_reserve *b = &ctx->bounds;
    const uint32_t zero = 0;
    size_t rows = b->tokens_max;
    size_t widest =
        larger(larger(3 * b->hidden, 2 * b->intermediate), PK_SPAN_TAPS * b->span_channels);
    const struct {
        size_t bytes;
        void **out;
    } buffers[] = {
        {rows * b->hidden * sizeof(uint16_t), (void **)&ctx->hidden16},
        {rows * PK_SPAN_TAPS * b->span_channels * sizeof(float), (void **)&ctx->conv},
        {ctx->lt != NULL ? rows * widest * sizeof(float) : sizeof zero, (void **)&ctx->sums},
        {sizeof zero, (void **)&ctx->saturated},
    };
    ctx->in_bytes = block_bytes(b->tokens_max);
    ctx->out_bytes = rows * 3 * sizeof(float);
    pith_status status = PITH_OK;
    for (size_t i = 0; status == PITH_OK && i < sizeof buffers / sizeof buffers[0]; i++) {
        status = cuda_alloc(ctx, buffers[i].bytes, buffers[i].out, err);
    }
    for (uint32_t i = 0; status == PITH_OK && i < CUDA_SLOTS; i++) {
        status = open_slot(ctx, &ctx->slots[i], err);
    }
    if (status == PITH_OK) {
        cuda_copy_in(ctx, ctx->saturated, &zero, sizeof zero);
        ctx->saturated_seen = 0;
        status = cuda_sync(ctx, err);
    }
    return status;
}

pith_status cuda_reserve(pith_ops_ctx *ctx, const pith_ops_reserve *bounds, pith_err *err) {
    pith_status status = check_bounds(bounds, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_ops_reserve wanted = {
        .tokens_max = larger(bounds->tokens_max, ctx->bounds.tokens_max),
        .hidden = larger(bounds->hidden, ctx->bounds.hidden),
        .intermediate = larger(bounds->intermediate, ctx->bounds.intermediate),
        .n_heads = larger(bounds->n_heads, ctx->bounds.n_heads),
        .span_channels = larger(bounds->span_channels, ctx->bounds.span_channels),
    };
    if (memcmp(&wanted, &ctx->bounds, sizeof wanted) == 0) {
        return PITH_OK;
    }
    status = cuda_sync(ctx, err);
    if (status != PITH_OK) {
        return status;
    }
    cuda_release_steps(ctx); /* recordings hold the old addresses */
    ctx->bounds = wanted;
    status = open_steps(ctx, err);
    if (status != PITH_OK) {
        cuda_release_steps(ctx);
    }
    return status;
}

/* --- one step --- */

static uint32_t tiles_of(uint32_t len) {
    return (len + PK_ATTN_CUDA_QUERIES - 1) / PK_ATTN_CUDA_QUERIES;
}

/* Texts of equally many tiles; those past CUDA_STEP_TOKENS share the last class. */
enum { LENGTH_CLASSES = CUDA_STEP_TOKENS / PK_ATTN_CUDA_QUERIES + 1 };

static uint32_t length_class(uint32_t len) {
    uint32_t n = tiles_of(len);
    return n < LENGTH_CLASSES ? n : LENGTH_CLASSES - 1;
}

/* Where the tiles of each class begin, longest texts first: a tile's work grows with its text, CTAs
 * take tiles in turn, and what is left over at the end is then short. The number of tiles. */
static uint32_t place_tiles(uint32_t at[LENGTH_CLASSES], const pith_ops_batch *batch) {
    uint32_t n_tiles = 0;
    memset(at, 0, LENGTH_CLASSES * sizeof *at);
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        uint32_t len = batch->cu_seqlens[s + 1] - batch->cu_seqlens[s];
        at[length_class(len)] += tiles_of(len);
    }
    for (uint32_t c = LENGTH_CLASSES; c-- > 0;) {
        uint32_t count = at[c];
        at[c] = n_tiles;
        n_tiles += count;
    }
    return n_tiles;
}

/* Fills the host's side of the block; the number of tiles. */
static uint32_t fill_block(uint8_t *block, const cuda_layout *l, const pith_ops_batch *batch) {
    uint32_t at[LENGTH_CLASSES];
    uint32_t *positions = (uint32_t *)(block + l->positions);
    pk_attn_cuda_tile *tiles = (pk_attn_cuda_tile *)(block + l->tiles);
    memcpy(block + l->ids, batch->ids, batch->n_tok * sizeof(uint32_t));
    uint32_t n_tiles = place_tiles(at, batch);
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        uint32_t begin = batch->cu_seqlens[s];
        uint32_t len = batch->cu_seqlens[s + 1] - begin;
        for (uint32_t i = 0; i < len; i++) {
            positions[begin + i] = i;
        }
        pk_attn_cuda_tile *next = &tiles[at[length_class(len)]];
        at[length_class(len)] += tiles_of(len);
        for (uint32_t first = 0; first < len; first += PK_ATTN_CUDA_QUERIES) {
            *next++ = (pk_attn_cuda_tile){(int32_t)begin, (int32_t)len, (int32_t)first, 0};
        }
    }
    const uint32_t totals[2] = {batch->n_tok, n_tiles};
    memcpy(block + l->totals, totals, sizeof totals);
    return n_tiles;
}

static void upload(pith_ops_ctx *ctx, cuda_slot *slot, const pith_ops_batch *batch) {
    cuda_layout *l = &ctx->layout;
    l->n_tiles = fill_block(slot->host_in, l, batch);
    size_t bytes = l->tiles + l->n_tiles * sizeof(pk_attn_cuda_tile);
    CUDA_DO(ctx, pith_cu_copy_in(ctx->upload, slot->device_in, slot->host_in, bytes));
    CUDA_DO(ctx, pith_cu_event_record(slot->uploaded, ctx->upload));
    CUDA_DO(ctx, pith_cu_stream_wait(ctx->compute, slot->uploaded));
}

bool cuda_begin(pith_ops_ctx *ctx, const pith_ops_batch *batch) {
    ctx->slot = ++ctx->tickets % CUDA_SLOTS;
    ctx->in_step = true;
    ctx->recorded = NULL;
    cuda_slot *slot = &ctx->slots[ctx->slot];
    CUDA_DO(ctx, pith_cu_use(ctx->ordinal));
    uint32_t size_class = class_of(batch->n_tok);
    ctx->class_of_step = size_class;
    ctx->layout = layout_of(tokens_of(ctx, size_class));
    ctx->rows = batch->n_tok;
    upload(ctx, slot, batch);
    cuda_recording *recording = cuda_step_ok(ctx) ? recording_of(ctx, batch->recording) : NULL;
    if (recording == NULL) {
        return true;
    }
    pith_cu_graph *graph = recording->graphs[size_class][ctx->slot];
    if (graph != NULL) {
        CUDA_DO(ctx, pith_cu_graph_launch(graph, ctx->compute));
        return false;
    }
    ctx->layout.n_tiles = ctx->layout.tokens; /* of any batch of the class */
    ctx->recorded = recording;
    CUDA_DO(ctx, pith_cu_capture_begin(ctx->compute));
    return true;
}

/* A recording that fails costs its step; later ones run unrecorded. */
void cuda_end(pith_ops_ctx *ctx) {
    cuda_recording *recording = ctx->recorded;
    if (recording == NULL) {
        return;
    }
    pith_cu_graph *graph = NULL;
    ctx->recorded = NULL;
    CUDA_DO(ctx, pith_cu_capture_end(ctx->compute, &graph));
    if (!cuda_step_ok(ctx) || graph == NULL) {
        pith_cu_graph_close(graph);
        recording->refused = true;
        return;
    }
    recording->graphs[ctx->class_of_step][ctx->slot] = graph;
    CUDA_DO(ctx, pith_cu_graph_launch(graph, ctx->compute));
}
