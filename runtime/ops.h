/* pith_ops: the operations that a forward pass is written over.
 *
 * One const table per backend (ref, cpu, cuda), declared here and owned by nobody. A pith_ops_ctx
 * belongs to the backend, is used by one thread at a time, and is passed to every operation.
 * Buffers come from `alloc` and may live on a device: the host reads and writes them through
 * copy_in and copy_out alone. Operations are enqueued in order; they report nothing. The first
 * failure since the last `sync` or `wait` is what the next one returns: PITH_EXHAUSTED (device
 * memory), PITH_INTERNAL (a launch that the device refused), or PITH_UNAVAILABLE: the device is
 * lost, and so says every call from then on.
 *
 * A step is begun with `begin`, which hands over the packed batch: n_tok tokens of n_seq sequences,
 * one after the other, no padding. Every activation has n_tok rows. A row's result depends on its
 * own sequence alone, to the last bit. */
#ifndef PITH_OPS_H
#define PITH_OPS_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_ops_ctx pith_ops_ctx;
typedef struct pith_packed pith_packed; /* a weight in the backend's own layout */

typedef enum pith_elem { PITH_ELEM_F32, PITH_ELEM_F16, PITH_ELEM_BF16 } pith_elem;

/* A weight as a checkpoint stores it: [rows, cols] row-major; y = x W^T has `rows` outputs. */
typedef struct pith_matrix {
    const void *data;
    pith_elem elem;
    size_t rows;
    size_t cols;
} pith_matrix;

typedef enum pith_pack_kind {
    PITH_PACK_TABLE,    /* embedding [vocab, dim]; a backend on the host borrows `data` */
    PITH_PACK_LINEAR,   /* [n, k] for `linear` */
    PITH_PACK_QKV,      /* [3 * n_heads * head_dim, k] for `linear_qkv_rope` */
    PITH_PACK_GEGLU,    /* [2 * n, k]: n rows to be activated, then n rows of the gate */
    PITH_PACK_SPAN_CONV /* [channels, dim * 5], element [c][d * 5 + tap] as Conv1d stores it */
} pith_pack_kind;

typedef struct pith_pack_opts {
    pith_pack_kind kind;
    uint32_t n_heads; /* PITH_PACK_QKV only */
} pith_pack_opts;

/* The step's batch, in host memory, valid until its results are there (`wait` or `sync`). */
typedef struct pith_ops_batch {
    const uint32_t *ids;        /* [n_tok] */
    const uint32_t *cu_seqlens; /* [n_seq + 1], cu_seqlens[0] = 0, [n_seq] = n_tok, ascending */
    uint32_t n_seq;
    uint32_t n_tok;
    /* NULL, or a name under which every step does the same operations on the same memory, whatever
     * its batch, so that the backend may record them once and play them again. */
    const void *recording;
} pith_ops_batch;

/* A place that holds something of a context: memory of `bytes` (packed is NULL), or a weight. */
typedef struct pith_ops_held {
    void **mem;
    size_t bytes;
    pith_packed **packed;
} pith_ops_held;

/* Bounds of every later step, so that scratch is allocated once. */
typedef struct pith_ops_reserve {
    uint32_t tokens_max;
    uint32_t hidden;
    uint32_t intermediate;
    uint32_t n_heads;
    uint32_t span_channels;
} pith_ops_reserve;

/* Bytes per element of the backend's activations. */
typedef struct pith_ops_elems {
    size_t act; /* operands of linear products */
    size_t qkv; /* q, k, v as written by linear_qkv_rope */
} pith_ops_elems;

/* "act" below means elements of pith_ops_elems.act bytes, in the backend's own format. */

/* x = LayerNorm(table[ids]) * weight, also stored as act. */
typedef struct pith_op_embed_norm {
    float *x;  /* [n_tok, dim] f32, out: the residual stream */
    void *out; /* [n_tok, dim] act, out */
    const pith_packed *table;
    const float *weight; /* [dim] f32 */
    float eps;
} pith_op_embed_norm;

/* x += delta; out = LayerNorm(x) * weight. */
typedef struct pith_op_add_norm {
    float *x;            /* [n_tok, dim] f32, in and out */
    void *out;           /* [n_tok, dim] act, or f32 when out_f32 */
    const float *delta;  /* [n_tok, dim] f32 */
    const float *weight; /* [dim] f32 */
    uint32_t dim;
    float eps;
    bool out_f32;
} pith_op_add_norm;

/* qkv = act W^T, then NeoX rotation of q and k by the token's position in its sequence, and
 * q * head_dim^-1/2. */
typedef struct pith_op_qkv_rope {
    void *qkv;       /* [n_tok, 3, n_heads, head_dim], out */
    const void *act; /* [n_tok, k] act */
    const pith_packed *weight;
    const float *rope; /* [positions, 2, head_dim / 2] f32: cosines, then sines */
} pith_op_qkv_rope;

#define PITH_OPS_WINDOW_GLOBAL UINT32_MAX

/* out = softmax(q k^T over keys with |i - j| <= window) v, within each sequence. */
typedef struct pith_op_attn {
    void *out;       /* [n_tok, n_heads * head_dim] act, out */
    const void *qkv; /* [n_tok, 3, n_heads, head_dim], q already scaled */
    uint32_t n_heads;
    uint32_t head_dim;
    uint32_t window; /* keys on each side, or PITH_OPS_WINDOW_GLOBAL */
} pith_op_attn;

