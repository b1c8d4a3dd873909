/* exp and the exact GELU on vectors. Every lane runs the same arithmetic, so a value's result does
 * not depend on its place. Errors were measured over the whole range by tests/kernels/math_test. */
#ifndef PK_CPU_MATH_BODY_H
#define PK_CPU_MATH_BODY_H

#define PK_INLINE static inline __attribute__((always_inline))

/* exp(x) for x <= 88: relative error at most 2^-22; below -87 it is 0; NaN stays NaN.
 * x = n ln 2 + r; exp(r) = 1 + r + r^2 q(r), q a least-squares fit on |r| <= ln(2) / 2. */
PK_INLINE vf v_exp(vf x) {
    const vf lowest = v_set1(-87.0f); /* 2^-126 is e^-87.3 */
    vf clamped = v_max(lowest, x);
    vf n = v_round(v_mul(clamped, v_set1(0x1.715476p+0f))); /* 1 / ln 2 */
    vf r = v_nfma(n, v_set1(0x1.62e4p-1f), clamped);        /* ln 2, its first 15 bits: exact */
    r = v_nfma(n, v_set1(0x1.7f7d1cp-20f), r);              /* and the rest */
    vf q = v_set1(0x1.687bf6p-10f);
    q = v_fma(q, r, v_set1(0x1.123b9ep-7f));
    q = v_fma(q, r, v_set1(0x1.555b58p-5f));
    q = v_fma(q, r, v_set1(0x1.55548ep-3f));
    q = v_fma(q, r, v_set1(0x1.fffff8p-2f));
    vf power = v_add(v_fma(v_mul(r, r), q, r), v_set1(1.0f));
    return v_select(v_lt(x, lowest), v_zero(), v_mul(power, v_pow2(n)));
}

/* gelu(x) = x / 2 (1 + erf(x / sqrt 2)): absolute error at most 1e-7 + 1e-7 max(|x|, 1).
 * With y = |x| / sqrt 2: erfc(y) = exp(-y^2) P(u), u = (y - 3) / (y + 3), P a least-squares fit of
 * erfcx on y <= 10, relative error 4.5e-8; beyond, exp(-y^2) is 0 in f32. */
PK_INLINE vf v_gelu(vf x) {
    vf y = v_min(v_set1(10.0f), v_mul(v_abs(x), v_set1(0x1.6a09e6p-1f)));
    vf u = v_div(v_sub(y, v_set1(3.0f)), v_add(y, v_set1(3.0f)));
    vf p = v_set1(0x1.dad918p-15f);
    p = v_fma(p, u, v_set1(0x1.fa526p-16f));
    p = v_fma(p, u, v_set1(-0x1.37b0bap-11f));
    p = v_fma(p, u, v_set1(0x1.76be3ap-11f));
    p = v_fma(p, u, v_set1(0x1.17bf9p-8f));
    p = v_fma(p, u, v_set1(-0x1.8fabbep-6f));
    p = v_fma(p, u, v_set1(0x1.258b2cp-4f));
    p = v_fma(p, u, v_set1(-0x1.336feap-3f));
    p = v_fma(p, u, v_set1(0x1.f6ff2p-3f));
    p = v_fma(p, u, v_set1(-0x1.4e102cp-2f));
    p = v_fma(p, u, v_set1(0x1.6e9828p-3f));
    vf tail = v_mul(v_set1(0.5f), v_mul(v_exp(v_sub(v_zero(), v_mul(y, y))), p));
    return v_mul(x, v_select(v_lt(x, v_zero()), tail, v_sub(v_set1(1.0f), tail)));
}

#endif
