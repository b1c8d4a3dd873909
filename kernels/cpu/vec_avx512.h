/* Vectors of 16 f32 over AVX-512 F, BW, VL, DQ. Same names and meaning as vec_avx2.h. */
#ifndef PK_CPU_VEC_H
#define PK_CPU_VEC_H

#include "kernels/types.h"

#include <immintrin.h>

#ifndef PK_ISA
#define PK_ISA(name) name##_avx512
#endif

enum {
    VW = 16,   /* lanes */
    PK_MR = 12 /* tile height: 24 accumulators of two vectors, 32 registers in all */
};

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

static inline vf v_zero(void) {
    return _mm512_setzero_ps();
}
static inline vf v_set1(float x) {
    return _mm512_set1_ps(x);
}
static inline vf v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vf x) {
    _mm512_storeu_ps(p, x);
}
static inline vf v_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static inline vf v_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static inline vf v_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
static inline vf v_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
static inline vf v_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf v_nfma(vf a, vf b, vf c) {
    return _mm512_fnmadd_ps(a, b, c);
}
static inline vf v_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf v_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vf v_abs(vf x) {
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
}
static inline vf v_round(vf x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vf v_pow2(vf n) {
    vi biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}
static inline vm v_lt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline vf v_select(vm mask, vf yes, vf no) {
    return _mm512_mask_blend_ps(mask, no, yes);
}
static inline vm v_lane_range(int lo, int hi) {
    vi lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    vm below = _mm512_cmplt_epi32_mask(lanes, _mm512_set1_epi32(hi));
    return _mm512_mask_cmpge_epi32_mask(below, lanes, _mm512_set1_epi32(lo));
}
static inline vf v_load_n(const float *p, size_t n) {
    return _mm512_maskz_loadu_ps(v_lane_range(0, (int)n), p);
}
static inline void v_store_n(float *p, vf x, size_t n) {
    _mm512_mask_storeu_ps(p, v_lane_range(0, (int)n), x);
}
/* Lower and upper eight lanes. */
static inline __m256 v_low(vf x) {
    return _mm512_castps512_ps256(x);
}
static inline __m256 v_high(vf x) {
    return _mm512_extractf32x8_ps(x, 1);
}
static inline float v_sum(vf x) {
    __m256 eight = _mm256_add_ps(v_low(x), v_high(x));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float v_max_lane(vf x) {
    __m256 eight = _mm256_max_ps(v_low(x), v_high(x));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static inline vi v_load_pairs(const uint16_t *p) {
    return _mm512_loadu_si512(p);
}
static inline vf v_even(vi pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}
static inline vf v_odd(vi pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}
/* bf16 in the lower half of each lane, rounded as pk_bf16_of_f32 does. */
static inline vi v_bf16_bits(vf x) {
    vi bits = _mm512_castps_si512(x);
    vi upper = _mm512_srli_epi32(bits, 16);
    vi odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    vi bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    vi rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, bias), 16);
    vi quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    vm nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_blend_epi32(nan, rounded, quiet);
}
static inline void v_store_bf16_n(uint16_t *p, vf x, size_t n) {
    _mm256_mask_storeu_epi16(p, v_lane_range(0, (int)n), _mm512_cvtepi32_epi16(v_bf16_bits(x)));
}

#endif
