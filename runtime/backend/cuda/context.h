/* What the files of the CUDA backend share: the context, its step slots, failures.
 *
 * A slot is one step in flight: page-locked host memory for what goes up (one copy) and for what
 * comes down, and the device's side of the former. Slots are taken in turn. */
#ifndef PITH_BACKEND_CUDA_CONTEXT_H
#define PITH_BACKEND_CUDA_CONTEXT_H

#include "kernels/cuda/attn.h"
#include "kernels/types.h"
#include "runtime/backend/cuda/runtime.h"
#include "runtime/backend/device.h"
#include "runtime/ops.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    CUDA_SLOTS = 2,       /* the scheduler's steps in flight */
    CUDA_DELIVERIES = 8,  /* copies out of one step: z_tok, z_span, score and room */
    CUDA_CLASSES = 3,     /* step sizes that are recorded */
    CUDA_RECORDINGS = 16, /* models of one engine (PITH_MODELS_MAX) */
    /* One text of 8,192 tokens and some; 66 tiles of 128 rows fill 132 multiprocessors twice (N
     * 768) or six times (N 2304). A cap, never a padded size. */
    CUDA_STEP_TOKENS = 8448
};

/* What a step's kernels read beside weights and activations; byte offsets into the slot's block.
 * All sizes are capacities, so that a recorded step finds everything where it was. */
typedef struct cuda_layout {
    size_t totals; /* [2] u32: n_tok, n_tiles */
    size_t ids;
    size_t positions;
    size_t tiles; /* last: only those in use are copied */
    uint32_t tokens;
    uint32_t n_tiles;
} cuda_layout;

typedef struct cuda_delivery {
    void *host;
    size_t offset; /* in host_out */
    size_t bytes;
} cuda_delivery;

typedef struct cuda_slot {
    uint8_t *host_in;
    uint8_t *device_in;
    uint8_t *host_out;
    size_t out_used;
    cuda_delivery deliveries[CUDA_DELIVERIES];
    uint32_t n_deliveries;
    pith_cu_event *uploaded;
    pith_cu_event *done;
    pith_err failed; /* first failure of the step; status PITH_OK: none */
} cuda_slot;

typedef struct cuda_recording {
    const void *owner; /* NULL: free */
    pith_cu_graph *graphs[CUDA_CLASSES][CUDA_SLOTS];
    bool refused; /* recording failed once: its steps run unrecorded */
} cuda_recording;

struct pith_ops_ctx {
    int ordinal;
    pk_dtype dtype; /* of weights and activations: PK_F16 or PK_BF16 */
    pith_cu_info info;
    char device_name[16]; /* "cuda:0" */
    void *compute;        /* streams: steps; copies of the next step's block */
    void *upload;
    uint64_t tickets; /* given out; ticket t is of slot t % CUDA_SLOTS */

    pith_ops_reserve bounds;
    cuda_slot slots[CUDA_SLOTS];
    uint32_t slot; /* of the step being enqueued */
    size_t in_bytes;
    size_t out_bytes;
    cuda_layout layout; /* of the step being enqueued */
    uint32_t rows;      /* of the step being enqueued */
    uint16_t *hidden16; /* [tokens_max, hidden] dtype: the span convolution's operand */
    float *conv;        /* [tokens_max, 5 * span_channels] f32 */
    float *sums;        /* [tokens_max, n] f32 of a library's product, where one is used */
    uint32_t *saturated;

    cuda_recording recordings[CUDA_RECORDINGS];
    cuda_recording *recorded; /* being recorded, or NULL */
    uint32_t class_of_step;
    uint32_t pairs;    /* of CTAs that share weight tiles, resident at once; 0: none */
    bool fast;         /* wgmma kernels */
    bool fast_refused; /* one of them was off: safe ones serve, under another name */
    bool graphs;    /* steps are recorded; not where a library, told rows by the host, multiplies */
    bool dependent; /* kernels start while the one before them ends (sm_90) */

