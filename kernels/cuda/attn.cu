/* Banded and global attention, head dim 64, mma.sync m16n8k16. Contract: kernels/cuda/attn.h.
 *
 * Grid (tiles_max, heads), 128 threads: four warps of 16
 * queries each. Shared memory: global 40 KiB (q, two stages of k and v), banded 56 KiB (q and 192
 * rows of k and v). Bytes: q and out once, k and v once per 64 queries.
 * Not yet measured on a GPU. */
#include "kernels/cuda/attn.h"

#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mma.cuh"

#include <math.h>

namespace {

/* ---- tiles ---- */

constexpr int DIM = PK_ATTN_CUDA_HEAD_DIM;
constexpr int QUERIES = PK_ATTN_CUDA_QUERIES, WARPS = 4, THREADS = 32 * WARPS,
              WARP_QUERIES = QUERIES / WARPS;
constexpr int KEYS = 64; /* of one step of the global form */
constexpr int ROW_BYTES = DIM * 2, CHUNKS = ROW_BYTES / 16;
constexpr int TILE_BYTES = 64 * ROW_BYTES;
constexpr int BAND_BEFORE = 64; /* keys staged before the tile's first query, and after its last */
constexpr int BAND_KEYS = BAND_BEFORE + QUERIES + 64;
constexpr int WARP_BAND =
    BAND_BEFORE + WARP_QUERIES + 64; /* keys that one warp's queries can see */
constexpr size_t GLOBAL_SMEM = 5 * TILE_BYTES;
constexpr size_t BAND_SMEM = TILE_BYTES + 2 * BAND_KEYS * ROW_BYTES;
constexpr float LOG2_E = 1.44269504f; /* softmax is taken in powers of two */

static_assert(PK_ATTN_CUDA_WINDOW_MAX <= BAND_BEFORE, "the band must hold the window");
static_assert(WARP_BAND % 16 == 0 && BAND_KEYS == WARP_BAND + (WARPS - 1) * WARP_QUERIES, "band");

/* ---- device helpers ---- */

/* The rows that one CTA works on. */
struct Tile {
    const uint16_t *q, *k, *v; /* first row of the sequence, this head */
    uint16_t *out;
    int len, first; /* rows of the sequence; first query */
    int stride;     /* elements between rows of q, k, v */
    int out_stride;
};

__device__ __forceinline__ Tile tile_of(uint16_t *out, const uint16_t *qkv,
                                        const pk_attn_cuda_tile *tiles, int heads) {
    Tile tile;
    const int4 rows = reinterpret_cast<const int4 *>(tiles)[blockIdx.x];
    const int begin = rows.x, head = int(blockIdx.y) * DIM;
    tile.len = rows.y;
    tile.first = rows.z;
    tile.out_stride = heads * DIM;
    tile.stride = 3 * tile.out_stride;
    tile.q = qkv + size_t(begin) * size_t(tile.stride) + head;
    tile.k = tile.q + tile.out_stride;
    tile.v = tile.k + tile.out_stride;
    tile.out = out + size_t(begin) * size_t(tile.out_stride) + head;
    return tile;
}

/* Shared address of 16-byte chunk `chunk` of row `row`: chunks are XORed with the row, so that the
 * eight rows of an ldmatrix lie in eight groups of banks. */
__device__ __forceinline__ uint32_t chunk_at(uint32_t base, int row, int chunk) {
    return base + uint32_t(row * ROW_BYTES + ((chunk ^ (row & 7)) << 4));
}

/* Stages rows [first, first + ROWS) of a sequence; rows outside [0, len) are zero. */
template <int ROWS>
__device__ __forceinline__ void stage_rows(uint32_t dst, const uint16_t *src, int first, int len,
                                           int stride) {
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
        const int index = int(threadIdx.x) + i * THREADS, row = index / CHUNKS;
        const int chunk = index % CHUNKS, from = first + row;
        const bool inside = from >= 0 && from < len;
        ptx::cp_async16(chunk_at(dst, row, chunk),
                        src +
                            (uint32_t(inside ? from : 0) * uint32_t(stride) + uint32_t(chunk) * 8),
                        inside ? 16 : 0);
    }
}

template <bool BF16>
__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
    if (BF16) {
        ptx::mma_bf16(d, a, b0, b1);
    } else {
        ptx::mma_f16(d, a, b0, b1);
    }
}

