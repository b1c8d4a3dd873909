/* The native bf16 product's body over pairs of AVX2 registers; see vec_pair.h. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#define PK_ISA(name) name##_pair_bf16
#define PK_NATIVE_BF16
#include "tests/kernels/vec_pair.h"

#include "tests/kernels/pair_isa.h"

#include "kernels/cpu/attn_body.h"
#include "kernels/cpu/linear_body.h"

const pk_cpu_isa pair_bf16_isa = {
    .name = "pair-bf16",
    .width = VW,
    .native_bf16 = true,
    .embed_norm = pk_embed_norm_pair,
    .add_norm = pk_add_norm_pair,
    .linear = pk_linear_pair_bf16,
    .geglu = pk_geglu_pair_bf16,
    .qkv_rope = pk_qkv_rope_pair_bf16,
    .attn = pk_attn_pair,
    .attn_bf16 = pk_attn_pair_bf16,
    .heads = pk_heads_pair,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif
