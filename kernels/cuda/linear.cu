/* Dense products with mma.sync m16n8k16, and the choice of kernel. Contract and roofline:
 * kernels/cuda/linear.h.
 *
 * Grid: at most `ctas`, each takes tiles of 128 x 128 in turn, columns first, so that the CTAs of
 * one wave share rows of act. 256 threads: eight warps of 32 x 64. A ring of three stages of 64 k
 * (96 KiB) filled by cp.async. Registers: at most 128, two CTAs on an SM of 228 KiB.
 * Not yet measured on a GPU. */
#include "kernels/cuda/linear.h"

#include "kernels/cuda/linear_epilogue.cuh"
#include "kernels/cuda/linear_wgmma.cuh"
#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mma.cuh"

namespace {

/* ---- tiles ---- */

constexpr int TILE_M = 128, TILE_N = 128, TILE_K = 64, STAGES = 3;
constexpr int THREADS = 256, WARP_M = 32, WARP_N = 64, WARPS_N = TILE_N / WARP_N;
constexpr int STRIPS = WARP_M / 16, TILES = WARP_N / 8; /* of a warp: 16 rows, 8 columns */
constexpr int ROW_BYTES = TILE_K * 2, CHUNKS = ROW_BYTES / 16;
constexpr int COPY_ROWS = THREADS / CHUNKS; /* that all threads copy at once */
constexpr uint32_t ACT_BYTES = TILE_M * ROW_BYTES, STAGE_BYTES = ACT_BYTES + TILE_N * ROW_BYTES;
constexpr size_t SMEM_BYTES = STAGES * STAGE_BYTES;

static_assert(THREADS / 32 == TILE_M / WARP_M * WARPS_N, "warps cover the tile");
static_assert(COPY_ROWS % 8 == 0 && TILE_M == TILE_N, "copies of a thread share their chunk");
static_assert(WARP_N % PK_LINEAR_CUDA_HEAD_DIM == 0, "a warp holds whole heads");

struct Operands {
    const uint16_t *act, *weight;
};

/* ---- device helpers ---- */

/* Chunks of 16 bytes are XORed with the row: the eight rows of an ldmatrix in eight bank groups. */
__device__ __forceinline__ uint32_t chunk_at(uint32_t base, int row, int chunk) {
    return base + uint32_t(row * ROW_BYTES + ((chunk ^ (row & 7)) << 4));
}

/* 128 rows from `first` of src [rows, k], columns [col, col + 64); what lies outside is zero. A
 * thread's copies are 32 rows apart, so that they share their chunk and its place. */
__device__ __forceinline__ void stage_rows(uint32_t dst, const uint16_t *src, int first, int rows,
                                           int col, int k) {
    const int row = int(threadIdx.x) / CHUNKS, chunk = int(threadIdx.x) % CHUNKS;
    const int at = col + chunk * 8, left = at < k ? rows - first - row : 0;
    const uint16_t *from = src + size_t(first + row) * size_t(k) + at;
    const uint32_t to = chunk_at(dst, row, chunk);
#pragma unroll
    for (int i = 0; i < TILE_M / COPY_ROWS; i++) {
        const bool inside = i * COPY_ROWS < left;
        ptx::cp_async16(to + uint32_t(i * COPY_ROWS * ROW_BYTES),
                        inside ? from + size_t(i * COPY_ROWS) * size_t(k) : src, inside ? 16 : 0);
    }
}

template <bool BF16>
__device__ __forceinline__ void multiply(float *d, const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
    float(&tile)[4] = *reinterpret_cast<float(*)[4]>(d);
    if (BF16) {
        ptx::mma_bf16(tile, a, b0, b1);
    } else {
        ptx::mma_f16(tile, a, b0, b1);
    }
}

/* d += the warp's 32 rows of act times its 64 rows of weight, over the stage's 64 k. */
template <bool BF16>
__device__ __forceinline__ void multiply_stage(float (&d)[STRIPS][4 * TILES], uint32_t stage,
                                               int warp_row, int warp_col) {
    const int lane = int(threadIdx.x) % 32;
    const uint32_t weights = stage + ACT_BYTES;
#pragma unroll
    for (int step = 0; step < TILE_K / 16; step++) {
        uint32_t a[STRIPS][4];
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            ptx::ldmatrix_x4(a[s],
                             chunk_at(stage, warp_row + s * 16 + lane % 16, step * 2 + lane / 16));
        }
#pragma unroll
        for (int q = 0; q < TILES; q += 2) {
            uint32_t b[4];
            ptx::ldmatrix_x4(b, chunk_at(weights, warp_col + q * 8 + lane / 16 * 8 + lane % 8,
                                         step * 2 + lane / 8 % 2));
#pragma unroll
            for (int s = 0; s < STRIPS; s++) {
                multiply<BF16>(&d[s][4 * q], a[s], b[0], b[1]);
                multiply<BF16>(&d[s][4 * q + 4], a[s], b[2], b[3]);
            }
        }
    }
}

/* ---- kernel ---- */