    struct cuda_lt *lt; /* cuBLASLt, where it was asked for; else NULL */
    char isa[64];       /* complete when the models are loaded */

    bool in_step;
    pith_err failed; /* outside a step: first failure until sync reports it */
    pthread_mutex_t lock;
    pith_err dead; /* under `lock`. The device is lost: what every call says from then on */
    uint64_t n_saturated_weights;
    atomic_uint_fast64_t n_saturated; /* activations, as of the last step */
    uint32_t saturated_seen;          /* the device's counter then; it wraps */
};

struct pith_packed {
    pith_pack_kind kind;
    void *data; /* device memory */
    pk_dtype dtype;
    size_t rows; /* packed */
    size_t cols;
    const struct cuda_lt_plan *plan; /* by a library; NULL: by our own kernels */
};

/* Notes a failed call: in the step's slot, in the context, or as the device's death. */
void cuda_note(pith_ops_ctx *ctx, int code, const char *what);
#define CUDA_DO(ctx, call)                                                                         \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != PITH_CU_OK) {                                                                 \
            cuda_note(ctx, code_, #call);                                                          \
        }                                                                                          \
    } while (0)

/* Whether the step's operations go on: after a failure the block may not have gone up, and a kernel
 * would read garbage for totals. */
static inline bool cuda_step_ok(const pith_ops_ctx *ctx) {
    return ctx->slots[ctx->slot].failed.status == PITH_OK;
}
#define CUDA_LAUNCH(ctx, call)                                                                     \
    do {                                                                                           \
        if (cuda_step_ok(ctx)) {                                                                   \
            CUDA_DO(ctx, call);                                                                    \
        }                                                                                          \
    } while (0)

/* Memory and time: memory.c. */
pith_status cuda_alloc(pith_ops_ctx *ctx, size_t bytes, void **mem, pith_err *err);
void cuda_free(pith_ops_ctx *ctx, void *mem);
void cuda_copy_in(pith_ops_ctx *ctx, void *mem, const void *host, size_t bytes);
void cuda_copy_out(pith_ops_ctx *ctx, void *host, const void *mem, size_t bytes);
pith_status cuda_sync(pith_ops_ctx *ctx, pith_err *err);
uint64_t cuda_mark(pith_ops_ctx *ctx);
pith_status cuda_wait(pith_ops_ctx *ctx, uint64_t ticket, pith_err *err);

/* Steps and recordings: step.c. */
pith_status cuda_reserve(pith_ops_ctx *ctx, const pith_ops_reserve *bounds, pith_err *err);
bool cuda_begin(pith_ops_ctx *ctx, const pith_ops_batch *batch);
void cuda_end(pith_ops_ctx *ctx);
void cuda_forget(pith_ops_ctx *ctx, const void *recording);
void cuda_release_steps(pith_ops_ctx *ctx);

/* Weights: weights.c. */
pith_status cuda_pack(pith_ops_ctx *ctx, const pith_matrix *weight, const pith_pack_opts *opts,
                      pith_packed **packed, pith_err *err);
void cuda_packed_free(pith_ops_ctx *ctx, pith_packed *packed);

/* Several devices: replicate.c. */
pith_status cuda_replicate(pith_ops_ctx *const *ctxs, uint32_t n_ctxs,
                           const pith_ops_held *const *held, size_t n_held, pith_err *note,
                           pith_err *err);

/* Operations: operations.c. */
void cuda_embed_norm(pith_ops_ctx *ctx, const pith_op_embed_norm *op);
void cuda_add_norm(pith_ops_ctx *ctx, const pith_op_add_norm *op);
void cuda_qkv_rope(pith_ops_ctx *ctx, const pith_op_qkv_rope *op);
void cuda_attn(pith_ops_ctx *ctx, const pith_op_attn *op);
void cuda_linear(pith_ops_ctx *ctx, const pith_op_linear *op);
void cuda_geglu(pith_ops_ctx *ctx, const pith_op_geglu *op);
void cuda_heads(pith_ops_ctx *ctx, const pith_op_heads *op);

#endif
