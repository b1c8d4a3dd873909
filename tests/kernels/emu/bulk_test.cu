/* mbarriers, bulk loads with every swizzle, bulk stores. */
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "kernels/cuda/prim/tma.cuh"
#include "tests/kernels/emu/harness.cuh"

namespace {

enum { ROWS = 100, COLS = 136, BOX_ROWS = 64, THREADS = 128 };
const int LINEAR_BYTES = 256;

/* Stored place of 16-byte chunk `chunk` of row `row` in rows of `pitch` bytes: the pattern covers
 * eight 128-byte lines; a line holds 1, 2 or 4 rows and its chunks are XORed with its number. */
int stored_offset(int row, int chunk, int pitch, bool swizzle) {
    int rows_a_line = 128 / pitch;
    int line = row / rows_a_line, chunks = pitch / 16;
    return row * pitch + (swizzle ? chunk ^ (line % chunks) : chunk) * 16;
}

/* ---- loads ---- */

__global__ void k_load(uint8_t *out, const __grid_constant__ pk::TensorMap map,
                       const uint8_t *linear, int col, int row, int box_bytes) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [2]);
    uint32_t box = ptx::smem_address(smem), barrier = ptx::smem_address(barriers);
    if (threadIdx.x == 0) {
        ptx::mbarrier_init(barrier, 1);
        ptx::mbarrier_init(barrier + 8, 1);
        ptx::mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        ptx::mbarrier_arrive_expect(barrier, uint32_t(box_bytes));
        ptx::tensor_load(box, &map, col, row, barrier);
        ptx::mbarrier_arrive_expect(barrier + 8, LINEAR_BYTES);
        ptx::bulk_load(box + uint32_t(box_bytes), linear, LINEAR_BYTES, barrier + 8);
    }
    ptx::mbarrier_wait(barrier, 0);
    ptx::mbarrier_wait(barrier + 8, 0);
    for (int i = int(threadIdx.x); i < box_bytes + LINEAR_BYTES; i += THREADS) {
        out[i] = smem[i];
    }
}

void check_box(const std::vector<uint8_t> &got, const std::vector<uint16_t> &matrix, int col,
               int row, int pitch, bool swizzle) {
    for (int r = 0; r < BOX_ROWS; r++) {
        for (int c = 0; c < pitch / 2; c++) {
            int y = row + r, x = col + c;
            bool inside = y >= 0 && y < ROWS && x >= 0 && x < COLS;
            uint16_t expected = inside ? matrix[size_t(y * COLS + x)] : uint16_t(0), value;
            memcpy(&value, &got[size_t(stored_offset(r, c / 8, pitch, swizzle) + c % 8 * 2)], 2);
            TEST_CHECK(value == expected, "pitch " + std::to_string(pitch) + " element " +
                                              std::to_string(r) + "," + std::to_string(c));
        }
    }
}

std::vector<uint16_t> numbered_matrix() {
    std::vector<uint16_t> matrix;
    for (int i = 0; i < ROWS * COLS; i++) {
        matrix.push_back(uint16_t(i + 1));
    }
    return matrix;
}

void check_load(int pitch, uint32_t swizzle_bytes) {
    std::vector<uint16_t> matrix = numbered_matrix();
    std::vector<uint8_t> linear;
    for (int i = 0; i < LINEAR_BYTES; i++) {
        linear.push_back(uint8_t(i * 7));
    }
    test::Buffer<uint16_t> device_matrix(matrix, "matrix");
    test::Buffer<uint8_t> device_linear(linear, "linear");
    pk::TensorMap map;
    int refused = pk::tensor_map(&map, {device_matrix.get(), false, ROWS, COLS, COLS * 2},
                                 {BOX_ROWS, uint32_t(pitch / 2), swizzle_bytes});
    TEST_CHECK(refused == 0, "tensor map");
    const int corners[4][2] = {{0, 0}, {64, 32}, {120, 60}, {-8, -3}}; /* column, row */
    int box_bytes = BOX_ROWS * pitch;
    for (const int *corner : corners) {
        test::Buffer<uint8_t> out(size_t(box_bytes + LINEAR_BYTES), "out");
        pk::Launch config = test::config("k_load", 1, THREADS, size_t(box_bytes + LINEAR_BYTES));
        TEST_LAUNCHED(pk::launch(k_load, config, out.get(), map, device_linear.get(), corner[0],
                                 corner[1], box_bytes));
        std::vector<uint8_t> got = out.download();
        check_box(got, matrix, corner[0], corner[1], pitch, swizzle_bytes != 0);
        TEST_CHECK(memcmp(&got[size_t(box_bytes)], linear.data(), LINEAR_BYTES) == 0, "bulk load");
    }
}