template <pk::Form FORM, bool BF16>
__global__ void __launch_bounds__(THREADS, 2) k_linear_mma(const pk::Product p, const Operands in) {
    PK_SMEM_DYNAMIC(smem, 128);
    const uint32_t ring = ptx::smem_address(smem);
    const int warp = int(threadIdx.x) / 32;
    const int warp_row = warp / WARPS_N * WARP_M, warp_col = warp % WARPS_N * WARP_N;

    /* 1. Everything may come from the grid before. The next one may be placed where there is room.
     */
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    const int rows = int(*p.rows_now), steps = (p.k + TILE_K - 1) / TILE_K;
    const int tiles_n = (p.n + TILE_N - 1) / TILE_N;
    const int tiles = (rows + TILE_M - 1) / TILE_M * tiles_n;
    for (int tile = int(blockIdx.x); tile < tiles; tile += int(gridDim.x)) {
        const int row = tile / tiles_n * TILE_M, col = tile % tiles_n * TILE_N;
        auto fill = [&](int step) {
            if (step < steps) {
                const uint32_t stage = ring + uint32_t(step % STAGES) * STAGE_BYTES;
                stage_rows(stage, in.act, row, rows, step * TILE_K, p.k);
                stage_rows(stage + ACT_BYTES, in.weight, col, p.n, step * TILE_K, p.k);
            }
            ptx::cp_async_commit(); /* empty past the end: one group per step */
        };

        /* 2. The first stages. */
#pragma unroll
        for (int step = 0; step < STAGES - 1; step++) {
            fill(step);
        }

        /* 3. k in steps of 64. */
        float d[STRIPS][4 * TILES] = {};
        for (int step = 0; step < steps; step++) {
            ptx::cp_async_wait<STAGES - 2>();
            __syncthreads(); /* copies of this stage before its reads; reads of the one before it,
                                before the copies that the next line starts there */
            fill(step + STAGES - 1);
            multiply_stage<BF16>(d, ring + uint32_t(step % STAGES) * STAGE_BYTES, warp_row,
                                 warp_col);
        }
        __syncthreads(); /* reads of the last stages before the next tile's copies */

        /* 4. Out. */
        uint32_t over = 0;
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            pk::store_strip<FORM, BF16, TILES>(p, d[s], rows, row + warp_row + s * 16,
                                               col + warp_col, over);
        }
        if (FORM != pk::FORM_PLAIN && !BF16) {
            pk::add_saturated(p.saturated, over);
        }
    }
    ptx::cp_async_wait<0>();
}

/* ---- launch ---- */

bool valid(const pk_linear_cuda_task &task, pk::Form form) {
    const uint32_t size_max = 1u << 24; /* products of two sizes over 16 fit an int */
    const uint32_t multiple = form == pk::FORM_QKV     ? 3 * PK_LINEAR_CUDA_HEAD_DIM
                              : form == pk::FORM_GEGLU ? 64
                                                       : 16;
    const bool rope = form != pk::FORM_QKV || (pk::aligned(task.rope) && task.positions != nullptr);
    return rope && pk::aligned(task.out) && pk::aligned(task.act) && pk::aligned(task.weight) &&
           task.rows != nullptr && task.rows_max <= size_max && task.n > 0 && task.n <= size_max &&
           task.n % multiple == 0 && task.k > 0 && task.k <= size_max &&
           task.k % PK_LINEAR_CUDA_K_STEP == 0 && task.ctas > 0 && task.ctas <= size_max &&
           (task.dtype == PK_F16 || task.dtype == PK_BF16) &&
           (task.tile != PK_LINEAR_SAFE || (task.stages == 0 && !task.multicast)) &&
           (!task.multicast || task.ctas >= 2);
}

template <pk::Form FORM, bool BF16>
int launch_safe(const pk_linear_cuda_task &task, const pk::Product &p) {
    const uint32_t tiles = (task.rows_max + TILE_M - 1) / TILE_M * ((task.n + TILE_N - 1) / TILE_N);
    pk::Launch config;
    config.name = "k_linear_mma";
    config.grid = dim3(tiles < task.ctas ? tiles : task.ctas);
    config.block = dim3(THREADS);
    config.smem_bytes = SMEM_BYTES;
    config.cluster = 1;
    config.dependent = task.dependent;
    config.stream = task.stream;
    return pk::launch(k_linear_mma<FORM, BF16>, config, p,
                      Operands{static_cast<const uint16_t *>(task.act),
                               static_cast<const uint16_t *>(task.weight)});
}

template <pk::Form FORM> int run(const pk_linear_cuda_task &task) {
    if (task.rows_max == 0) {
        return pk::LAUNCH_OK;
    }
    if (!valid(task, FORM)) {
        return PK_LINEAR_CUDA_INVALID;
    }
    const pk::Product p = {task.out,       task.rope,   task.positions, task.rows,
                           task.saturated, int(task.n), int(task.k)};
    if (task.tile != PK_LINEAR_SAFE) {
        return pk::launch_wgmma(task, p, FORM);
    }
    return task.dtype == PK_BF16 ? launch_safe<FORM, true>(task, p)
                                 : launch_safe<FORM, false>(task, p);
}

} // namespace

int pk_linear_cuda(const pk_linear_cuda_task *task) {
    return run<pk::FORM_PLAIN>(*task);
}

int pk_geglu_cuda(const pk_linear_cuda_task *task) {
    return run<pk::FORM_GEGLU>(*task);
}

int pk_qkv_rope_cuda(const pk_linear_cuda_task *task) {
    return run<pk::FORM_QKV>(*task);
}
