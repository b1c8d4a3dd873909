/* From one bulk load to the whole product on wgmma, a rung at a time, on integers: what fails first
 * on a GPU says which part is wrong, and its first bad element how. The first two rungs are kernels
 * of their own with the boxes and descriptors of kernels/cuda/linear_wgmma.cu, the others are it.
 */
#include "kernels/cuda/heads.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/linear_pack.h"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "kernels/cuda/prim/tma.cuh"
#include "kernels/cuda/prim/wgmma.cuh"
#include "tests/kernels/emu/halves.cuh"

namespace {

enum { M = 64, N = 192, K = 64, ROW_BYTES = K * 2, THREADS = 128, SUMS = N / 2 };
constexpr uint32_t ACT_BYTES = M * ROW_BYTES, WEIGHT_BYTES = N * ROW_BYTES;

/* "" or the first bad element of [., cols], what else is bad, and the rows and columns of all. */
template <class T>
std::string first_bad(const std::vector<T> &got, const std::vector<T> &expected, size_t cols) {
    size_t count = 0, first = 0, low = cols, high = 0, last_row = 0;
    for (size_t i = 0; i < expected.size(); i++) {
        if (!(got[i] == expected[i])) { /* a NaN is bad */
            first = count++ == 0 ? i : first;
            low = std::min(low, i % cols);
            high = std::max(high, i % cols);
            last_row = i / cols;
        }
    }
    if (count == 0) {
        return "";
    }
    return "first bad: row " + std::to_string(first / cols) + " column " +
           std::to_string(first % cols) + ": " + std::to_string(got[first]) + ", not " +
           std::to_string(expected[first]) + "; " + std::to_string(count) + " of " +
           std::to_string(expected.size()) + " bad, rows " + std::to_string(first / cols) + " .. " +
           std::to_string(last_row) + ", columns " + std::to_string(low) + " .. " +
           std::to_string(high);
}

/* ---- rungs 1 and 2 ---- */

/* act's box, then weight's, as the ring's stages hold them. */
__device__ void load_stage(uint8_t *smem, uint64_t *barriers, const pk::TensorMap *act,
                           const pk::TensorMap *weight) {
    const uint32_t at = ptx::smem_address(smem), full = ptx::smem_address(barriers);
    if (threadIdx.x == 0) {
        ptx::mbarrier_init(full, 1);
        ptx::mbarrier_init_fence();
    }
    __syncthreads(); /* the init before every wait */
    if (threadIdx.x == 0) {
        ptx::mbarrier_arrive_expect(full, ACT_BYTES + WEIGHT_BYTES);
        ptx::tensor_load(at, act, 0, 0, full);
        ptx::tensor_load(at + ACT_BYTES, weight, 0, 0, full);
    }
    ptx::mbarrier_wait(full, 0);
}

__global__ void __launch_bounds__(THREADS)
    k_dump(uint16_t *out, const __grid_constant__ pk::TensorMap act,
           const __grid_constant__ pk::TensorMap weight) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [1]);
    load_stage(smem, barriers, &act, &weight);
    for (uint32_t i = threadIdx.x; i < (ACT_BYTES + WEIGHT_BYTES) / 2; i += THREADS) {
        out[i] = reinterpret_cast<const uint16_t *>(smem)[i];
    }
}

/* out [THREADS, SUMS]: the accumulators over k 0 .. 15. */
__global__ void __launch_bounds__(THREADS)
    k_one_wgmma(float *out, const __grid_constant__ pk::TensorMap act,
                const __grid_constant__ pk::TensorMap weight) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [1]);
    load_stage(smem, barriers, &act, &weight);
    const uint32_t at = ptx::smem_address(smem);
    float d[SUMS];
    ptx::wgmma_pin(d);
    ptx::wgmma_fence();
    ptx::wgmma_m64n192k16_f16_ss<0, 0>(
        d, ptx::matrix_descriptor(at, 16, 8 * ROW_BYTES, ptx::SWIZZLE_128),
        ptx::matrix_descriptor(at + ACT_BYTES, 16, 8 * ROW_BYTES, ptx::SWIZZLE_128), 0);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::wgmma_pin(d);
#pragma unroll
    for (int i = 0; i < SUMS; i++) {
        out[int(threadIdx.x) * SUMS + i] = d[i];
    }
}