/* out = act W^T. */
typedef struct pith_op_linear {
    float *out;      /* [n_tok, n] f32, out; must not alias act */
    const void *act; /* [n_tok, k] act */
    const pith_packed *weight;
} pith_op_linear;

/* [a | b] = act W^T; out = gelu(a) * b with the exact (erf) GELU. */
typedef struct pith_op_geglu {
    void *out;       /* [n_tok, n] act, out; must not alias act */
    const void *act; /* [n_tok, k] act */
    const pith_packed *weight;
} pith_op_geglu;

typedef enum pith_op_gate {
    PITH_OP_GATE_MULTIPLICATIVE,
    PITH_OP_GATE_ASYMMETRIC,
    PITH_OP_GATE_OR_BOOST
} pith_op_gate;

/* Token head, span convolution (k 5, GELU, k 3, zeros outside each sequence) and gate.
 * Formulas: kernels/heads.h. */
typedef struct pith_op_heads {
    float *z_tok;              /* [n_tok] f32, out: logit_keep - logit_drop */
    float *z_span;             /* [n_tok] f32, out: before its sigmoid */
    float *score;              /* [n_tok] f32, out */
    const float *hidden;       /* [n_tok, dim] f32, after the final norm */
    const float *token_weight; /* [2, dim] f32: drop, keep */
    const float *token_bias;   /* [2] f32 */
    const pith_packed *conv0;  /* PITH_PACK_SPAN_CONV */
    const float *conv0_bias;   /* [channels] f32 */
    const float *conv2_weight; /* [channels, 3] f32 */
    const float *conv2_bias;   /* [1] f32 */
    uint32_t dim;
    uint32_t channels;
    pith_op_gate gate;
    float gamma; /* asymmetric gate only */
} pith_op_heads;

typedef struct pith_ops {
    const char *name;
    uint32_t steps_in_flight; /* 1: operations are done when they return; at most 2 */

    /* Memory. alloc: at least 64-byte aligned, not cleared. NULL is never freed twice: free(NULL)
     * is fine. copy_in and copy_out are ordered with the operations. */
    pith_status (*alloc)(pith_ops_ctx *ctx, size_t bytes, void **mem, pith_err *err);
    void (*free)(pith_ops_ctx *ctx, void *mem);
    void (*copy_in)(pith_ops_ctx *ctx, void *mem, const void *host, size_t bytes);
    void (*copy_out)(pith_ops_ctx *ctx, void *host, const void *mem, size_t bytes);
    pith_status (*sync)(pith_ops_ctx *ctx, pith_err *err);

    /* Two steps in flight: `mark` ends what was enqueued for one step, `wait` returns when all up
     * to the mark is done and copied out. Marks are waited for in order; at most steps_in_flight
     * are open. One thread may wait while another enqueues the next step: the one exception. */
    uint64_t (*mark)(pith_ops_ctx *ctx);
    pith_status (*wait)(pith_ops_ctx *ctx, uint64_t mark, pith_err *err);

    /* Weights. Packing copies, except a table on the host. PITH_UNSUPPORTED for a shape that the
     * backend cannot multiply. */
    pith_status (*pack_weight)(pith_ops_ctx *ctx, const pith_matrix *weight,
                               const pith_pack_opts *opts, pith_packed **packed, pith_err *err);
    void (*packed_free)(pith_ops_ctx *ctx, pith_packed *packed);

    /* Several devices; NULL where a backend has one. held[d] [n_held] are places of ctxs[d], in one
     * order. What those of ctxs[0] hold is brought to the others, into memory that is made for it
     * and belongs to their context. On failure what was made stays in its places. `note` says in
     * one line how it went. PITH_UNSUPPORTED: the devices would compute differently. */
    pith_status (*replicate)(pith_ops_ctx *const *ctxs, uint32_t n_ctxs,
                             const pith_ops_held *const *held, size_t n_held, pith_err *note,
                             pith_err *err);

    /* Values that did not fit f16 and were saturated, weights and activations, until now. Any
     * thread, once the weights are loaded. */
    uint64_t (*saturated)(const pith_ops_ctx *ctx);

    /* Steps. reserve may be called again with larger bounds (a second model on the device). */
    pith_status (*reserve)(pith_ops_ctx *ctx, const pith_ops_reserve *bounds, pith_err *err);
    pith_ops_elems (*elems)(const pith_ops_ctx *ctx);
    /* Where steps_in_flight is 1 a step may be left between two operations for another whole one,
     * and is taken up again by `begin` with its own batch. True: the step's operations follow, then
     * `end`. False: they were recorded in an earlier step and have been enqueued; neither they nor
     * `end` follow. */
    bool (*begin)(pith_ops_ctx *ctx, const pith_ops_batch *batch);
    void (*end)(pith_ops_ctx *ctx);
    void (*forget)(pith_ops_ctx *ctx, const void *recording); /* unknown: fine */

    void (*embed_norm)(pith_ops_ctx *ctx, const pith_op_embed_norm *op);
    void (*add_norm)(pith_ops_ctx *ctx, const pith_op_add_norm *op);
    void (*linear_qkv_rope)(pith_ops_ctx *ctx, const pith_op_qkv_rope *op);
    void (*attn)(pith_ops_ctx *ctx, const pith_op_attn *op);
    void (*linear)(pith_ops_ctx *ctx, const pith_op_linear *op);
    void (*linear_geglu)(pith_ops_ctx *ctx, const pith_op_geglu *op);
    void (*heads_gate)(pith_ops_ctx *ctx, const pith_op_heads *op);
} pith_ops;

#endif
