/* Shuffles, votes, barriers, atomics, and cp.async. */
#include "kernels/cuda/prim/copy.cuh"
#include "tests/kernels/emu/harness.cuh"

namespace {

enum { WARP = 32, RESULTS = 14 };
const uint32_t ALL = 0xffffffffu;

__global__ void k_warp(uint32_t *out) {
    uint32_t lane = threadIdx.x, *own = out + lane * RESULTS;
    own[0] = __shfl_sync(ALL, lane * 3, int(lane + 5));
    own[1] = __shfl_up_sync(ALL, lane, 3);
    own[2] = __shfl_down_sync(ALL, lane, 7);
    own[3] = __shfl_xor_sync(ALL, lane, 21);
    own[4] = __shfl_sync(ALL, lane, 2, 8);
    own[5] = __shfl_up_sync(ALL, lane, 1, 4);
    own[6] = __shfl_down_sync(ALL, lane, 3, 16);
    own[7] = __ballot_sync(ALL, lane % 3 == 0);
    own[8] = uint32_t(__any_sync(ALL, lane == 9)) + 2 * uint32_t(__all_sync(ALL, lane < 31));
    own[9] = __reduce_add_sync(ALL, lane);
    own[10] = __reduce_max_sync(ALL, lane ^ 5u);
    own[11] = __match_any_sync(ALL, lane / 5);
    if (lane & 1) { /* both halves of a branch, each with its own mask */
        own[12] = __shfl_xor_sync(0xaaaaaaaau, lane, 2);
    } else {
        own[12] = __shfl_xor_sync(0x55555555u, lane, 4);
    }
    own[13] = uint32_t(__syncthreads_count(lane % 7 == 0));
}

void shuffles_and_votes_follow_their_definitions() {
    for (int s = 0; s < test::seeds(); s++) {
        test::seed(uint64_t(s));
        test::Buffer<uint32_t> device(WARP * RESULTS, "out");
        TEST_LAUNCHED(pk::launch(k_warp, test::config("k_warp", 1, WARP), device.get()));
        std::vector<uint32_t> out = device.download();
        for (uint32_t lane = 0; lane < WARP; lane++) {
            uint32_t thirds = 0, alike = 0;
            for (uint32_t other = 0; other < WARP; other++) {
                thirds |= uint32_t(other % 3 == 0) << other;
                alike |= uint32_t(other / 5 == lane / 5) << other;
            }
            const uint32_t expected[RESULTS] = {(lane + 5) % 32 * 3,
                                                lane >= 3 ? lane - 3 : lane,
                                                lane + 7 < 32 ? lane + 7 : lane,
                                                lane ^ 21,
                                                lane / 8 * 8 + 2,
                                                lane % 4 ? lane - 1 : lane,
                                                lane % 16 + 3 < 16 ? lane + 3 : lane,
                                                thirds,
                                                1,
                                                496,
                                                31,
                                                alike,
                                                lane % 2 ? lane ^ 2 : lane ^ 4,
                                                5};
            for (uint32_t i = 0; i < RESULTS; i++) {
                TEST_CHECK(out[lane * RESULTS + i] == expected[i],
                           "lane " + std::to_string(lane) + " result " + std::to_string(i));
            }
        }
    }
}

/* One producer warp, two consumer warps, two slots, named barriers 1-2 full and 3-4 empty. */
__global__ void k_named_ring(int *out, int rounds) {
    PK_SMEM_STATIC(int, slots, [2][32]);
    int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32, sum = 0;
    for (int i = 0; i < rounds; i++) {
        int slot = i & 1;
        if (warp == 0) {
            if (i >= 2) {
                ptx::barrier_sync(3 + slot, 96);
            }
            slots[slot][lane] = i * 100 + lane;
            ptx::barrier_arrive(1 + slot, 96);
        } else {
            ptx::barrier_sync(1 + slot, 96);
            sum += slots[slot][(lane + warp) % 32];
            if (i + 2 < rounds) {
                ptx::barrier_arrive(3 + slot, 96);
            }
        }
    }
    if (warp > 0) {
        out[(warp - 1) * 32 + lane] = sum;
    }
}

void named_barriers_carry_a_ring_of_two_slots() {
    const int rounds = 9;
    for (int s = 0; s < test::seeds(); s++) {
        test::seed(uint64_t(s));
        test::Buffer<int> device(64, "out");
        TEST_LAUNCHED(
            pk::launch(k_named_ring, test::config("k_named_ring", 1, 96), device.get(), rounds));
        std::vector<int> out = device.download();
        for (int i = 0; i < 64; i++) {
            int source = (i % 32 + i / 32 + 1) % 32;
            TEST_CHECK(out[size_t(i)] == 100 * (rounds * (rounds - 1) / 2) + rounds * source,
                       "sum " + std::to_string(i));
        }
    }
}

/* Each block leaves a partial sum; the last to count itself adds them up. */
__global__ void k_last_block(float *out, float *partial, unsigned *count, const float *x, int n) {
    PK_SMEM_STATIC(float, sums, [4]);
    PK_SMEM_STATIC(int, last, [1]);
    float sum = 0.0f;
    for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < n;
         i += int(gridDim.x * blockDim.x)) {
        sum += x[i];
    }
    for (int d = 16; d > 0; d /= 2) {
        sum += __shfl_xor_sync(ALL, sum, d);
    }
    if (threadIdx.x % 32 == 0) {
        sums[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sums[0] + sums[1] + sums[2] + sums[3];
        __threadfence();
        last[0] = atomicAdd(count, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last[0] != 0 && threadIdx.x == 0) {
        __threadfence();
        float total = 0.0f;
        for (unsigned b = 0; b < gridDim.x; b++) {
            total += partial[b];
        }
        out[0] = total;
    }
}

void the_last_block_may_read_what_all_others_wrote_before_their_atomics() {
    const int n = 5000;
    std::vector<float> x;
    float total = 0.0f;
    for (int i = 0; i < n; i++) {
        x.push_back(float(i % 13));
        total += x.back();
    }
    for (int s = 0; s < 5; s++) {
        test::seed(uint64_t(s));
        test::Buffer<float> in(x, "x"), partial(7, "partial"), out(1, "out");
        test::Buffer<unsigned> count(std::vector<unsigned>(1, 0), "count");
        TEST_LAUNCHED(pk::launch(k_last_block, test::config("k_last_block", 7, 128), out.get(),
                                 partial.get(), count.get(), in.get(), n));
        TEST_CHECK(out.download()[0] == total, "total");
    }
}

/* Two tiles in flight; the second comes with a ragged end that must be zero. */
__global__ void k_cp_async(float *out, const float *x) {
    PK_SMEM_DYNAMIC(smem, 16);
    int t = int(threadIdx.x);
    uint32_t own = ptx::smem_address(smem) + uint32_t(t) * 16;
    ptx::cp_async16(own, x + t * 4, 16);
    ptx::cp_async_commit();
    ptx::cp_async16(own + 1024, x + 256 + t * 4, t == 63 ? 4 : 16);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads();
    const float *tile = reinterpret_cast<const float *>(smem);
    float first = tile[(t + 1) % 64 * 4];
    ptx::cp_async_wait<0>();
    __syncthreads();
    out[t] = first + tile[256 + (t + 1) % 64 * 4 + 1];
}

void cp_async_lands_at_its_wait_and_fills_with_zeros() {
    std::vector<float> x;
    for (int i = 0; i < 512; i++) {
        x.push_back(float(i));
    }
    for (int s = 0; s < test::seeds(); s++) {
        test::seed(uint64_t(s));
        test::Buffer<float> in(x, "x"), device(64, "out");
        TEST_LAUNCHED(pk::launch(k_cp_async, test::config("k_cp_async", 1, 64, 2048), device.get(),
                                 in.get()));
        std::vector<float> out = device.download();
        for (int t = 0; t < 64; t++) {
            int from = (t + 1) % 64;
            float second = from == 63 ? 0.0f : float(256 + from * 4 + 1);
            TEST_CHECK(out[size_t(t)] == float(from * 4) + second, "thread " + std::to_string(t));
        }
    }
}

__global__ void k_many_blocks(unsigned *out) {
    out[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] =
        blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z + 1000 * blockDim.y;
}

void every_block_of_a_grid_runs_once_with_its_own_index() {
    test::Buffer<unsigned> device(30, "out");
    TEST_LAUNCHED(
        pk::launch(k_many_blocks, test::config("k_many_blocks", dim3(5, 3, 2), 1), device.get()));
    std::vector<unsigned> out = device.download();
    for (unsigned i = 0; i < 30; i++) {
        TEST_CHECK(out[i] == i % 5 + i / 5 % 3 * 10 + i / 15 * 100 + 1000, "block");
    }
}

} // namespace

void warp_tests() {
    TEST_RUN(shuffles_and_votes_follow_their_definitions);
    TEST_RUN(named_barriers_carry_a_ring_of_two_slots);
    TEST_RUN(the_last_block_may_read_what_all_others_wrote_before_their_atomics);
    TEST_RUN(cp_async_lands_at_its_wait_and_fills_with_zeros);
    TEST_RUN(every_block_of_a_grid_runs_once_with_its_own_index);
}