struct Stage {
    Stage(const std::vector<uint16_t> &act_, const std::vector<uint16_t> &weight_)
        : act(act_, "act"), weight(weight_, "weight") {
        int refused = pk::tensor_map(&act_map, {act.get(), false, M, K, ROW_BYTES}, {M, K, 128});
        refused |= pk::tensor_map(&weight_map, {weight.get(), false, N, K, ROW_BYTES}, {N, K, 128});
        TEST_CHECK(refused == 0, "tensor map");
    }
    test::Buffer<uint16_t> act, weight;
    pk::TensorMap act_map, weight_map;
};

void rung_1_bulk_loads_bring_every_element_to_its_place() {
    std::vector<uint16_t> act, weight, expected((M + N) * K);
    for (int i = 0; i < (M + N) * K; i++) { /* numbered, so a wrong one says whose it is */
        (i < M * K ? act : weight).push_back(uint16_t(i));
        const int row = i / K, chunk = i % K / 8;
        expected[size_t(row * K + (chunk ^ row % 8) * 8 + i % 8)] = uint16_t(i);
    }
    Stage stage(act, weight);
    test::Buffer<uint16_t> out(expected.size(), "out");
    TEST_LAUNCHED(pk::launch(k_dump, test::config("k_dump", 1, THREADS, ACT_BYTES + WEIGHT_BYTES),
                             out.get(), stage.act_map, stage.weight_map));
    const std::string bad = first_bad(out.download(), expected, K);
    TEST_CHECK(bad.empty(), bad);
}

std::vector<float> integers(size_t count, uint32_t seed) {
    test::Integers random(seed);
    std::vector<float> values(count);
    for (float &x : values) {
        x = float(random.next(3));
    }
    return values;
}

void rung_2_one_wgmma_multiplies_what_bulk_loads_brought() {
    const std::vector<float> act = integers(M * K, 1), weight = integers(N * K, 2);
    std::vector<float> sums(M * N), expected(M * N, 0.0f);
    Stage stage(test::halves_of(act, PK_F16), test::halves_of(weight, PK_F16));
    test::Buffer<float> out(THREADS * SUMS, "out");
    TEST_LAUNCHED(pk::launch(k_one_wgmma,
                             test::config("k_one_wgmma", 1, THREADS, ACT_BYTES + WEIGHT_BYTES),
                             out.get(), stage.act_map, stage.weight_map));
    const std::vector<float> d = out.download();
    for (size_t t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < SUMS; i++) {
            const size_t row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8;
            sums[row * N + i / 4 * 8 + t % 4 * 2 + i % 2] = d[t * SUMS + i];
        }
    }
    for (size_t i = 0; i < M * N; i++) {
        for (size_t k = 0; k < 16; k++) {
            expected[i] += act[i / N * K + k] * weight[i % N * K + k];
        }
    }
    const std::string bad = first_bad(sums, expected, N);
    TEST_CHECK(bad.empty(), bad);
}

/* ---- rungs 3 to 7: the product, from one stage on ---- */

struct Rung {
    size_t rows, n, k;
    pk_linear_cuda_tile tile;
    uint32_t ctas;
    bool multicast, dependent;
    uint32_t stages = 0; /* as the tile has them first */
};

void climb(const Rung &rung) {
    const pk_dtype dtype = rung.k % 128 == 0 ? PK_BF16 : PK_F16;
    const std::vector<float> act = integers(rung.rows * rung.k, uint32_t(rung.k));
    const std::vector<float> weight = integers(rung.n * rung.k, uint32_t(rung.n));
    std::vector<uint16_t> packed(rung.n * rung.k);
    pk_linear_cuda_pack(packed.data(), dtype, weight.data(), PK_F32, PK_LINEAR_CUDA_PLAIN,
                        {rung.n, rung.k});
    test::Buffer<uint16_t> a(test::halves_of(act, dtype), "act"), w(packed, "weight");
    test::Buffer<float> before(act, "act in f32"), out(rung.rows * rung.n, "out");
    test::Buffer<uint32_t> rows(std::vector<uint32_t>(1, uint32_t(rung.rows)), "rows");
    if (rung.dependent) { /* a grid before writes act, and may be running still */
        a.spoil();
        pk_round_cuda_task round = {};
        round.out = a.get();
        round.x = before.get();
        round.rows = rows.get();
        round.rows_max = uint32_t(rung.rows);
        round.dim = uint32_t(rung.k);
        round.dtype = dtype;
        round.ctas = rung.ctas;
        TEST_CHECK(pk_round_cuda(&round) == 0, "the grid before");
    }
    pk_linear_cuda_task task = {};
    task.out = out.get();
    task.act = a.get();
    task.weight = w.get();
    task.rows = rows.get();
    task.rows_max = uint32_t(rung.rows);
    task.n = uint32_t(rung.n);
    task.k = uint32_t(rung.k);
    task.dtype = dtype;
    task.tile = rung.tile;
    task.stages = rung.stages;
    task.ctas = rung.ctas;
    task.multicast = rung.multicast;
    task.dependent = rung.dependent;
    TEST_LAUNCHED(pk_linear_cuda(&task));
    std::vector<float> expected(rung.rows * rung.n, 0.0f);
    for (size_t i = 0; i < expected.size(); i++) {
        for (size_t k = 0; k < rung.k; k++) {
            expected[i] += act[i / rung.n * rung.k + k] * weight[i % rung.n * rung.k + k];
        }
    }
    const std::string bad = first_bad(out.download(), expected, rung.n);
    TEST_CHECK(bad.empty(), "tile " + std::to_string(int(rung.tile)) + ", " +
                                std::to_string(rung.rows) + " x " + std::to_string(rung.n) + " x " +
                                std::to_string(rung.k) + ": " + bad);
}