template <bool BF16> __device__ __forceinline__ uint32_t pack(float lo, float hi) {
    return BF16 ? ptx::pack_bf16(lo, hi) : ptx::pack_f16(lo, hi);
}

__device__ __forceinline__ int lane_of() {
    return int(threadIdx.x) % 32;
}

__device__ __forceinline__ void load_queries(uint32_t (&q)[4][4], uint32_t staged, int row) {
    const int lane = lane_of();
#pragma unroll
    for (int step = 0; step < 4; step++) {
        ptx::ldmatrix_x4(q[step], chunk_at(staged, row + lane % 16, step * 2 + lane / 16));
    }
}

/* s0, s1 = the warp's 16 queries times keys [row, row + 8) and [row + 8, row + 16). */
template <bool BF16>
__device__ __forceinline__ void score(float (&s0)[4], float (&s1)[4], const uint32_t (&q)[4][4],
                                      uint32_t keys, int row) {
    const int lane = lane_of();
#pragma unroll
    for (int i = 0; i < 4; i++) {
        s0[i] = s1[i] = 0.0f;
    }
#pragma unroll
    for (int step = 0; step < 4; step++) {
        uint32_t b[4];
        ptx::ldmatrix_x4(b,
                         chunk_at(keys, row + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
        multiply<BF16>(s0, q[step], b[0], b[1]);
        multiply<BF16>(s1, q[step], b[2], b[3]);
    }
}

/* o += p times the 16 rows of v from `row`; the accumulators of two score tiles are, packed, the A
 * fragment of p. */
template <bool BF16>
__device__ __forceinline__ void add_values(float (&o)[8][4], const float (&p0)[4],
                                           const float (&p1)[4], uint32_t values, int row) {
    const int lane = lane_of();
    const uint32_t a[4] = {pack<BF16>(p0[0], p0[1]), pack<BF16>(p0[2], p0[3]),
                           pack<BF16>(p1[0], p1[1]), pack<BF16>(p1[2], p1[3])};
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
        uint32_t b[4];
        ptx::ldmatrix_x4_trans(b, chunk_at(values, row + lane % 16, n + lane / 16));
        multiply<BF16>(o[n], a, b[0], b[1]);
        multiply<BF16>(o[n + 1], a, b[2], b[3]);
    }
}

/* A row of scores lies in the four lanes of a quad. */
__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* The exponent's offset: 0 for a row that sees no key, which is a row past the end. */
__device__ __forceinline__ float offset_of(float maximum) {
    return maximum == -INFINITY ? 0.0f : maximum * LOG2_E;
}

/* out = o / sum, through the warp's own 16 rows of the q tile, which it alone read. */
template <bool BF16>
__device__ __forceinline__ void write_out(const Tile &tile, uint8_t *smem, const float (&o)[8][4],
                                          const float (&sum)[2]) {
    const int warp = int(threadIdx.x) / 32, lane = lane_of();
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float total = quad_sum(sum[half]), scale = 1.0f / total;
        const int row = warp * WARP_QUERIES + half * 8 + lane / 4;
#pragma unroll
        for (int n = 0; n < 8; n++) {
            const uint32_t at = chunk_at(0, row, n) + uint32_t(lane % 4 * 4);
            *reinterpret_cast<uint32_t *>(smem + at) =
                pack<BF16>(o[n][2 * half] * scale, o[n][2 * half + 1] * scale);
        }
    }
    __syncwarp(); /* the stores above before the loads below, of other lanes */
#pragma unroll
    for (int i = 0; i < WARP_QUERIES * CHUNKS / 32; i++) {
        const int index = lane + i * 32, row = warp * WARP_QUERIES + index / CHUNKS;
        const int query = tile.first + row, chunk = index % CHUNKS;
        if (query < tile.len) {
            *reinterpret_cast<uint4 *>(tile.out + size_t(query) * size_t(tile.out_stride) +
                                       chunk * 8) =
                *reinterpret_cast<const uint4 *>(smem + chunk_at(0, row, chunk));
        }
    }
}

/* ---- banded: every key that a query can see is staged once, one pass ---- */

