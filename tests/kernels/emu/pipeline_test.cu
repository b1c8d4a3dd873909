/* The parts together, as a matrix product uses them: C = A W^T in f16, persistent tiles of
 * 128 x 192, a producer warp that feeds a ring of bulk loads, two consumer warpgroups with wgmma,
 * results staged by stmatrix-like stores and written by bulk stores. Integer data, so exact. */
#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "kernels/cuda/prim/mma.cuh"
#include "kernels/cuda/prim/tma.cuh"
#include "kernels/cuda/prim/wgmma.cuh"
#include "tests/kernels/emu/harness.cuh"

namespace {

constexpr int TILE_M = 128, TILE_N = 192, TILE_K = 64, STAGES = 2, THREADS = 384;
constexpr uint32_t A_BYTES = TILE_M * TILE_K * 2, W_BYTES = TILE_N * TILE_K * 2;
constexpr uint32_t STAGE_BYTES = A_BYTES + W_BYTES;
constexpr uint32_t OUT_BOX_BYTES = 64 * 64 * 2; /* a warpgroup stages three */
constexpr size_t SMEM_BYTES = STAGES * STAGE_BYTES + 6 * OUT_BOX_BYTES;

struct Ring {
    uint32_t data, full, empty;
    __device__ uint32_t stage(int step) const {
        return uint32_t(step % STAGES);
    }
    __device__ uint32_t parity(int step) const {
        return uint32_t(step / STAGES & 1);
    }
};

__device__ void produce(const Ring &ring, const pk::TensorMap *a, const pk::TensorMap *w, int tiles,
                        int tiles_n, int steps) {
    int step = 0; /* over all tiles */
    for (int tile = int(blockIdx.x); tile < tiles; tile += int(gridDim.x)) {
        for (int k = 0; k < steps; k++, step++) {
            const uint32_t stage = ring.stage(step), full = ring.full + stage * 8;
            const uint32_t at = ring.data + stage * STAGE_BYTES;
            ptx::mbarrier_wait(ring.empty + stage * 8, ring.parity(step) ^ 1);
            ptx::mbarrier_arrive_expect(full, STAGE_BYTES);
            ptx::tensor_load(at, a, k * TILE_K, tile / tiles_n * TILE_M, full);
            ptx::tensor_load(at + A_BYTES, w, k * TILE_K, tile % tiles_n * TILE_N, full);
        }
    }
}

__device__ uint64_t operand(uint32_t address) {
    return ptx::matrix_descriptor(address, 16, 1024, ptx::SWIZZLE_128);
}

/* d = the warpgroup's 64 x 192; `step` counts stages over all tiles. */
__device__ void accumulate(float (&d)[96], const Ring &ring, int group, int steps, int *step) {
#pragma unroll
    for (int i = 0; i < 96; i++) {
        d[i] = 0.0f;
    }
    for (int k = 0; k < steps; k++, (*step)++) {
        const uint32_t stage = ring.stage(*step), at = ring.data + stage * STAGE_BYTES;
        ptx::mbarrier_wait(ring.full + stage * 8, ring.parity(*step));
        const uint32_t a = at + uint32_t(group) * 64 * TILE_K * 2, w = at + A_BYTES;
        ptx::wgmma_pin(d);
        ptx::wgmma_fence();
#pragma unroll
        for (uint32_t inner = 0; inner < TILE_K / 16; inner++) {
            ptx::wgmma_m64n192k16_f16_ss<0, 0>(d, operand(a + inner * 32), operand(w + inner * 32),
                                               1);
        }
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        ptx::wgmma_pin(d);
        if (threadIdx.x % 32 == 0) {
            ptx::mbarrier_arrive(ring.empty + stage * 8);
        }
    }
}

/* Three boxes of 64 x 64 with the 128-byte swizzle; a row of a box is 128 bytes. */
__device__ void write_tile(uint8_t *boxes, const float (&d)[96], const pk::TensorMap *c, int row,
                           int col, int group) {
    const int thread = int(threadIdx.x) % 128, lane = thread % 32;
    if (thread == 0) {
        ptx::store_wait_read<0>(); /* of the tile before: its boxes are free */
    }
    ptx::barrier_sync(1 + group, 128);
#pragma unroll
    for (int i = 0; i < 96; i += 2) {
        const int r = thread / 32 * 16 + lane / 4 + i / 2 % 2 * 8, chunk = i / 4 % 8, box = i / 32;
        uint8_t *at = boxes + box * int(OUT_BOX_BYTES) + r * 128 + (chunk ^ (r % 8)) * 16;
        *reinterpret_cast<uint32_t *>(at + lane % 4 * 4) = ptx::pack_f16(d[i], d[i + 1]);
    }
    ptx::fence_proxy_async_shared();
    ptx::barrier_sync(1 + group, 128);
    if (thread == 0) {
        for (int box = 0; box < 3; box++) {
            ptx::tensor_store(c, col + box * 64, row,
                              ptx::smem_address(boxes) + uint32_t(box) * OUT_BOX_BYTES);
        }
        ptx::store_commit();
    }
}

__global__ void __launch_bounds__(THREADS, 1)
    k_product(const __grid_constant__ pk::TensorMap a, const __grid_constant__ pk::TensorMap w,
              const __grid_constant__ pk::TensorMap c, int tiles, int tiles_n, int steps) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [2 * STAGES]);
    Ring ring;
    ring.data = ptx::smem_address(smem);
    ring.full = ptx::smem_address(barriers);
    ring.empty = ring.full + STAGES * 8;
    if (threadIdx.x == 0) {
        for (uint32_t s = 0; s < STAGES; s++) {
            ptx::mbarrier_init(ring.full + s * 8, 1);
            ptx::mbarrier_init(ring.empty + s * 8, 8); /* consumer warps */
        }
        ptx::mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        ptx::registers_lower<40>();
        if (threadIdx.x < 32 && ptx::elect_one()) {
            produce(ring, &a, &w, tiles, tiles_n, steps);
        }
    } else {
        ptx::registers_raise<232>();
        const int group = int(threadIdx.x) / 128 - 1;
        uint8_t *boxes = smem + STAGES * STAGE_BYTES + group * 3 * int(OUT_BOX_BYTES);
        int step = 0;
        for (int tile = int(blockIdx.x); tile < tiles; tile += int(gridDim.x)) {
            float d[96];
            accumulate(d, ring, group, steps, &step);
            write_tile(boxes, d, &c, tile / tiles_n * TILE_M + group * 64, tile % tiles_n * TILE_N,
                       group);
        }
        if (threadIdx.x % 128 == 0) {
            ptx::store_wait<0>();
        }
    }
}

