/* What the kernel tests share: the instruction sets under test, random data, one comparison. */
#ifndef TESTS_KERNELS_KERNEL_CASES_H
#define TESTS_KERNELS_KERNEL_CASES_H

#include "tests/kernels/pair_isa.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Half a unit in the last place of an f32 in [1, 2): the relative error of one rounding. */
#define UNIT 0x1p-24

static const pk_cpu_isa *const all_isas[] = {&pk_cpu_avx2, &pk_cpu_avx512, &pk_cpu_avx512bf16,
                                             &pair_isa, &pair_bf16_isa};

enum { ISA_COUNT = sizeof all_isas / sizeof all_isas[0] };

/* The pairs need AVX2 only. */
static inline bool runs_here(const pk_cpu_isa *isa) {
    bool pair = isa == &pair_isa || isa == &pair_bf16_isa;
    return pk_cpu_has(pair ? &pk_cpu_avx2 : isa);
}

typedef struct test_rng {
    uint64_t state;
} test_rng;

/* SplitMix64. */
static inline uint64_t test_next(test_rng *rng) {
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [-scale, scale]. */
static inline float test_uniform(test_rng *rng, float scale) {
    return scale * ((float)(test_next(rng) >> 40) * 0x1p-23f - 1.0f);
}

/* Uniform in [lo, hi]. */
static inline size_t test_between(test_rng *rng, size_t lo, size_t hi) {
    return lo + (size_t)(test_next(rng) % (hi - lo + 1));
}

/* 64-byte aligned, filled with uniform values; freed by the caller. */
static inline float *test_floats(test_rng *rng, size_t count, float scale) {
    float *x = aligned_alloc(64, (count * sizeof *x + 127) / 64 * 64);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) {
        x[i] = test_uniform(rng, scale);
    }
    return x;
}

/* Positive form: a NaN on either side fails. */
static inline void check_close(double found, double expected, double limit, const char *what) {
    if (!(fabs(found - expected) <= limit)) {
        print_error("%s: found %.9g, expected %.9g, limit %.3g\n", what, found, expected, limit);
        fail();
    }
}

/* Rounds in place to what bf16 holds. */
static inline void round_to_bf16(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        x[i] = pk_f32_of_bf16(pk_bf16_of_f32(x[i]));
    }
}

static inline uint16_t *as_bf16(const float *x, size_t count) {
    uint16_t *y = aligned_alloc(64, (count * sizeof *y + 127) / 64 * 64);
    assert_non_null(y);
    for (size_t i = 0; i < count; i++) {
        y[i] = pk_bf16_of_f32(x[i]);
    }
    return y;
}

#endif
