/* The kernels of one instruction set, to be chosen once at run time. Pure data. */
#ifndef PK_CPU_ISA_H
#define PK_CPU_ISA_H

#include "kernels/attn.h"
#include "kernels/heads.h"
#include "kernels/linear.h"
#include "kernels/norm.h"

#include <stdbool.h>

typedef struct pk_cpu_isa {
    const char *name;
    size_t width;     /* of its panels */
    bool native_bf16; /* multiplies bf16 without widening it first */
    pk_embed_norm_fn *embed_norm;
    pk_add_norm_fn *add_norm;
    pk_linear_fn *linear;
    pk_geglu_fn *geglu;
    pk_qkv_rope_fn *qkv_rope;
    pk_attn_fn *attn;
    pk_attn_fn *attn_bf16; /* for activations in bf16: may take operands in bf16 */
    pk_heads_fn *heads;
} pk_cpu_isa;

extern const pk_cpu_isa pk_cpu_avx2, pk_cpu_avx512, pk_cpu_avx512bf16;

/* Whether this CPU and its operating system can run it. */
bool pk_cpu_has(const pk_cpu_isa *isa);

#endif
