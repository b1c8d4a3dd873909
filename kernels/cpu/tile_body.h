/* The register tile: PK_MR rows by two vectors, one accumulator per element, k ascending.
 *
 * a[r] points at row r (rows may repeat where fewer than PK_MR exist: the result of the repeats is
 * not used). acc is read and written, so a chain can be continued. */
#ifndef PK_CPU_TILE_BODY_H
#define PK_CPU_TILE_BODY_H

#include "kernels/cpu/math_body.h"

typedef struct tile {
    vf at[PK_MR][2];
} tile;

PK_INLINE void tile_zero(tile *t) {
    for (size_t r = 0; r < PK_MR; r++) {
        t->at[r][0] = v_zero();
        t->at[r][1] = v_zero();
    }
}

/* b [k][b_stride]: 2 * VW columns of each row are used. */
PK_INLINE void tile_f32(tile *t, const float *const a[PK_MR], const float *b, size_t b_stride,
                        size_t k) {
    tile acc = *t;
#pragma GCC unroll 4
    for (size_t i = 0; i < k; i++) {
        vf lo = v_load(b);
        vf hi = v_load(b + VW);
        b += b_stride;
#pragma GCC unroll 12
        for (size_t r = 0; r < PK_MR; r++) {
            vf value = v_set1(a[r][i]);
            acc.at[r][0] = v_fma(value, lo, acc.at[r][0]);
            acc.at[r][1] = v_fma(value, hi, acc.at[r][1]);
        }
    }
    *t = acc;
}

/* b [k / 2][2 * VW][2] bf16, a in f32. */
PK_INLINE void tile_bf16(tile *t, const float *const a[PK_MR], const uint16_t *b, size_t k) {
    tile acc = *t;
    for (size_t i = 0; i < k; i += 2) {
        vi lo = v_load_pairs(b);
        vi hi = v_load_pairs(b + 2 * VW);
        b += 4 * VW;
        vf even_lo = v_even(lo);
        vf even_hi = v_even(hi);
#pragma GCC unroll 12
        for (size_t r = 0; r < PK_MR; r++) {
            vf value = v_set1(a[r][i]);
            acc.at[r][0] = v_fma(value, even_lo, acc.at[r][0]);
            acc.at[r][1] = v_fma(value, even_hi, acc.at[r][1]);
        }
        vf odd_lo = v_odd(lo);
        vf odd_hi = v_odd(hi);
#pragma GCC unroll 12
        for (size_t r = 0; r < PK_MR; r++) {
            vf value = v_set1(a[r][i + 1]);
            acc.at[r][0] = v_fma(value, odd_lo, acc.at[r][0]);
            acc.at[r][1] = v_fma(value, odd_hi, acc.at[r][1]);
        }
    }
    *t = acc;
}

#ifdef PK_NATIVE_BF16

/* Both in bf16, k even, by the vec header's dot product of pairs. b [k / 2][b_stride]: 2 * VW pairs
 * of each row are used. */
PK_INLINE void tile_dot_bf16(tile *t, const uint16_t *const a[PK_MR], const uint16_t *b,
                             size_t b_stride, size_t k) {
    tile acc = *t;
#pragma GCC unroll 2
    for (size_t i = 0; i < k; i += 2) {
        vi lo = v_load_pairs(b);
        vi hi = v_load_pairs(b + 2 * VW);
        b += b_stride;
#pragma GCC unroll 12
        for (size_t r = 0; r < PK_MR; r++) {
            vi value = v_set1_pair(a[r] + i);
            acc.at[r][0] = v_dot_bf16(acc.at[r][0], value, lo);
            acc.at[r][1] = v_dot_bf16(acc.at[r][1], value, hi);
        }
    }
    *t = acc;
}

#endif

/* Pointers to rows [row, row + PK_MR) of a matrix, the last existing row repeated. */
PK_INLINE void tile_rows(const float *a[PK_MR], const float *base, size_t stride, size_t row,
                         size_t rows) {
    for (size_t r = 0; r < PK_MR; r++) {
        size_t at = row + r < rows ? row + r : rows - 1;
        a[r] = base + at * stride;
    }
}

#endif
