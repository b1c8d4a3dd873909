/* Banded and global attention, head dim 64, mma.sync m16n8k16, and the choice between the forms.
 * Contract and roofline: kernels/cuda/attn.h.
 *
 * Grid of `ctas`, 128 threads: four warps of 16 queries each; half a tile of the list, 64 queries
 * of one head, is one work item. Shared memory: global 40 KiB (q, two stages of k and v), banded
 * 56 KiB (q and 192 rows of k and v), so three CTAs share a multiprocessor and hide each other's
 * copies. Not yet measured on a GPU. */
#include "kernels/cuda/attn_tile.cuh"
#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"

namespace {

using namespace attn;

/* ---- tiles ---- */

constexpr int QUERIES = 64, WARPS = 4, THREADS = 32 * WARPS;
constexpr int PARTS = PK_ATTN_CUDA_QUERIES / QUERIES;
constexpr int KEYS = 64; /* of one step of the global form */
constexpr int TILE_BYTES = 64 * ROW_BYTES;
constexpr int ROWS_A_COPY = THREADS / CHUNKS; /* that the threads stage with one copy each */
constexpr int BAND_BEFORE = 64; /* keys staged before the tile's first query, and after its last */
constexpr int BAND_KEYS = BAND_BEFORE + QUERIES + 64;
constexpr int WARP_BAND = BAND_BEFORE + WARP_ROWS + 64; /* keys that one warp's queries can see */
constexpr size_t GLOBAL_SMEM = 5 * TILE_BYTES;
constexpr size_t BAND_SMEM = TILE_BYTES + 2 * BAND_KEYS * ROW_BYTES;

static_assert(ROWS_A_COPY % 8 == 0, "the pattern of chunk_at repeats every 8 rows");
static_assert(QUERIES == WARPS * WARP_ROWS, "a warp's rows");
static_assert(PK_ATTN_CUDA_WINDOW_MAX <= BAND_BEFORE, "the band must hold the window");
static_assert(WARP_BAND % 16 == 0 && BAND_KEYS == WARP_BAND + (WARPS - 1) * WARP_ROWS, "band");

/* ---- device helpers ---- */

/* q, k, v of one head, at the sequence's first row; elements between rows. */
struct Operands {
    const uint16_t *q, *k, *v;
    uint32_t stride;
};

__device__ __forceinline__ Operands operands_of(const uint16_t *qkv, const Work &work,
                                                uint32_t heads) {
    Operands operands;
    operands.stride = 3 * heads * DIM;
    operands.q = qkv + size_t(work.begin) * operands.stride + work.head * DIM;
    operands.k = operands.q + heads * DIM;
    operands.v = operands.k + heads * DIM;
    return operands;
}

/* Stages rows [first, first + ROWS) of a sequence; rows outside [0, len) are zero. */
template <int ROWS>
__device__ __forceinline__ void stage_rows(uint32_t dst, const uint16_t *src, int first, int len,
                                           uint32_t stride) {
    const int row = int(threadIdx.x) / CHUNKS, chunk = int(threadIdx.x) % CHUNKS;
    const uint32_t at = chunk_at(dst, row, chunk);
#pragma unroll
    for (int i = 0; i < ROWS; i += ROWS_A_COPY) {
        const int from = first + row + i;
        const bool inside = from >= 0 && from < len;
        ptx::cp_async16(at + uint32_t(i * ROW_BYTES),
                        src + (uint32_t(inside ? from : 0) * stride + uint32_t(chunk) * 8),
                        inside ? 16 : 0);
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

__device__ __forceinline__ void load_queries(uint32_t (&q)[4][4], uint32_t staged, int row) {
    const int lane = lane_of();
#pragma unroll
    for (int step = 0; step < 4; step++) {
        ptx::ldmatrix_x4(q[step], chunk_at(staged, row + lane % 16, step * 2 + lane / 16));
    }
}

/* s = the warp's 16 queries times the COUNT / 4 * 8 keys from `row`. */
template <bool BF16, int COUNT>
__device__ __forceinline__ void score(float (&s)[COUNT], const uint32_t (&q)[4][4], uint32_t keys,
                                      int row) {
    const int lane = lane_of();
    uint32_t at[4]; /* of the first 16 keys; the pattern of chunk_at repeats every 8 rows */
#pragma unroll
    for (int step = 0; step < 4; step++) {
        at[step] = chunk_at(keys, row + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2);
    }
#pragma unroll
    for (int n = 0; n < COUNT; n += 8) { /* 16 keys */
#pragma unroll
        for (int i = 0; i < 8; i++) {
            s[n + i] = 0.0f;
        }
#pragma unroll
        for (int step = 0; step < 4; step++) {
            uint32_t b[4];
            ptx::ldmatrix_x4(b, at[step] + uint32_t(n * 2 * ROW_BYTES));
            multiply<BF16>(&s[n], q[step], b[0], b[1]);
            multiply<BF16>(&s[n + 4], q[step], b[2], b[3]);
        }
    }
}

/* o += p times the rows of v from `row`; the accumulators of two score tiles are, packed, the A
 * fragment of p. */
template <bool BF16, int COUNT>
__device__ __forceinline__ void add_values(float (&o)[32], const float (&p)[COUNT], uint32_t values,
                                           int row) {
    const int lane = lane_of();
    uint32_t at[4]; /* of the first 16 rows */
#pragma unroll
    for (int n = 0; n < 4; n++) {
        at[n] = chunk_at(values, row + lane % 16, n * 2 + lane / 16);
    }
#pragma unroll
    for (int k = 0; k < COUNT; k += 8) { /* 16 keys */
        const uint32_t a[4] = {pack<BF16>(p[k], p[k + 1]), pack<BF16>(p[k + 2], p[k + 3]),
                               pack<BF16>(p[k + 4], p[k + 5]), pack<BF16>(p[k + 6], p[k + 7])};
#pragma unroll
        for (int n = 0; n < 4; n++) {
            uint32_t b[4];
            ptx::ldmatrix_x4_trans(b, at[n] + uint32_t(k * 2 * ROW_BYTES));
            multiply<BF16>(&o[n * 8], a, b[0], b[1]);
            multiply<BF16>(&o[n * 8 + 4], a, b[2], b[3]);
        }
    }
}

/* ---- banded: every key that a query can see is staged once, one pass ---- */

/* Steps 2 to 6 of the kernel below, for one work item. */
template <bool BF16>
__device__ __forceinline__ void band_item(uint16_t *out, const uint16_t *qkv, const Work &work,
                                          uint32_t heads, int window, uint8_t *smem) {
    const Operands in = operands_of(qkv, work, heads);
    const uint32_t queries = ptx::smem_address(smem), keys = queries + TILE_BYTES;
    const uint32_t values = keys + BAND_KEYS * ROW_BYTES;
    const int warp_row = int(threadIdx.x) / 32 * WARP_ROWS, lane = lane_of();
    const int band = work.first - BAND_BEFORE; /* first staged key; negative in the first tile */

    /* 2. q and k as one group of copies, v as the next. */
    stage_rows<QUERIES>(queries, in.q, work.first, work.len, in.stride);
    stage_rows<BAND_KEYS>(keys, in.k, band, work.len, in.stride);
    ptx::cp_async_commit();
    stage_rows<BAND_KEYS>(values, in.v, band, work.len, in.stride);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads(); /* all threads' copies of q and k before any ldmatrix */

    /* 3. Scores of the warp's 16 queries with its 144 keys. */
    uint32_t q[4][4];
    load_queries(q, queries, warp_row);
    float s[WARP_BAND / 2];
    score<BF16>(s, q, keys, warp_row);

    /* 4. Mask, maximum, weights, sums. Element i: query row, key column. */
    const int row = work.first + warp_row + lane / 4, column = band + warp_row + lane % 4 * 2;
    float maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < WARP_BAND / 2; i++) {
        const int key = column + i / 4 * 8 + i % 2, distance = row + i / 2 % 2 * 8 - key;
        const bool seen = key >= 0 && key < work.len && distance <= window && -distance <= window;
        s[i] = seen ? s[i] : -INFINITY;
    }
    float shrink[2]; /* of nothing: there is one pass */
    softmax_step(s, maximum, sum, shrink);

    /* 5. Weighted sum of v. */
    ptx::cp_async_wait<0>();
    __syncthreads(); /* all threads' copies of v before any ldmatrix */
    float o[32] = {};
    add_values<BF16>(o, s, values, warp_row);

    /* 6. Normalise and store, through the warp's own rows of q, which it alone read. */
    write_rows<BF16>(out, work, heads, warp_row, smem + warp_row * ROW_BYTES, o, sum);
}

template <bool BF16>
__global__ void __launch_bounds__(THREADS, PK_ATTN_CUDA_SAFE_CTAS)
    k_attn_band(uint16_t *__restrict__ out, const uint16_t *__restrict__ qkv,
                const pk_attn_cuda_tile *__restrict__ tiles, const uint32_t *__restrict__ n_tiles,
                uint32_t heads, int window) {
    PK_SMEM_DYNAMIC(smem, 128);

    /* 1. Which rows. The next grid may be placed where there is room. */
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    const uint32_t items = *n_tiles * heads * PARTS;
    for (uint32_t item = blockIdx.x; item < items; item += gridDim.x) {
        const Work work = work_of<PARTS>(tiles, heads, item);
        if (work.first < work.len) {
            band_item<BF16>(out, qkv, work, heads, window, smem);
            __syncthreads(); /* every warp's reads of q, k, v before the next item's copies */
        }
    }
}

/* ---- global: 64 keys at a time, running maximum and sum ---- */

/* Steps 2 to 7 of the kernel below, for one work item. */
template <bool BF16>
__device__ __forceinline__ void global_item(uint16_t *out, const uint16_t *qkv, const Work &work,
                                            uint32_t heads, uint8_t *smem) {
    const Operands in = operands_of(qkv, work, heads);
    const uint32_t queries = ptx::smem_address(smem), keys = queries + TILE_BYTES;
    const uint32_t values = keys + 2 * TILE_BYTES; /* two stages each */
    const int warp_row = int(threadIdx.x) / 32 * WARP_ROWS, lane = lane_of();
    const int steps = (work.len + KEYS - 1) / KEYS;

    /* 2. q and the first keys. */
    stage_rows<QUERIES>(queries, in.q, work.first, work.len, in.stride);
    stage_rows<KEYS>(keys, in.k, 0, work.len, in.stride);
    stage_rows<KEYS>(values, in.v, 0, work.len, in.stride);
    ptx::cp_async_commit();

    float o[32] = {}, maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
    for (int step = 0; step < steps; step++) {
        /* 3. The next keys travel while these are used. */
        const uint32_t stage = uint32_t(step & 1) * TILE_BYTES;
        if (step + 1 < steps) {
            const uint32_t other = stage ^ TILE_BYTES;
            stage_rows<KEYS>(keys + other, in.k, (step + 1) * KEYS, work.len, in.stride);
            stage_rows<KEYS>(values + other, in.v, (step + 1) * KEYS, work.len, in.stride);
        }
        ptx::cp_async_commit();
        ptx::cp_async_wait<1>();
        __syncthreads(); /* all threads' copies of this step before any ldmatrix */

        /* 4. Scores; keys past the end are masked. q again each time: it would take the registers
         * of a third CTA to keep. */
        uint32_t q[4][4];
        load_queries(q, queries, warp_row);
        float s[KEYS / 2];
        score<BF16>(s, q, keys + stage, 0);
        if ((step + 1) * KEYS > work.len) {
#pragma unroll
            for (int i = 0; i < KEYS / 2; i++) {
                const int key = step * KEYS + i / 4 * 8 + lane % 4 * 2 + i % 2;
                s[i] = key < work.len ? s[i] : -INFINITY;
            }
        }

        /* 5. Online softmax: what has been summed so far moves to the new maximum. */
        float shrink[2];
        softmax_step(s, maximum, sum, shrink);
#pragma unroll
        for (int i = 0; i < 32; i++) {
            o[i] *= shrink[i / 2 % 2];
        }

        /* 6. Weighted sum of v. */
        add_values<BF16>(o, s, values + stage, 0);
        __syncthreads(); /* every warp's reads of this stage before it is overwritten */
    }

    /* 7. Normalise and store, through the warp's own rows of q. */
    ptx::cp_async_wait<0>();
    write_rows<BF16>(out, work, heads, warp_row, smem + warp_row * ROW_BYTES, o, sum);
}

template <bool BF16>
__global__ void __launch_bounds__(THREADS, PK_ATTN_CUDA_SAFE_CTAS)
    k_attn_global(uint16_t *__restrict__ out, const uint16_t *__restrict__ qkv,
                  const pk_attn_cuda_tile *__restrict__ tiles, const uint32_t *__restrict__ n_tiles,
                  uint32_t heads) {
    PK_SMEM_DYNAMIC(smem, 128);

    /* 1. Which rows. The next grid may be placed where there is room. */
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    const uint32_t items = *n_tiles * heads * PARTS;
    for (uint32_t item = blockIdx.x; item < items; item += gridDim.x) {
        const Work work = work_of<PARTS>(tiles, heads, item);
        if (work.first < work.len) {
            global_item<BF16>(out, qkv, work, heads, smem);
            __syncthreads(); /* every warp's reads of its rows of q before the next item's copies */
        }
    }
}

/* ---- launch ---- */

bool valid(const pk_attn_cuda_task &task) {
    const uintptr_t addresses = reinterpret_cast<uintptr_t>(task.out) |
                                reinterpret_cast<uintptr_t>(task.qkv) |
                                reinterpret_cast<uintptr_t>(task.tiles);
    const uint64_t wide =
        uint64_t(task.heads) * 3 * DIM; /* elements in a row; offsets are 32-bit */
    const uint64_t items = uint64_t(task.tiles_max) * task.heads * PARTS;
    const bool global = task.window == SIZE_MAX;
    return task.heads >= 1 && task.rows_max >= 1 && wide <= UINT32_MAX / task.rows_max &&
           items <= INT32_MAX && addresses % 16 == 0 &&
           (global || (task.window <= PK_ATTN_CUDA_WINDOW_MAX && task.form == PK_ATTN_SAFE)) &&
           (task.dtype == PK_F16 || task.dtype == PK_BF16) &&
           (task.form == PK_ATTN_SAFE || task.form == PK_ATTN_WGMMA);
}

template <bool BF16> int launch(const pk_attn_cuda_task &task) {
    const bool banded = task.window != SIZE_MAX;
    pk::Launch config;
    config.name = banded ? "k_attn_band" : "k_attn_global";
    config.grid = dim3(grid_of(task, PARTS));
    config.block = dim3(THREADS);
    config.smem_bytes = banded ? BAND_SMEM : GLOBAL_SMEM;
    config.cluster = 1;
    config.dependent = task.dependent;
    config.stream = task.stream;
    auto *out = static_cast<uint16_t *>(task.out);
    auto *qkv = static_cast<const uint16_t *>(task.qkv);
    if (banded) {
        return pk::launch(k_attn_band<BF16>, config, out, qkv, task.tiles, task.n_tiles, task.heads,
                          int(task.window));
    }
    return pk::launch(k_attn_global<BF16>, config, out, qkv, task.tiles, task.n_tiles, task.heads);
}

} // namespace

int pk_attn_cuda(const pk_attn_cuda_task *task) {
    if (task->tiles_max == 0) {
        return pk::LAUNCH_OK;
    }
    if (!valid(*task)) {
        return PK_ATTN_CUDA_INVALID;
    }
    if (task->form == PK_ATTN_WGMMA) {
        return attn::launch_wgmma(*task);
    }
    return task->dtype == PK_BF16 ? launch<true>(*task) : launch<false>(*task);
}
