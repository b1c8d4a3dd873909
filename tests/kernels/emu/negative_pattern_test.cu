/* Planted faults that only the build with patterned variables shows: a host compiler's registers
 * and stacks often hold zeros, which sum as if they had been set. */
#include "kernels/cuda/prim/mma.cuh"

#ifdef PK_EMU_PATTERN

#include "tests/kernels/emu/negative.cuh"

using namespace negative;

namespace {

__global__ void k_accumulators_not_set(float *out) {
    float d[4]; /* no zeros */
    const uint32_t a[4] = {0, 0, 0, 0};
    ptx::mma_f16(d, a, 0, 0);
    out[threadIdx.x] = d[0];
}

__global__ void k_sum_not_set(float *out, const float *x) {
    float sums[2];
    for (int i = 0; i < 4; i++) {
        sums[i & 1] += x[threadIdx.x];
    }
    out[threadIdx.x] = sums[1];
}

std::vector<Case> pattern_cases() {
    return {
        {"accumulators_that_were_never_set_are_noticed", test::MODE_PATTERN, false,
         [] {
             Buffers b;
             return good(k_accumulators_not_set, 1, 32, 0, b.out.get()) && b.equal(0.0f);
         }},
        {"a_sum_that_was_never_set_is_noticed", test::MODE_PATTERN, false,
         [] {
             Buffers b;
             return good(k_sum_not_set, 1, 32, 0, b.out.get(), b.x.get()) && b.equal(3.0f);
         }},
    };
}

} // namespace

void negative_pattern_tests() {
    run_cases(pattern_cases(), "negative_pattern_test.cu");
}

#endif
