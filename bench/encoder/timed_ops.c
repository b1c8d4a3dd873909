#include "bench/encoder/timed_ops.h"

#include <time.h>

enum { EMBED_NORM, ADD_NORM, QKV_ROPE, ATTN_LOCAL, ATTN_GLOBAL, LINEAR, GEGLU, HEADS, OP_COUNT };

static const char *const names[OP_COUNT] = {"embed_norm",  "add_norm", "qkv_rope", "attn_local",
                                            "attn_global", "linear",   "geglu",    "heads"};
static const pith_ops *inner_ops;
static double seconds[OP_COUNT];

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define TIMED(which, call)                                                                         \
    do {                                                                                           \
        double from = now();                                                                       \
        call;                                                                                      \
        seconds[which] += now() - from;                                                            \
    } while (0)

static void embed_norm(pith_ops_ctx *ctx, const pith_op_embed_norm *op) {
    TIMED(EMBED_NORM, inner_ops->embed_norm(ctx, op));
}

static void add_norm(pith_ops_ctx *ctx, const pith_op_add_norm *op) {
    TIMED(ADD_NORM, inner_ops->add_norm(ctx, op));
}

static void qkv_rope(pith_ops_ctx *ctx, const pith_op_qkv_rope *op) {
    TIMED(QKV_ROPE, inner_ops->linear_qkv_rope(ctx, op));
}

static void attn(pith_ops_ctx *ctx, const pith_op_attn *op) {
    int which = op->window == PITH_OPS_WINDOW_GLOBAL ? ATTN_GLOBAL : ATTN_LOCAL;
    TIMED(which, inner_ops->attn(ctx, op));
}

static void linear(pith_ops_ctx *ctx, const pith_op_linear *op) {
    TIMED(LINEAR, inner_ops->linear(ctx, op));
}

static void geglu(pith_ops_ctx *ctx, const pith_op_geglu *op) {
    TIMED(GEGLU, inner_ops->linear_geglu(ctx, op));
}

static void heads(pith_ops_ctx *ctx, const pith_op_heads *op) {
    TIMED(HEADS, inner_ops->heads_gate(ctx, op));
}

const pith_ops *bench_timed_ops(const pith_ops *inner) {
    static pith_ops timed;
    inner_ops = inner;
    timed = *inner;
    timed.embed_norm = embed_norm;
    timed.add_norm = add_norm;
    timed.linear_qkv_rope = qkv_rope;
    timed.attn = attn;
    timed.linear = linear;
    timed.linear_geglu = geglu;
    timed.heads_gate = heads;
    return &timed;
}

void bench_timed_print(FILE *out) {
    for (int i = 0; i < OP_COUNT; i++) {
        (void)fprintf(out, "%s %.4f%s", names[i], seconds[i], i + 1 < OP_COUNT ? " " : "\n");
        seconds[i] = 0.0;
    }
}
