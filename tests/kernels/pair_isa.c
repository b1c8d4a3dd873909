/* The 16-lane bodies over pairs of AVX2 registers; see vec_pair.h. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#define PK_ISA(name) name##_pair
#include "tests/kernels/vec_pair.h"

#include "tests/kernels/pair_isa.h"

#include "kernels/cpu/attn_body.h"
#include "kernels/cpu/heads_body.h"
#include "kernels/cpu/linear_body.h"
#include "kernels/cpu/norm_body.h"

const pk_cpu_isa pair_isa = {
    .name = "pair",
    .width = VW,
    .embed_norm = pk_embed_norm_pair,
    .add_norm = pk_add_norm_pair,
    .linear = pk_linear_pair,
    .geglu = pk_geglu_pair,
    .qkv_rope = pk_qkv_rope_pair,
    .attn = pk_attn_pair,
    .attn_bf16 = pk_attn_pair,
    .heads = pk_heads_pair,
};

void pair_exp(float *y, const float *x) {
    v_store(y, v_exp(v_load(x)));
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