template <bool BF16>
__global__ void __launch_bounds__(THREADS)
    k_attn_band(uint16_t *__restrict__ out, const uint16_t *__restrict__ qkv,
                const pk_attn_cuda_tile *__restrict__ tiles, const uint32_t *__restrict__ n_tiles,
                int heads, int window) {
    PK_SMEM_DYNAMIC(smem, 128);

    /* 1. Which rows. The tiles are written by the host, the rows by the grid before. */
    ptx::grid_wait();
    if (blockIdx.x >= *n_tiles) {
        return;
    }
    const Tile tile = tile_of(out, qkv, tiles, heads);
    const uint32_t queries = ptx::smem_address(smem), keys = queries + TILE_BYTES;
    const uint32_t values = keys + BAND_KEYS * ROW_BYTES;
    const int warp_row = int(threadIdx.x) / 32 * WARP_QUERIES, lane = lane_of();
    const int band = tile.first - BAND_BEFORE; /* first staged key; negative in the first tile */

    /* 2. q and k as one group of copies, v as the next. */
    stage_rows<QUERIES>(queries, tile.q, tile.first, tile.len, tile.stride);
    stage_rows<BAND_KEYS>(keys, tile.k, band, tile.len, tile.stride);
    ptx::cp_async_commit();
    stage_rows<BAND_KEYS>(values, tile.v, band, tile.len, tile.stride);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads(); /* all threads' copies of q and k before any ldmatrix */

    /* 3. Scores of the warp's 16 queries with its 144 keys. */
    uint32_t q[4][4];
    load_queries(q, queries, warp_row);
    float s[WARP_BAND / 8][4];
#pragma unroll
    for (int n = 0; n < WARP_BAND / 8; n += 2) {
        score<BF16>(s[n], s[n + 1], q, keys, warp_row + n * 8);
    }

    /* 4. Mask, maximum, weights, sums. Element i of tile n: query row, key column. */
    const int row = tile.first + warp_row + lane / 4, column = band + warp_row + lane % 4 * 2;
    float maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
#pragma unroll
    for (int n = 0; n < WARP_BAND / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int key = column + n * 8 + i % 2, distance = row + i / 2 * 8 - key;
            const bool seen =
                key >= 0 && key < tile.len && distance <= window && -distance <= window;
            s[n][i] = seen ? s[n][i] : -INFINITY;
            maximum[i / 2] = fmaxf(maximum[i / 2], s[n][i]);
        }
    }
    const float offset[2] = {offset_of(quad_max(maximum[0])), offset_of(quad_max(maximum[1]))};
#pragma unroll
    for (int n = 0; n < WARP_BAND / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = ptx::exp2_approx(s[n][i] * LOG2_E - offset[i / 2]);
            sum[i / 2] += s[n][i];
        }
    }

    /* 5. Weighted sum of v. */
    ptx::cp_async_wait<0>();
    __syncthreads(); /* all threads' copies of v before any ldmatrix */
    float o[8][4] = {};
#pragma unroll
    for (int n = 0; n < WARP_BAND / 8; n += 2) {
        add_values<BF16>(o, s[n], s[n + 1], values, warp_row + n * 8);
    }

    /* 6. Normalise and store. */
    write_out<BF16>(tile, smem, o, sum);
    ptx::grid_launch_dependents();
}

/* ---- global: 64 keys at a time, running maximum and sum ---- */