void tensor_load_with_128_byte_swizzle_matches_its_formula() {
    check_load(128, 128);
}
void tensor_load_with_64_byte_swizzle_matches_its_formula() {
    check_load(64, 64);
}
void tensor_load_with_32_byte_swizzle_matches_its_formula() {
    check_load(32, 32);
}
void tensor_load_without_swizzle_is_row_after_row() {
    check_load(128, 0);
    check_load(64, 0);
}

/* ---- a ring: one producer thread, consumers of three warps, odd and even numbers of tiles ---- */

enum { STAGES = 2, TILE = 32 * 64, TILE_BYTES = TILE * 2 };

__global__ void k_ring(uint32_t *sums, const __grid_constant__ pk::TensorMap map, int tiles) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [2 * STAGES]);
    uint32_t ring = ptx::smem_address(smem), full = ptx::smem_address(barriers);
    uint32_t empty = full + STAGES * 8;
    if (threadIdx.x == 0) {
        for (uint32_t s = 0; s < STAGES; s++) {
            ptx::mbarrier_init(full + s * 8, 1);
            ptx::mbarrier_init(empty + s * 8, 3);
        }
        ptx::mbarrier_init_fence();
    }
    __syncthreads();
    int warp = int(threadIdx.x) / 32;
    int done = 0; /* tiles of this block so far: the ring's position outlives a tile */
    uint32_t sum = 0;
    for (int tile = int(blockIdx.x); tile < tiles; tile += int(gridDim.x), done++) {
        uint32_t stage = uint32_t(done % STAGES), parity = uint32_t(done / STAGES & 1);
        if (warp == 0) {
            if (ptx::elect_one()) {
                ptx::mbarrier_wait(empty + stage * 8, parity ^ 1);
                ptx::mbarrier_arrive_expect(full + stage * 8, TILE_BYTES);
                ptx::tensor_load(ring + stage * TILE_BYTES, &map, 0, tile * 32, full + stage * 8);
            }
            __syncwarp();
            continue;
        }
        ptx::mbarrier_wait(full + stage * 8, parity);
        const uint16_t *values = reinterpret_cast<const uint16_t *>(smem) + stage * TILE;
        for (int i = int(threadIdx.x) - 32; i < TILE; i += 96) {
            sum += values[i];
        }
        __syncwarp();
        if (threadIdx.x % 32 == 0) {
            ptx::mbarrier_arrive(empty + stage * 8);
        }
    }
    if (warp > 0) {
        sums[blockIdx.x * 96 + threadIdx.x - 32] = sum;
    }
}

void persistent_ring_sums_every_tile_once_for_odd_and_even_tile_counts() {
    for (int tiles : {2, 3, 7, 8}) { /* two blocks: up to 4 tiles each, through 2 stages */
        std::vector<uint16_t> matrix;
        uint32_t expected = 0;
        for (int i = 0; i < tiles * TILE; i++) {
            matrix.push_back(uint16_t(i * 31 % 1000));
            expected += matrix.back();
        }
        for (int s = 0; s < test::seeds(); s++) {
            test::seed(uint64_t(s));
            test::Buffer<uint16_t> device(matrix, "matrix");
            test::Buffer<uint32_t> out(192, "sums");
            pk::TensorMap map;
            TEST_CHECK(pk::tensor_map(&map, {device.get(), false, uint64_t(tiles) * 32, 64, 128},
                                      {32, 64, 128}) == 0,
                       "tensor map");
            TEST_LAUNCHED(pk::launch(k_ring, test::config("k_ring", 2, 128, STAGES * TILE_BYTES),
                                     out.get(), map, tiles));
            uint32_t total = 0;
            for (uint32_t sum : out.download()) {
                total += sum;
            }
            TEST_CHECK(total == expected, std::to_string(tiles) + " tiles");
        }
    }
}

