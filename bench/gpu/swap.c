#include "bench/gpu/swap.h"

#include "runtime/backend/cuda/context.h"

#include <string.h>

static const char *only; /* NULL: all are as the device was opened */

const char *bench_swap(const char *kernels) {
    static const char *const names[] = {"qkv", "geglu", "linear", "attn", "heads"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(kernels, names[i]) == 0) {
            only = names[i];
            return "auto";
        }
    }
    return kernels;
}

/* The linker gives the real operation as __real_ and calls ours as __wrap_. */
#define WRAP(function, type, name)                                                                 \
    void __real_##function(pith_ops_ctx *ctx, const type *op);                                     \
    void __wrap_##function(pith_ops_ctx *ctx, const type *op);                                     \
    void __wrap_##function(pith_ops_ctx *ctx, const type *op) {                                    \
        bool fast = ctx->fast;                                                                     \
        ctx->fast = fast && (only == NULL || strcmp(only, name) == 0);                             \
        __real_##function(ctx, op);                                                                \
        ctx->fast = fast;                                                                          \
    }

WRAP(cuda_qkv_rope, pith_op_qkv_rope, "qkv")
WRAP(cuda_geglu, pith_op_geglu, "geglu")
WRAP(cuda_linear, pith_op_linear, "linear")
WRAP(cuda_attn, pith_op_attn, "attn")
WRAP(cuda_heads, pith_op_heads, "heads")
