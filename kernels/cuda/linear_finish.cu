/* The epilogues of kernels/cuda/linear.h alone, for sums that a library multiplied. Contract there.
 *
 * Grid: at most `ctas` blocks of 256 threads; each of their warps takes strips of 16 rows by 64
 * columns in turn, columns first. Sums come in pairs of columns, a quad's 32 bytes side by side,
 * and lie in registers as an mma would have left them, so that linear_epilogue.cuh does the rest.
 * Memory bound. Not yet measured on a GPU. */
#include "kernels/cuda/linear.h"

#include "kernels/cuda/linear_epilogue.cuh"
#include "kernels/cuda/prim/cluster.cuh"

namespace {

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int STRIP_ROWS = 16, STRIP_COLS = 64, TILES = STRIP_COLS / 8;

static_assert(STRIP_COLS % PK_LINEAR_CUDA_HEAD_DIM == 0, "a strip holds whole heads");

/* Sums outside the matrix are zero; they are not stored. */
__device__ __forceinline__ void load_strip(float (&d)[4 * TILES], const float *sums, int rows,
                                           int n, int row, int col) {
    const int lane = int(threadIdx.x) % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int r = row + lane / 4 + 8 * half;
        const float *from = sums + size_t(r) * size_t(n) + lane % 4 * 2;
#pragma unroll
        for (int q = 0; q < TILES; q++) {
            const int c = col + 8 * q;
            float2 pair = make_float2(0.0f, 0.0f);
            if (r < rows && c < n) {
                pair = *reinterpret_cast<const float2 *>(from + c);
            }
            d[4 * q + 2 * half] = pair.x;
            d[4 * q + 2 * half + 1] = pair.y;
        }
    }
}

template <pk::Form FORM, bool BF16>
__global__ void __launch_bounds__(THREADS, 2)
    k_linear_finish(const pk::Product p, const float *__restrict__ sums) {
    /* 1. Everything may come from the grid before. The next one may be placed where there is room.
     */
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    const int rows = int(*p.rows_now);
    const int strips_n = (p.n + STRIP_COLS - 1) / STRIP_COLS;
    const int strips = (rows + STRIP_ROWS - 1) / STRIP_ROWS * strips_n;

    /* 2. One strip after another. */
    uint32_t over = 0;
    for (int strip = int(blockIdx.x) * WARPS + int(threadIdx.x) / 32; strip < strips;
         strip += int(gridDim.x) * WARPS) {
        const int row = strip / strips_n * STRIP_ROWS, col = strip % strips_n * STRIP_COLS;
        float d[4 * TILES];
        load_strip(d, sums, rows, p.n, row, col);
        pk::store_strip<FORM, BF16, TILES>(p, d, rows, row, col, over);
    }
    if (FORM != pk::FORM_PLAIN && !BF16) {
        pk::add_saturated(p.saturated, over);
    }
}

/* ---- launch ---- */

bool valid(const pk_finish_cuda_task &task) {
    const uint32_t size_max = 1u << 24; /* as of the products */
    const bool qkv = task.form == PK_LINEAR_CUDA_FORM_QKV;
    const uint32_t multiple = qkv                                      ? 3 * STRIP_COLS
                              : task.form == PK_LINEAR_CUDA_FORM_GEGLU ? 64
                                                                       : 16;
    return pk::aligned(task.out) && pk::aligned(task.sums) && task.rows != nullptr &&
           (!qkv || (pk::aligned(task.rope) && task.positions != nullptr)) &&
           task.rows_max <= size_max && task.n > 0 && task.n <= size_max &&
           task.n % multiple == 0 && task.ctas > 0 && task.ctas <= size_max &&
           (task.dtype == PK_F16 || task.dtype == PK_BF16);
}

template <pk::Form FORM, bool BF16> int launch(const pk_finish_cuda_task &task) {
    const pk::Product p = {task.out,    task.rope, task.positions, task.rows, task.saturated,
                           int(task.n), 0};
    const uint32_t strips =
        (task.rows_max + STRIP_ROWS - 1) / STRIP_ROWS * ((task.n + STRIP_COLS - 1) / STRIP_COLS);
    const uint32_t blocks = (strips + WARPS - 1) / WARPS;
    pk::Launch config;
    config.name = "k_linear_finish";
    config.grid = dim3(blocks < task.ctas ? blocks : task.ctas);
    config.block = dim3(THREADS);
    config.smem_bytes = 0;
    config.cluster = 1;
    config.dependent = task.dependent;
    config.stream = task.stream;
    return pk::launch(k_linear_finish<FORM, BF16>, config, p, task.sums);
}

template <bool BF16> int launch_form(const pk_finish_cuda_task &task) {
    switch (task.form) {
    case PK_LINEAR_CUDA_FORM_GEGLU:
        return launch<pk::FORM_GEGLU, BF16>(task);
    case PK_LINEAR_CUDA_FORM_QKV:
        return launch<pk::FORM_QKV, BF16>(task);
    case PK_LINEAR_CUDA_FORM_PLAIN:
        break;
    }
    return launch<pk::FORM_PLAIN, BF16>(task);
}

} // namespace

int pk_finish_cuda(const pk_finish_cuda_task *task) {
    if (task->rows_max == 0) {
        return pk::LAUNCH_OK;
    }
    if (!valid(*task)) {
        return PK_LINEAR_CUDA_INVALID;
    }
    return task->dtype == PK_BF16 ? launch_form<true>(*task) : launch_form<false>(*task);
}
