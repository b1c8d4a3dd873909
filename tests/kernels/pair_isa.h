/* Instances of the 16-lane kernels that run on AVX2; see vec_pair.h. */
#ifndef TESTS_KERNELS_PAIR_ISA_H
#define TESTS_KERNELS_PAIR_ISA_H

#include "kernels/cpu/isa.h"

extern const pk_cpu_isa pair_isa, pair_bf16_isa;

pk_embed_norm_fn pk_embed_norm_pair;
pk_add_norm_fn pk_add_norm_pair;
pk_linear_fn pk_linear_pair, pk_linear_pair_bf16;
pk_geglu_fn pk_geglu_pair, pk_geglu_pair_bf16;
pk_qkv_rope_fn pk_qkv_rope_pair, pk_qkv_rope_pair_bf16;
pk_attn_fn pk_attn_pair, pk_attn_pair_bf16;
pk_heads_fn pk_heads_pair;

/* The bodies' exp and gelu on 16 values, for tests of their error. */
void pair_exp(float *y, const float *x);

#endif
