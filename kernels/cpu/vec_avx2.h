/* Vectors of 8 f32 over AVX2 and FMA: the vocabulary that the *_body.h files are written in.
 * vec_avx512.h gives the same names 16 lanes. Lane order of every reduction is fixed. */
#ifndef PK_CPU_VEC_H
#define PK_CPU_VEC_H

#include "kernels/types.h"

#include <immintrin.h>

#define PK_ISA(name) name##_avx2

enum {
    VW = 8,   /* lanes */
    PK_MR = 6 /* tile height: 12 accumulators of two vectors, 16 registers in all */
};

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm; /* all bits of a lane set or clear */

static inline vf v_zero(void) {
    return _mm256_setzero_ps();
}
static inline vf v_set1(float x) {
    return _mm256_set1_ps(x);
}
static inline vf v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline void v_store(float *p, vf x) {
    _mm256_storeu_ps(p, x);
}
static inline vf v_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
static inline vf v_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
static inline vf v_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
static inline vf v_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
/* a * b + c, one rounding. */
static inline vf v_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
/* c - a * b, one rounding. */
static inline vf v_nfma(vf a, vf b, vf c) {
    return _mm256_fnmadd_ps(a, b, c);
}
/* The larger; b where either is NaN. */
static inline vf v_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
/* The smaller; b where either is NaN. */
static inline vf v_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
static inline vf v_abs(vf x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
/* To the nearest integer, ties to even. */
static inline vf v_round(vf x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* 2^n for whole n in [-126, 127]. */
static inline vf v_pow2(vf n) {
    vi biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
/* False where either is NaN. */
static inline vm v_lt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
/* yes where the mask is set, else no. */
static inline vf v_select(vm mask, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, mask);
}
static inline vi v_lanes(void) {
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}
/* Lanes l with lo <= l < hi. */
static inline vm v_lane_range(int lo, int hi) {
    vi lanes = v_lanes();
    vi below = _mm256_cmpgt_epi32(_mm256_set1_epi32(hi), lanes);
    vi early = _mm256_cmpgt_epi32(_mm256_set1_epi32(lo), lanes);
    return _mm256_castsi256_ps(_mm256_andnot_si256(early, below));
}
/* The first n of 8 lanes, n in [0, 8]; the others are 0 and their memory is not touched. The masked
 * forms take tens of cycles on AMD, so whole vectors go past them. */
static inline vf v_load_n(const float *p, size_t n) {
    return n == VW ? v_load(p)
                   : _mm256_maskload_ps(p, _mm256_castps_si256(v_lane_range(0, (int)n)));
}
static inline void v_store_n(float *p, vf x, size_t n) {
    if (n == VW) {
        v_store(p, x);
    } else {
        _mm256_maskstore_ps(p, _mm256_castps_si256(v_lane_range(0, (int)n)), x);
    }
}
static inline float v_sum(vf x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float v_max_lane(vf x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* VW pairs of bf16: the even members, or the odd ones, as f32. */
static inline vi v_load_pairs(const uint16_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline vf v_even(vi pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
static inline vf v_odd(vi pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u)));
}
/* The first n lanes, rounded as pk_bf16_of_f32 does. */
static inline void v_store_bf16_n(uint16_t *p, vf x, size_t n) {
    vi bits = _mm256_castps_si256(x);
    vi upper = _mm256_srli_epi32(bits, 16);
    vi odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    vi bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    vi rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, bias), 16);
    vi quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    vi nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    vi chosen = _mm256_blendv_epi8(rounded, quiet, nan);
    vi packed = _mm256_packus_epi32(chosen, chosen);
    __m128i out = _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
    if (n == VW) {
        _mm_storeu_si128((__m128i *)(void *)p, out);
        return;
    }
    uint16_t lanes[VW];
    _mm_storeu_si128((__m128i *)(void *)lanes, out);
    memcpy(p, lanes, n * sizeof *p);
}

#endif
