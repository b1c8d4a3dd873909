/* A wait that nothing ends: where it stands is said, in the emulation and, with PK_BOUND_WAITS, by
 * a GPU, whose context it ends. So the last test of the program. */
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "tests/kernels/emu/harness.cuh"

namespace {

#if defined(PK_EMULATE) || defined(PK_BOUND_WAITS)

constexpr int WAIT_LINE = __LINE__ + 10;

/* The only block whose number is `stuck` waits for an arrival that never comes. */
__global__ void k_stuck(unsigned *out, unsigned stuck) {
    PK_SMEM_STATIC(uint64_t, barriers, [2]);
    const uint32_t barrier = ptx::smem_address(barriers) + 8;
    if (threadIdx.x == 0) {
        ptx::mbarrier_init(barrier, 1);
        ptx::mbarrier_init_fence();
        if (blockIdx.x == stuck) {
            ptx::mbarrier_wait(barrier, 0);
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        out[blockIdx.x] = blockIdx.x;
    }
}

void a_wait_that_nothing_ends_says_block_mbarrier_parity_and_line() {
    test::Buffer<unsigned> out(3, "out");
    pk::Launch config = test::config("k_stuck", 3, 32);
    TEST_LAUNCHED(pk::launch(k_stuck, config, out.get(), 3u)); /* none */
    const std::string found = test::error_after(pk::launch(k_stuck, config, out.get(), 1u));
    size_t at = found.find("mbarrier.try_wait of block 1, mbarrier 0x");
    at = at == std::string::npos ? at : found.find(", parity 0 at ", at);
    at = at == std::string::npos ? at : found.find(std::to_string(WAIT_LINE), at);
    TEST_CHECK(at != std::string::npos, "found: " + found);
}

#endif

} // namespace

void stall_tests() {
#if defined(PK_EMULATE) || defined(PK_BOUND_WAITS)
    TEST_RUN(a_wait_that_nothing_ends_says_block_mbarrier_parity_and_line);
#endif
}