template <bool BF16>
__global__ void __launch_bounds__(THREADS, 3)
    k_attn_global(uint16_t *__restrict__ out, const uint16_t *__restrict__ qkv,
                  const pk_attn_cuda_tile *__restrict__ tiles, const uint32_t *__restrict__ n_tiles,
                  int heads) {
    PK_SMEM_DYNAMIC(smem, 128);

    /* 1. Which rows. */
    ptx::grid_wait();
    if (blockIdx.x >= *n_tiles) {
        return;
    }
    const Tile tile = tile_of(out, qkv, tiles, heads);
    const uint32_t queries = ptx::smem_address(smem), keys = queries + TILE_BYTES;
    const uint32_t values = keys + 2 * TILE_BYTES; /* two stages each */
    const int warp_row = int(threadIdx.x) / 32 * WARP_QUERIES, lane = lane_of();
    const int steps = (tile.len + KEYS - 1) / KEYS;

    /* 2. q and the first keys. */
    stage_rows<QUERIES>(queries, tile.q, tile.first, tile.len, tile.stride);
    stage_rows<KEYS>(keys, tile.k, 0, tile.len, tile.stride);
    stage_rows<KEYS>(values, tile.v, 0, tile.len, tile.stride);
    ptx::cp_async_commit();

    uint32_t q[4][4];
    float o[8][4] = {}, maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
    for (int step = 0; step < steps; step++) {
        /* 3. The next keys travel while these are used. */
        const uint32_t stage = uint32_t(step & 1) * TILE_BYTES;
        if (step + 1 < steps) {
            const uint32_t other = stage ^ TILE_BYTES;
            stage_rows<KEYS>(keys + other, tile.k, (step + 1) * KEYS, tile.len, tile.stride);
            stage_rows<KEYS>(values + other, tile.v, (step + 1) * KEYS, tile.len, tile.stride);
        }
        ptx::cp_async_commit();
        ptx::cp_async_wait<1>();
        __syncthreads(); /* all threads' copies of this step before any ldmatrix */
        if (step == 0) {
            load_queries(q, queries, warp_row);
        }

        /* 4. Scores; keys past the end are masked. */
        float s[KEYS / 8][4];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n += 2) {
            score<BF16>(s[n], s[n + 1], q, keys + stage, n * 8);
        }
        if ((step + 1) * KEYS > tile.len) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int key = step * KEYS + n * 8 + lane % 4 * 2 + i % 2;
                    s[n][i] = key < tile.len ? s[n][i] : -INFINITY;
                }
            }
        }

        /* 5. Online softmax: what has been summed so far moves to the new maximum. */
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = maximum[half];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
                top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
            }
            top = quad_max(top);
            const float offset = offset_of(top);
            const float shrink = ptx::exp2_approx(maximum[half] * LOG2_E - offset);
            maximum[half] = top;
            sum[half] *= shrink;
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    o[n][i] *= shrink;
                    s[n][i] = ptx::exp2_approx(s[n][i] * LOG2_E - offset);
                    sum[half] += s[n][i];
                }
            }
        }

        /* 6. Weighted sum of v. */
#pragma unroll
        for (int n = 0; n < KEYS / 8; n += 2) {
            add_values<BF16>(o, s[n], s[n + 1], values + stage, n * 8);
        }
        __syncthreads(); /* every warp's reads of this stage before it is overwritten */
    }

    /* 7. Normalise and store. */
    ptx::cp_async_wait<0>();
    write_out<BF16>(tile, smem, o, sum);
    ptx::grid_launch_dependents();
}

/* ---- launch ---- */

bool valid(const pk_attn_cuda_task &task) {
    const uint32_t grid_max = 65535;
    const uintptr_t addresses = reinterpret_cast<uintptr_t>(task.out) |
                                reinterpret_cast<uintptr_t>(task.qkv) |
                                reinterpret_cast<uintptr_t>(task.tiles);
    return task.heads >= 1 && task.heads <= grid_max && addresses % 16 == 0 &&
           (task.dtype == PK_F16 || task.dtype == PK_BF16) &&
           (task.window <= PK_ATTN_CUDA_WINDOW_MAX || task.window == SIZE_MAX);
}

template <bool BF16> int launch(const pk_attn_cuda_task &task) {
    const bool banded = task.window != SIZE_MAX;
    pk::Launch config;
    config.name = banded ? "k_attn_band" : "k_attn_global";
    config.grid = dim3(task.tiles_max, task.heads);
    config.block = dim3(THREADS);
    config.smem_bytes = banded ? BAND_SMEM : GLOBAL_SMEM;
    config.cluster = 1;
    config.dependent = task.dependent;
    config.stream = task.stream;
    auto *out = static_cast<uint16_t *>(task.out);
    auto *qkv = static_cast<const uint16_t *>(task.qkv);
    if (banded) {
        return pk::launch(k_attn_band<BF16>, config, out, qkv, task.tiles, task.n_tiles,
                          int(task.heads), int(task.window));
    }
    return pk::launch(k_attn_global<BF16>, config, out, qkv, task.tiles, task.n_tiles,
                      int(task.heads));
}

} // namespace

int pk_attn_cuda(const pk_attn_cuda_task *task) {
    if (task->tiles_max == 0) {
        return pk::LAUNCH_OK;
    }
    if (!valid(*task)) {
        return PK_ATTN_CUDA_INVALID;
    }
    return task->dtype == PK_BF16 ? launch<true>(*task) : launch<false>(*task);
}