void rung_3_one_stage_of_one_tile_is_exact() {
    climb({64, 64, 64, PK_LINEAR_64_64, 1, false, false});
    climb({64, 192, 64, PK_LINEAR_64_192, 1, false, false});
    climb({128, 192, 64, PK_LINEAR_128_192, 1, false, false});
}

void rung_4_a_tile_through_the_ring_is_exact() { /* every ring, round and beyond */
    climb({64, 64, 64 * 9, PK_LINEAR_64_64, 1, false, false});
    climb({64, 64, 64 * 25, PK_LINEAR_64_64, 1, false, false, 12});
    climb({64, 192, 64 * 8, PK_LINEAR_64_192, 1, false, false});
    climb({64, 192, 64 * 13, PK_LINEAR_64_192, 1, false, false, 6});
    climb({128, 192, 64 * 11, PK_LINEAR_128_192, 1, false, false});
}

void rung_5_tiles_in_turn_are_exact() { /* 7 and 8 tiles for two CTAs */
    climb({64 * 7, 64, 64 * 2, PK_LINEAR_64_64, 2, false, false});
    climb({64 * 4, 384, 64 * 2, PK_LINEAR_64_192, 2, false, false});
    climb({128 * 7, 192, 64, PK_LINEAR_128_192, 2, false, false});
}

void rung_6_a_dependent_launch_is_exact() {
    climb({64 * 7, 64, 64, PK_LINEAR_64_64, 2, false, true});
    climb({128 * 4, 384, 64 * 2, PK_LINEAR_128_192, 2, false, true});
}

void rung_7_multicast_between_pairs_is_exact() { /* one tile each; then 7 and 8 pairs of tiles */
    climb({256, 192, 64, PK_LINEAR_128_192, 2, true, false});
    climb({256 * 7, 192, 64, PK_LINEAR_128_192, 4, true, false});
    climb({256 * 4, 384, 64, PK_LINEAR_128_192, 4, true, true});
    climb({128 * 3, 384, 64 * 7, PK_LINEAR_64_192, 4, true, true, 6});
}

/* The report itself: a rung that fails must name the element. */
void the_first_bad_element_is_named() {
    TEST_CHECK(first_bad<float>({1, 2, 3, 4}, {1, 2, 3, 4}, 2).empty(), "none");
    const std::string bad = first_bad<float>({1, NAN, 9, 4, 5, 6}, {1, 2, 3, 4, 5, 6}, 2);
    TEST_CHECK(bad.find("first bad: row 0 column 1: ") == 0 &&
                   bad.find("2 of 6 bad, rows 0 .. 1, columns 0 .. 1") != std::string::npos,
               bad);
}

} // namespace

void ladder_tests() {
    TEST_RUN(rung_1_bulk_loads_bring_every_element_to_its_place);
    TEST_RUN(rung_2_one_wgmma_multiplies_what_bulk_loads_brought);
    TEST_RUN(rung_3_one_stage_of_one_tile_is_exact);
    TEST_RUN(rung_4_a_tile_through_the_ring_is_exact);
    TEST_RUN(rung_5_tiles_in_turn_are_exact);
    TEST_RUN(rung_6_a_dependent_launch_is_exact);
    TEST_RUN(rung_7_multicast_between_pairs_is_exact);
    TEST_RUN(the_first_bad_element_is_named);
}
