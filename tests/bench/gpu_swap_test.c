/* bench/gpu/swap.c: one operation alone is fast, and what follows it is as it was. */
#include "bench/gpu/swap.h"

#include "runtime/backend/cuda/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static char fast_ones[64]; /* names of the operations that were called with fast kernels */

/* What the linker's --wrap gives in the program: here they note how they were called. */
#define NOTE(function, type)                                                                       \
    void __real_##function(pith_ops_ctx *ctx, const type *op);                                     \
    void __wrap_##function(pith_ops_ctx *ctx, const type *op);                                     \
    void __real_##function(pith_ops_ctx *ctx, const type *op) {                                    \
        (void)op;                                                                                  \
        if (ctx->fast) {                                                                           \
            strncat(fast_ones, #function " ", sizeof fast_ones - strlen(fast_ones) - 1);           \
        }                                                                                          \
    }
NOTE(cuda_qkv_rope, pith_op_qkv_rope)
NOTE(cuda_geglu, pith_op_geglu)
NOTE(cuda_linear, pith_op_linear)
NOTE(cuda_attn, pith_op_attn)
NOTE(cuda_heads, pith_op_heads)

static const char *fast_with(bool fast) {
    pith_ops_ctx ctx = {.fast = fast};
    fast_ones[0] = '\0';
    __wrap_cuda_qkv_rope(&ctx, NULL);
    __wrap_cuda_geglu(&ctx, NULL);
    __wrap_cuda_linear(&ctx, NULL);
    __wrap_cuda_attn(&ctx, NULL);
    __wrap_cuda_heads(&ctx, NULL);
    assert_int_equal(ctx.fast, fast);
    return fast_ones;
}

static void one_operation_alone_is_fast(void **state) {
    (void)state;
    assert_string_equal(bench_swap("auto"), "auto");
    assert_string_equal(fast_with(true),
                        "cuda_qkv_rope cuda_geglu cuda_linear cuda_attn cuda_heads ");
    assert_string_equal(bench_swap("safe"), "safe");
    assert_string_equal(bench_swap("geglu"), "auto");
    assert_string_equal(fast_with(true), "cuda_geglu ");
    assert_string_equal(bench_swap("attn"), "auto");
    assert_string_equal(fast_with(true), "cuda_attn ");
    assert_string_equal(fast_with(false), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_operation_alone_is_fast)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
