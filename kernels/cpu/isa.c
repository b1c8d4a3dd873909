#include "kernels/cpu/isa.h"

const pk_cpu_isa pk_cpu_avx2 = {
    .name = "avx2",
    .width = 8,
    .embed_norm = pk_embed_norm_avx2,
    .add_norm = pk_add_norm_avx2,
    .linear = pk_linear_avx2,
    .geglu = pk_geglu_avx2,
    .qkv_rope = pk_qkv_rope_avx2,
    .attn = pk_attn_avx2,
    .attn_bf16 = pk_attn_avx2,
    .heads = pk_heads_avx2,
};

const pk_cpu_isa pk_cpu_avx512 = {
    .name = "avx512",
    .width = 16,
    .embed_norm = pk_embed_norm_avx512,
    .add_norm = pk_add_norm_avx512,
    .linear = pk_linear_avx512,
    .geglu = pk_geglu_avx512,
    .qkv_rope = pk_qkv_rope_avx512,
    .attn = pk_attn_avx512,
    .attn_bf16 = pk_attn_avx512,
    .heads = pk_heads_avx512,
};

const pk_cpu_isa pk_cpu_avx512bf16 = {
    .name = "avx512-bf16",
    .width = 16,
    .native_bf16 = true,
    .embed_norm = pk_embed_norm_avx512,
    .add_norm = pk_add_norm_avx512,
    .linear = pk_linear_avx512bf16,
    .geglu = pk_geglu_avx512bf16,
    .qkv_rope = pk_qkv_rope_avx512bf16,
    .attn = pk_attn_avx512,
    .attn_bf16 = pk_attn_avx512bf16,
    .heads = pk_heads_avx512,
};

bool pk_cpu_has(const pk_cpu_isa *isa) {
    bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa->width == 16) {
        has = has && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    }
    return has && (!isa->native_bf16 || __builtin_cpu_supports("avx512bf16"));
}
