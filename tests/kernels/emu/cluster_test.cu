/* Clusters of two with multicast loads and remote arrivals; programmatic dependent launch. */
#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "kernels/cuda/prim/tma.cuh"
#include "tests/kernels/emu/harness.cuh"

namespace {

/* ---- multicast: each CTA of a pair loads half of a tile for both, through a ring ---- */

enum { STAGES = 2, ROWS = 64, HALF_ROWS = 32, COLS = 64, TILE_BYTES = ROWS * COLS * 2 };

__global__ void k_multicast(uint32_t *sums, const __grid_constant__ pk::TensorMap map, int tiles) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [2 * STAGES]);
    const uint32_t ring = ptx::smem_address(smem), full = ptx::smem_address(barriers);
    const uint32_t empty = full + STAGES * 8, rank = ptx::cluster_rank();
    if (threadIdx.x == 0) {
        for (uint32_t s = 0; s < STAGES; s++) {
            ptx::mbarrier_init(full + s * 8, 1);
            ptx::mbarrier_init(empty + s * 8, 2); /* one consumer warp in each CTA */
        }
        ptx::mbarrier_init_fence();
    }
    ptx::cluster_arrive();
    ptx::cluster_wait();
    uint32_t sum = 0;
    for (int tile = 0; tile < tiles; tile++) {
        uint32_t stage = uint32_t(tile % STAGES), parity = uint32_t(tile / STAGES & 1);
        if (threadIdx.x < 32) {
            if (ptx::elect_one()) { /* both CTAs must have released the stage of both */
                ptx::mbarrier_wait(empty + stage * 8, parity ^ 1);
                ptx::mbarrier_arrive_expect(full + stage * 8, TILE_BYTES);
                ptx::tensor_load_multicast(ring + stage * TILE_BYTES + rank * (TILE_BYTES / 2),
                                           &map, 0, tile * ROWS + int(rank) * HALF_ROWS,
                                           full + stage * 8, 3);
            }
            __syncwarp();
            continue;
        }
        ptx::mbarrier_wait(full + stage * 8, parity);
        const uint16_t *values = reinterpret_cast<const uint16_t *>(smem + stage * TILE_BYTES);
        for (int i = int(threadIdx.x) - 32; i < ROWS * COLS; i += 32) {
            sum += values[i] * (rank + 1);
        }
        __syncwarp();
        if (threadIdx.x == 32) {
            ptx::mbarrier_arrive_cluster(ptx::cluster_map(empty + stage * 8, 0));
            ptx::mbarrier_arrive_cluster(ptx::cluster_map(empty + stage * 8, 1));
        }
    }
    if (threadIdx.x >= 32) {
        sums[blockIdx.x * 32 + threadIdx.x - 32] = sum;
    }
    ptx::cluster_arrive(); /* nobody leaves while the peer may still write here */
    ptx::cluster_wait();
}

void multicast_loads_reach_both_ctas_of_a_cluster() {
    const int tiles = 5, clusters = 2;
    std::vector<uint16_t> matrix;
    uint32_t total = 0;
    for (int i = 0; i < tiles * ROWS * COLS; i++) {
        matrix.push_back(uint16_t(i * 17 % 500));
        total += matrix.back();
    }
    for (int s = 0; s < test::seeds(); s++) {
        test::seed(uint64_t(s));
        test::Buffer<uint16_t> device(matrix, "matrix");
        test::Buffer<uint32_t> out(clusters * 64, "sums");
        pk::TensorMap map;
        TEST_CHECK(pk::tensor_map(&map, {device.get(), false, uint64_t(tiles) * ROWS, COLS, 128},
                                  {HALF_ROWS, COLS, 128}) == 0,
                   "tensor map");
        pk::Launch config = test::config("k_multicast", 2 * clusters, 64, STAGES * TILE_BYTES);
        config.cluster = 2;
        TEST_LAUNCHED(pk::launch(k_multicast, config, out.get(), map, tiles));
        std::vector<uint32_t> sums = out.download();
        for (size_t cta = 0; cta < 2 * clusters; cta++) {
            uint32_t sum = 0;
            for (size_t lane = 0; lane < 32; lane++) {
                sum += sums[cta * 32 + lane];
            }
            TEST_CHECK(sum == total * uint32_t(cta % 2 + 1), "CTA " + std::to_string(cta));
        }
    }
}

/* ---- dependent launch ---- */

__global__ void k_first(float *y, const float *x) {
    ptx::grid_launch_dependents();
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = 2.0f * x[i];
}

/* Reads its own weights before the wait, the earlier grid's rows after it. */
__global__ void k_second(float *z, const float *y, const float *weight) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    float w = weight[i];
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    z[i] = y[i] + w;
}

/* Only one thread waits; the others learn through a barrier. */
__global__ void k_third(float *out, const float *z) {
    if (threadIdx.x == 0) {
        ptx::grid_wait();
    }
    __syncthreads();
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = z[i] * 10.0f;
}

void dependent_launches_see_the_earlier_grids_writes_after_the_wait() {
    std::vector<float> x, weight;
    for (int i = 0; i < 256; i++) {
        x.push_back(float(i));
        weight.push_back(float(i % 7));
    }
    for (int s = 0; s < test::seeds(); s++) {
        test::seed(uint64_t(s));
        test::Buffer<float> dx(x, "x"), dw(weight, "weight"), y(256, "y"), z(256, "z"),
            device(256, "out");
        pk::Launch first = test::config("k_first", 4, 64), later = test::config("k_second", 2, 128);
        later.dependent = true;
        int launched = pk::launch(k_first, first, y.get(), dx.get());
        TEST_CHECK(launched == pk::LAUNCH_OK, "first");
        launched = pk::launch(k_second, later, z.get(), y.get(), dw.get());
        TEST_CHECK(launched == pk::LAUNCH_OK, "second");
        TEST_LAUNCHED(launched == pk::LAUNCH_OK ? pk::launch(k_third, later, device.get(), z.get())
                                                : launched);
        std::vector<float> out = device.download();
        for (size_t i = 0; i < 256; i++) {
            TEST_CHECK(out[i] == 10.0f * (2.0f * x[i] + weight[i]), "row " + std::to_string(i));
        }
    }
}

} // namespace

void cluster_tests() {
    TEST_RUN(multicast_loads_reach_both_ctas_of_a_cluster);
    TEST_RUN(dependent_launches_see_the_earlier_grids_writes_after_the_wait);
}
