#include "bench/encoder/peak.h"

#include <immintrin.h>
#include <pthread.h>
#include <time.h>

enum { THREADS_MAX = 64, CHAINS = 12, ROUNDS = 4000000 };

typedef void chain_fn(float *out);

/* Twelve chains hide a latency of 4 cycles at two per cycle (or 6 at one). */
__attribute__((target("avx2,fma"))) static void chains_256(float *out) {
    __m256 a[CHAINS];
    __m256 b = _mm256_set1_ps(0.999f);
    __m256 c = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++) {
        a[i] = _mm256_set1_ps((float)i);
    }
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            a[i] = _mm256_fmadd_ps(a[i], b, c);
        }
    }
    for (int i = 1; i < CHAINS; i++) {
        a[0] = _mm256_add_ps(a[0], a[i]);
    }
    _mm256_storeu_ps(out, a[0]);
}

__attribute__((target("avx512f"))) static void chains_512(float *out) {
    __m512 a[CHAINS];
    __m512 b = _mm512_set1_ps(0.999f);
    __m512 c = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++) {
        a[i] = _mm512_set1_ps((float)i);
    }
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            a[i] = _mm512_fmadd_ps(a[i], b, c);
        }
    }
    for (int i = 1; i < CHAINS; i++) {
        a[0] = _mm512_add_ps(a[0], a[i]);
    }
    _mm512_storeu_ps(out, a[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static void chains_bf16(float *out) {
    __m512 a[CHAINS];
    __m512bh b = (__m512bh)_mm512_set1_epi32(0x3f7f3f7f); /* 0.996 */
    for (int i = 0; i < CHAINS; i++) {
        a[i] = _mm512_set1_ps((float)i);
    }
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            a[i] = _mm512_dpbf16_ps(a[i], b, b);
        }
    }
    for (int i = 1; i < CHAINS; i++) {
        a[0] = _mm512_add_ps(a[0], a[i]);
    }
    _mm512_storeu_ps(out, a[0]);
}

typedef struct chain_run {
    chain_fn *fn;
    double seconds; /* of this thread's CPU time: a busy machine does not lower the peak */
    float last;     /* the result is used */
} chain_run;

static void *run_chains(void *arg) {
    chain_run *run = arg;
    struct timespec from;
    struct timespec to;
    float out[16];
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    run->fn(out);
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    run->seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    run->last = out[0];
    return NULL;
}

/* `flop` per instruction. The best of five turns of all threads at once. */
static double measure(chain_fn *fn, double flop, uint32_t n_threads) {
    pthread_t threads[THREADS_MAX];
    chain_run runs[THREADS_MAX];
    double best = 0.0;
    uint32_t n = n_threads < THREADS_MAX ? n_threads : THREADS_MAX;
    for (int turn = 0; turn < 5; turn++) {
        double rate = 0.0;
        for (uint32_t i = 0; i < n; i++) {
            runs[i] = (chain_run){.fn = fn};
            if (pthread_create(&threads[i], NULL, run_chains, &runs[i]) != 0) {
                return 0.0;
            }
        }
        for (uint32_t i = 0; i < n; i++) {
            (void)pthread_join(threads[i], NULL);
            rate += flop * CHAINS * ROUNDS / runs[i].seconds * 1e-9;
        }
        best = rate > best ? rate : best;
    }
    return best;
}

double bench_peak_f32(uint32_t n_threads) {
    double narrow = 0.0;
    double wide = 0.0;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        narrow = measure(chains_256, 16, n_threads);
    }
    if (__builtin_cpu_supports("avx512f")) {
        wide = measure(chains_512, 32, n_threads);
    }
    return wide > narrow ? wide : narrow;
}

double bench_peak_bf16(uint32_t n_threads) {
    if (!__builtin_cpu_supports("avx512bf16")) {
        return 0.0;
    }
    return measure(chains_bf16, 64, n_threads);
}
