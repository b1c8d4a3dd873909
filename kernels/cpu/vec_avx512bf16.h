/* vec_avx512.h, AVX512-BF16's dot product of pairs, and what feeds it. */
#ifndef PK_CPU_VEC_BF16_H
#define PK_CPU_VEC_BF16_H

#define PK_ISA(name) name##_avx512bf16
#define PK_NATIVE_BF16

#include "kernels/cpu/vec_avx512.h"

/* acc + even * even + odd * odd per lane, in f32; b holds VW pairs. */
static inline vf v_dot_bf16(vf acc, vi a, vi b) {
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

/* VW bf16 as f32. */
static inline vf v_load_bf16(const uint16_t *p) {
    __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* VW pairs (even[l], odd[l]), rounded to bf16. */
static inline void v_store_pairs(uint16_t *p, vf even, vf odd) {
    vi upper = _mm512_slli_epi32(v_bf16_bits(odd), 16);
    _mm512_storeu_si512(p, _mm512_or_si512(v_bf16_bits(even), upper));
}

/* One pair of bf16 in every lane. */
static inline vi v_set1_pair(const uint16_t *p) {
    int pair;
    memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

#endif