/* ---- stores ---- */

__global__ void k_store(const __grid_constant__ pk::TensorMap map, int col, int row, int pitch,
                        int swizzled) {
    PK_SMEM_DYNAMIC(smem, 1024);
    int chunks = pitch / 16, lines = 128 / pitch;
    for (int i = int(threadIdx.x); i < BOX_ROWS * pitch / 2; i += THREADS) {
        int r = i / (pitch / 2), c = i % (pitch / 2), chunk = c / 8;
        chunk = swizzled != 0 ? chunk ^ (r / lines % chunks) : chunk;
        reinterpret_cast<uint16_t *>(smem)[r * pitch / 2 + chunk * 8 + c % 8] =
            uint16_t(r * 256 + c);
    }
    ptx::fence_proxy_async_shared();
    __syncthreads();
    if (threadIdx.x == 0) {
        ptx::tensor_store(&map, col, row, ptx::smem_address(smem));
        ptx::store_commit();
        ptx::store_wait_read<0>();
    }
    __syncthreads();
    if (threadIdx.x == 0) { /* the box may be overwritten; its contents are on their way */
        reinterpret_cast<uint16_t *>(smem)[0] = 0;
        ptx::store_wait<0>();
    }
}

void check_store(int pitch, uint32_t swizzle_bytes) {
    const int corners[3][2] = {{0, 0}, {112, 60}, {-8, -3}};
    for (const int *corner : corners) {
        test::Buffer<uint16_t> out(std::vector<uint16_t>(ROWS * COLS, 7), "out");
        pk::TensorMap map;
        TEST_CHECK(pk::tensor_map(&map, {out.get(), false, ROWS, COLS, COLS * 2},
                                  {BOX_ROWS, uint32_t(pitch / 2), swizzle_bytes}) == 0,
                   "tensor map");
        pk::Launch config = test::config("k_store", 1, THREADS, size_t(BOX_ROWS * pitch));
        TEST_LAUNCHED(
            pk::launch(k_store, config, map, corner[0], corner[1], pitch, int(swizzle_bytes != 0)));
        std::vector<uint16_t> got = out.download();
        for (int y = 0; y < ROWS; y++) {
            for (int x = 0; x < COLS; x++) {
                int r = y - corner[1], c = x - corner[0];
                bool inside = r >= 0 && r < BOX_ROWS && c >= 0 && c < pitch / 2;
                TEST_CHECK(got[size_t(y * COLS + x)] == (inside ? r * 256 + c : 7),
                           "element " + std::to_string(y) + "," + std::to_string(x));
            }
        }
    }
}

void tensor_store_writes_the_box_and_nothing_outside_the_matrix() {
    check_store(128, 128);
    check_store(64, 64);
    check_store(32, 32);
    check_store(128, 0);
}

} // namespace

void bulk_tests() {
    TEST_RUN(tensor_load_with_128_byte_swizzle_matches_its_formula);
    TEST_RUN(tensor_load_with_64_byte_swizzle_matches_its_formula);
    TEST_RUN(tensor_load_with_32_byte_swizzle_matches_its_formula);
    TEST_RUN(tensor_load_without_swizzle_is_row_after_row);
    TEST_RUN(persistent_ring_sums_every_tile_once_for_odd_and_even_tile_counts);
    TEST_RUN(tensor_store_writes_the_box_and_nothing_outside_the_matrix);
}
