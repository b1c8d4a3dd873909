/* vec_avx512.h and AVX512-BF16's dot product of pairs. */
#ifndef PK_CPU_VEC_BF16_H
#define PK_CPU_VEC_BF16_H

#define PK_ISA(name) name##_avx512bf16
#define PK_NATIVE_BF16

#include "kernels/cpu/vec_avx512.h"

/* acc + even * even + odd * odd per lane, in f32; b holds VW pairs. */
static inline vf v_dot_bf16(vf acc, vi a, vi b) {
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

/* One pair of bf16 in every lane. */
static inline vi v_set1_pair(const uint16_t *p) {
    int pair;
    memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

#endif
