/* vec_avx512.h played by pairs of AVX2 registers, so that the 16-lane bodies run, lane for lane,
 * on a CPU without AVX-512. Everything but the one-line wrappers of vec_avx512.h is thereby tested
 * where tests run. */
#ifndef PK_CPU_VEC_H
#define PK_CPU_VEC_H

#include "kernels/types.h"

#include <immintrin.h>

enum { VW = 16, PK_MR = 12 };

typedef struct vf {
    __m256 lo;
    __m256 hi;
} vf;
typedef struct vi {
    __m256i lo;
    __m256i hi;
} vi;
typedef vf vm;

static inline vf pair_of(__m256 lo, __m256 hi) {
    return (vf){lo, hi};
}
static inline vf v_set1(float x) {
    return pair_of(_mm256_set1_ps(x), _mm256_set1_ps(x));
}
static inline vf v_zero(void) {
    return v_set1(0.0f);
}
static inline vf v_load(const float *p) {
    return pair_of(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
static inline void v_store(float *p, vf x) {
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
static inline vf v_add(vf a, vf b) {
    return pair_of(_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi));
}
static inline vf v_sub(vf a, vf b) {
    return pair_of(_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi));
}
static inline vf v_mul(vf a, vf b) {
    return pair_of(_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi));
}
static inline vf v_div(vf a, vf b) {
    return pair_of(_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi));
}
static inline vf v_fma(vf a, vf b, vf c) {
    return pair_of(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
static inline vf v_nfma(vf a, vf b, vf c) {
    return pair_of(_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi));
}
static inline vf v_max(vf a, vf b) {
    return pair_of(_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi));
}
static inline vf v_min(vf a, vf b) {
    return pair_of(_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi));
}
static inline vf v_abs(vf x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return pair_of(_mm256_andnot_ps(sign, x.lo), _mm256_andnot_ps(sign, x.hi));
}
static inline vf v_round(vf x) {
    return pair_of(_mm256_round_ps(x.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                   _mm256_round_ps(x.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline __m256 pow2_half(__m256 n) {
    __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
static inline vf v_pow2(vf n) {
    return pair_of(pow2_half(n.lo), pow2_half(n.hi));
}
static inline vm v_lt(vf a, vf b) {
    return pair_of(_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ));
}
static inline vf v_select(vm mask, vf yes, vf no) {
    return pair_of(_mm256_blendv_ps(no.lo, yes.lo, mask.lo),
                   _mm256_blendv_ps(no.hi, yes.hi, mask.hi));
}
static inline __m256 range_half(int lo, int hi) {
    __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(hi), lanes);
    __m256i early = _mm256_cmpgt_epi32(_mm256_set1_epi32(lo), lanes);
    return _mm256_castsi256_ps(_mm256_andnot_si256(early, below));
}
static inline vm v_lane_range(int lo, int hi) {
    return pair_of(range_half(lo, hi), range_half(lo - 8, hi - 8));
}
static inline vf v_load_n(const float *p, size_t n) {
    vm mask = v_lane_range(0, (int)n);
    return pair_of(_mm256_maskload_ps(p, _mm256_castps_si256(mask.lo)),
                   _mm256_maskload_ps(p + 8, _mm256_castps_si256(mask.hi)));
}
static inline void v_store_n(float *p, vf x, size_t n) {
    vm mask = v_lane_range(0, (int)n);
    _mm256_maskstore_ps(p, _mm256_castps_si256(mask.lo), x.lo);
    _mm256_maskstore_ps(p + 8, _mm256_castps_si256(mask.hi), x.hi);
}
static inline float v_sum(vf x) {
    __m256 eight = _mm256_add_ps(x.lo, x.hi);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float v_max_lane(vf x) {
    __m256 eight = _mm256_max_ps(x.lo, x.hi);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
static inline vi v_load_pairs(const uint16_t *p) {
    return (vi){_mm256_loadu_si256((const __m256i *)(const void *)p),
                _mm256_loadu_si256((const __m256i *)(const void *)(p + 16))};
}
static inline vf v_even(vi pairs) {
    return pair_of(_mm256_castsi256_ps(_mm256_slli_epi32(pairs.lo, 16)),
                   _mm256_castsi256_ps(_mm256_slli_epi32(pairs.hi, 16)));
}
static inline vf v_odd(vi pairs) {
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    return pair_of(_mm256_castsi256_ps(_mm256_and_si256(pairs.lo, upper)),
                   _mm256_castsi256_ps(_mm256_and_si256(pairs.hi, upper)));
}
static inline void v_store_bf16_n(uint16_t *p, vf x, size_t n) {
    float lanes[VW];
    v_store(lanes, x);
    for (size_t i = 0; i < n; i++) {
        p[i] = pk_bf16_of_f32(lanes[i]);
    }
}

#ifdef PK_NATIVE_BF16

static inline vf v_load_bf16(const uint16_t *p) {
    float lanes[VW];
    for (size_t i = 0; i < VW; i++) {
        lanes[i] = pk_f32_of_bf16(p[i]);
    }
    return v_load(lanes);
}
static inline void v_store_pairs(uint16_t *p, vf even, vf odd) {
    float lanes[2][VW];
    v_store(lanes[0], even);
    v_store(lanes[1], odd);
    for (size_t i = 0; i < 2 * VW; i++) {
        p[i] = pk_bf16_of_f32(lanes[i % 2][i / 2]);
    }
}
static inline vi v_set1_pair(const uint16_t *p) {
    int pair;
    memcpy(&pair, p, sizeof pair);
    return (vi){_mm256_set1_epi32(pair), _mm256_set1_epi32(pair)};
}
/* The instruction's own order of its two additions is not documented as one rounding or two; two
 * fused steps are as exact as either. */
static inline vf v_dot_bf16(vf acc, vi a, vi b) {
    return v_fma(v_even(a), v_even(b), v_fma(v_odd(a), v_odd(b), acc));
}

#endif

#endif