std::vector<uint16_t> random_halves(test::Integers &random, int count, std::vector<float> *values) {
    std::vector<uint16_t> halves;
    for (int i = 0; i < count; i++) {
        values->push_back(float(random.next(2)));
        halves.push_back(test::half_bits(values->back(), false));
    }
    return halves;
}

void check(int m, int n, int k, unsigned ctas, uint32_t seed) {
    test::Integers random(seed);
    test::seed(seed);
    std::vector<float> a_values, w_values;
    std::vector<uint16_t> a_halves = random_halves(random, m * k, &a_values);
    std::vector<uint16_t> w_halves = random_halves(random, n * k, &w_values);
    test::Buffer<uint16_t> a(a_halves, "a"), w(w_halves, "w"), c(size_t(m * n), "c");
    pk::TensorMap a_map, w_map, c_map;
    int refused = pk::tensor_map(
        &a_map, {a.get(), false, uint64_t(m), uint64_t(k), uint64_t(k) * 2}, {TILE_M, TILE_K, 128});
    refused |= pk::tensor_map(&w_map, {w.get(), false, uint64_t(n), uint64_t(k), uint64_t(k) * 2},
                              {TILE_N, TILE_K, 128});
    refused |= pk::tensor_map(&c_map, {c.get(), false, uint64_t(m), uint64_t(n), uint64_t(n) * 2},
                              {64, 64, 128});
    TEST_CHECK(refused == 0, "tensor map");
    int tiles_n = (n + TILE_N - 1) / TILE_N, tiles = (m + TILE_M - 1) / TILE_M * tiles_n;
    TEST_LAUNCHED(pk::launch(k_product, test::config("k_product", ctas, THREADS, SMEM_BYTES), a_map,
                             w_map, c_map, tiles, tiles_n, (k + TILE_K - 1) / TILE_K));
    std::vector<uint16_t> got = c.download();
    for (int i = 0; i < m && !test::failed(); i++) {
        for (int j = 0; j < n; j++) {
            float sum = 0.0f; /* below 2,048, so exact in f16 */
            for (int l = 0; l < k; l++) {
                sum += a_values[size_t(i * k + l)] * w_values[size_t(j * k + l)];
            }
            TEST_CHECK(got[size_t(i * n + j)] == test::half_bits(sum, false),
                       "row " + std::to_string(i) + " column " + std::to_string(j));
        }
    }
}

void a_persistent_wgmma_product_is_exact_with_ragged_edges() {
    int schedules = test::mode() == test::MODE_PLAIN ? 5 : test::mode() == test::MODE_RACE ? 2 : 1;
    for (int s = 0; s < schedules; s++) {
        check(100, 200, 200, 1, uint32_t(s)); /* two tiles, one CTA */
    }
}

void a_persistent_wgmma_product_is_exact_with_three_times_as_many_tiles_as_ctas() {
    if (test::mode() == test::MODE_PLAIN || test::mode() == test::MODE_GPU) {
        check(256, 576, 72, 2, 1);  /* 6 tiles: even */
        check(128, 1344, 72, 2, 2); /* 7 tiles: odd */
    } else {
        check(64, 768, 72, 1, 1); /* 4 tiles */
    }
}

} // namespace

void pipeline_tests() {
    TEST_RUN(a_persistent_wgmma_product_is_exact_with_ragged_edges);
    TEST_RUN(a_persistent_wgmma_product_is_exact_with_three_times_as_many_tiles_as_ctas);
}
