/* Global attention, head dim 64, TMA and wgmma, sm_90a. Contract and roofline: kernels/cuda/attn.h.
 *
 * Grid of `ctas`, 384 threads: one warp of the first warpgroup copies, two warpgroups compute 64
 * queries each against the same keys, 128 at a time. A work item is a tile of the list and a head.
 * Shared memory 177 KiB: q twice, a ring of eight slots that hold k, v, k, v, ... of 128 rows, and
 * a place for each warpgroup's output, so that the next item's copies need not wait for it.
 *
 * While a warpgroup computes the softmax of keys j, its tensor core work is o += p v of keys j - 1;
 * scores of keys j were issued before it. The two warpgroups take turns at issuing, so that one's
 * exponentials meet the other's products.
 *
 * Products of a key tile in SASS: 4 m64n128k16 and 8 m64n64k16; the loop is peeled once at each
 * end, so 4 and 8 more. Bytes from L2: 256 a query and head for q and out, and for each key 256
 * that 128 queries share: 4 * 64 * 128 FLOPs, 128 a byte, so that 495 TFLOP/s ask 3.9 TB/s of the
 * 5.5 to 6.6 that L2 gives. Not yet measured on a GPU. */
#include "kernels/cuda/attn_tile.cuh"
#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "kernels/cuda/prim/tma.cuh"
#include "kernels/cuda/prim/wgmma.cuh"

namespace {

using namespace attn;

/* ---- tiles ---- */

constexpr int QUERIES = PK_ATTN_CUDA_QUERIES, KEYS = 128, GROUP_QUERIES = 64;
constexpr int GROUPS = QUERIES / GROUP_QUERIES, THREADS = 128 * (1 + GROUPS);
constexpr uint32_t TILE_BYTES = 128 * ROW_BYTES; /* of q, k or v */
constexpr uint32_t GROUP_BYTES = GROUP_QUERIES * ROW_BYTES;
constexpr uint32_t SLOTS = 8, QUERY_SLOTS = 2;
constexpr uint32_t PATTERN_BYTES = 1024; /* of the 128-byte swizzle: 8 rows */
constexpr size_t SMEM_BYTES = (QUERY_SLOTS + SLOTS) * TILE_BYTES + GROUPS * GROUP_BYTES;
constexpr uint32_t WARPS = GROUPS * 4; /* that compute, and release what they have read */
constexpr int TURN = 1;                /* named barrier TURN + g: warpgroup g may issue */

static_assert(QUERIES == KEYS, "one box serves q, k and v");

/* ---- what both roles know ---- */

struct Shared {
    uint32_t q, ring; /* data */
    uint32_t q_full, q_empty, full, empty;
};

/* A ring's position counts its uses since the start: slot and parity follow from it. */
template <uint32_t COUNT> __device__ __forceinline__ uint32_t slot_of(uint32_t position) {
    return position % COUNT;
}
template <uint32_t COUNT> __device__ __forceinline__ uint32_t parity_of(uint32_t position) {
    return position / COUNT & 1;
}

__device__ __forceinline__ int tiles_of(const Work &work) {
    return (work.len + KEYS - 1) / KEYS;
}

/* ---- the copying warp ---- */

/* One lane waits for the warp: another that came late could miss the phase, since what the first
 * one copies is used and released meanwhile. */
__device__ __forceinline__ void wait_released(uint32_t barrier, uint32_t parity) {
    if (lane_of() == 0) {
        ptx::mbarrier_wait(barrier, parity ^ 1);
    }
    __syncwarp();
}

/* The next slot of the ring, once its readers have released it. */
__device__ __forceinline__ uint32_t take_slot(const Shared &shared, uint32_t position) {
    const uint32_t slot = slot_of<SLOTS>(position);
    wait_released(shared.empty + slot * 8, parity_of<SLOTS>(position));
    return slot;
}

__device__ __forceinline__ void load_tile(const Shared &shared, const pk::TensorMap *map, int col,
                                          int row, uint32_t position) {
    const uint32_t slot = take_slot(shared, position), full = shared.full + slot * 8;
    if (lane_of() == 0) {
        ptx::mbarrier_arrive_expect(full, TILE_BYTES);
        ptx::tensor_load(shared.ring + slot * TILE_BYTES, map, col, row, full);
    }
    __syncwarp();
}

/* v of the sequence's last keys, zero past its end: a weight of 0 does not stop a NaN there. */
__device__ __forceinline__ void load_last_values(const Shared &shared, const uint16_t *v,
                                                 uint32_t stride, int rows, uint32_t position) {
    const uint32_t slot = take_slot(shared, position), at = shared.ring + slot * TILE_BYTES;
    const int lane = lane_of();
#pragma unroll 4
    for (int i = 0; i < KEYS * CHUNKS / 32; i++) {
        const int row = (lane + i * 32) / CHUNKS, chunk = lane % CHUNKS;
        const bool inside = row < rows;
        ptx::cp_async16(chunk_at(at, row, chunk),
                        v + (uint32_t(inside ? row : 0) * stride + uint32_t(chunk) * 8),
                        inside ? 16 : 0);
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    ptx::fence_proxy_async_shared(); /* each lane's copies, for the wgmma of others */
    __syncwarp();                    /* every lane's fence before the arrival */
    if (lane == 0) {
        ptx::mbarrier_arrive(shared.full + slot * 8);
    }
}

__device__ void copy_role(const Shared &shared, const pk::TensorMap *map, const uint16_t *qkv,
                          const pk_attn_cuda_tile *tiles, uint32_t items, uint32_t heads) {
    uint32_t position = 0, count = 0;
    const uint32_t stride = 3 * heads * DIM;
    for (uint32_t item = blockIdx.x; item < items; item += gridDim.x, count++) {
        const Work work = work_of<1>(tiles, heads, item);
        const int begin = int(work.begin), q_col = int(work.head) * DIM;
        const int k_col = q_col + int(heads) * DIM, v_col = k_col + int(heads) * DIM;
        const uint32_t slot = slot_of<QUERY_SLOTS>(count);
        wait_released(shared.q_empty + slot * 8, parity_of<QUERY_SLOTS>(count));
        if (lane_of() == 0) {
            ptx::mbarrier_arrive_expect(shared.q_full + slot * 8, TILE_BYTES);
            ptx::tensor_load(shared.q + slot * TILE_BYTES, map, q_col, begin + work.first,
                             shared.q_full + slot * 8);
        }
        __syncwarp();
        for (int first = 0; first < work.len; first += KEYS) {
            load_tile(shared, map, k_col, begin + first, position++);
            if (first + KEYS <= work.len) {
                load_tile(shared, map, v_col, begin + first, position++);
            } else {
                load_last_values(shared, qkv + size_t(begin + first) * stride + uint32_t(v_col),
                                 stride, work.len - first, position++);
            }
        }
    }
}

/* ---- the computing warpgroups ---- */

__device__ __forceinline__ uint64_t operand(uint32_t address) {
    return ptx::matrix_descriptor(address, 16, PATTERN_BYTES, ptx::SWIZZLE_128);
}

/* s = q k^T: both K-major. Issues only. */
template <bool BF16>
__device__ __forceinline__ void issue_scores(float (&s)[64], uint32_t q, uint32_t k) {
#pragma unroll
    for (uint32_t step = 0; step < DIM / 16; step++) {
        const uint64_t a = operand(q + step * 32), b = operand(k + step * 32);
        if (BF16) {
            ptx::wgmma_m64n128k16_bf16_ss<0, 0>(s, a, b, step != 0);
        } else {
            ptx::wgmma_m64n128k16_f16_ss<0, 0>(s, a, b, step != 0);
        }
    }
    ptx::wgmma_commit();
}

/* o += p v: p in registers, v with its columns along n. Issues only. */
template <bool BF16>
__device__ __forceinline__ void issue_values(float (&o)[32], const uint32_t (&p)[8][4],
                                             uint32_t v) {
#pragma unroll
    for (uint32_t step = 0; step < KEYS / 16; step++) {
        const uint64_t b = operand(v + step * 16 * ROW_BYTES);
        if (BF16) {
            ptx::wgmma_m64n64k16_bf16_rs<1>(o, p[step], b, 1);
        } else {
            ptx::wgmma_m64n64k16_f16_rs<1>(o, p[step], b, 1);
        }
    }
    ptx::wgmma_commit();
}

/* The accumulators of two score tiles are, packed, the A fragment of p. */
template <bool BF16>
__device__ __forceinline__ void pack_weights(uint32_t (&p)[8][4], const float (&s)[64]) {
#pragma unroll
    for (int i = 0; i < 32; i++) {
        p[i / 4][i % 4] = pack<BF16>(s[i * 2], s[i * 2 + 1]);
    }
}

/* Deselects keys past the end in the tile that starts at `first`. */
__device__ __forceinline__ void mask_end(float (&s)[64], int first, int len) {
    if (first + KEYS > len) {
#pragma unroll
        for (int i = 0; i < 64; i++) {
            const int key = first + i / 4 * 8 + lane_of() % 4 * 2 + i % 2;
            s[i] = key < len ? s[i] : -INFINITY;
        }
    }
}

/* One arrival of each warp. */
__device__ __forceinline__ void release(uint32_t barrier) {
    if (lane_of() == 0) {
        ptx::mbarrier_arrive(barrier);
    }
}

__device__ __forceinline__ void wait_full(const Shared &shared, uint32_t position) {
    ptx::mbarrier_wait(shared.full + slot_of<SLOTS>(position) * 8, parity_of<SLOTS>(position));
}
__device__ __forceinline__ uint32_t tile_at(const Shared &shared, uint32_t position) {
    return shared.ring + slot_of<SLOTS>(position) * TILE_BYTES;
}
__device__ __forceinline__ void release_slot(const Shared &shared, uint32_t position) {
    release(shared.empty + slot_of<SLOTS>(position) * 8);
}

/* One item. position: of its first k in the ring; v follows each k. `last`: of this CTA; the
 * second warpgroup then owes the first no further turn. */
template <bool BF16>
__device__ __forceinline__ void compute_item(const Shared &shared, const Work &work, int group,
                                             uint32_t count, uint32_t position, bool last,
                                             float (&o)[32], float (&sum)[2]) {
    const int tiles = tiles_of(work);
    const uint32_t query_slot = slot_of<QUERY_SLOTS>(count);
    const uint32_t q = shared.q + query_slot * TILE_BYTES + uint32_t(group) * GROUP_BYTES;
    float s[64], maximum[2] = {-INFINITY, -INFINITY}, shrink[2];
    uint32_t p[8][4];

    /* 1. Scores of the first keys. */
    ptx::mbarrier_wait(shared.q_full + query_slot * 8, parity_of<QUERY_SLOTS>(count));
    wait_full(shared, position);
    ptx::barrier_sync(TURN + group, 2 * 128);
    ptx::wgmma_pin(s);
    ptx::wgmma_fence();
    issue_scores<BF16>(s, q, tile_at(shared, position));
    if (!(last && group == 1 && tiles == 1)) {
        ptx::barrier_arrive(TURN + (group ^ 1), 2 * 128);
    }
    ptx::wgmma_wait<0>();
    ptx::wgmma_pin(s);
    release_slot(shared, position);
    mask_end(s, 0, work.len);
    softmax_step(s, maximum, sum, shrink);
    pack_weights<BF16>(p, s);

    for (int tile = 1; tile < tiles; tile++, position += 2) {
        /* 2. Scores of the next keys, then o += p v of those before. */
        wait_full(shared, position + 2);
        wait_full(shared, position + 1);
        ptx::barrier_sync(TURN + group, 2 * 128);
        ptx::wgmma_pin(s);
        ptx::wgmma_pin(o);
        ptx::wgmma_fence();
        issue_scores<BF16>(s, q, tile_at(shared, position + 2));
        issue_values<BF16>(o, p, tile_at(shared, position + 1));
        if (!(last && group == 1 && tile == tiles - 1)) {
            ptx::barrier_arrive(TURN + (group ^ 1), 2 * 128);
        }

        /* 3. Softmax, while the values are being summed. */
        ptx::wgmma_wait<1>();
        ptx::wgmma_pin(s);
        release_slot(shared, position + 2);
        mask_end(s, tile * KEYS, work.len);
        softmax_step(s, maximum, sum, shrink);

        /* 4. What has been summed so far moves to the new maximum. */
        ptx::wgmma_wait<0>();
        ptx::wgmma_pin(o);
        release_slot(shared, position + 1);
#pragma unroll
        for (int i = 0; i < 32; i++) {
            o[i] *= shrink[i / 2 % 2];
        }
        pack_weights<BF16>(p, s);
    }
    release(shared.q_empty + query_slot * 8);

    /* 5. o += p v of the last keys. */
    wait_full(shared, position + 1);
    ptx::wgmma_pin(o);
    ptx::wgmma_fence();
    issue_values<BF16>(o, p, tile_at(shared, position + 1));
    ptx::wgmma_wait<0>();
    ptx::wgmma_pin(o);
    release_slot(shared, position + 1);
}

template <bool BF16>
__device__ void compute_role(const Shared &shared, uint16_t *out, const pk_attn_cuda_tile *tiles,
                             uint32_t items, uint32_t heads, uint8_t *staged) {
    const int group = int(threadIdx.x) / 128 - 1,
              warp_row = int(threadIdx.x) % 128 / 32 * WARP_ROWS;
    uint8_t *rows = staged + group * int(GROUP_BYTES) + warp_row * ROW_BYTES;
    uint32_t position = 0, count = 0;
    if (group == 1 && blockIdx.x < items) { /* the first turn is the first warpgroup's */
        ptx::barrier_arrive(TURN, 2 * 128);
    }
    for (uint32_t item = blockIdx.x; item < items; item += gridDim.x, count++) {
        const Work work = work_of<1>(tiles, heads, item);
        float o[32] = {}, sum[2] = {0.0f, 0.0f};
        compute_item<BF16>(shared, work, group, count, position, item + gridDim.x >= items, o, sum);
        write_rows<BF16>(out, work, heads, group * GROUP_QUERIES + warp_row, rows, o, sum);
        position += 2 * uint32_t(tiles_of(work));
    }
}

template <bool BF16>
__global__ void __launch_bounds__(THREADS, PK_ATTN_CUDA_WGMMA_CTAS)
    k_attn_wgmma(uint16_t *__restrict__ out, const uint16_t *__restrict__ qkv,
                 const __grid_constant__ pk::TensorMap map,
                 const pk_attn_cuda_tile *__restrict__ tiles, const uint32_t *__restrict__ n_tiles,
                 uint32_t heads) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [2 * (QUERY_SLOTS + SLOTS)]);
    Shared shared;
    shared.q = ptx::smem_address(smem);
    shared.ring = shared.q + QUERY_SLOTS * TILE_BYTES;
    shared.q_full = ptx::smem_address(barriers);
    shared.q_empty = shared.q_full + QUERY_SLOTS * 8;
    shared.full = shared.q_empty + QUERY_SLOTS * 8;
    shared.empty = shared.full + SLOTS * 8;
    if (threadIdx.x == 0) {
        ptx::tensor_map_prefetch(&map);
        for (uint32_t i = 0; i < QUERY_SLOTS; i++) {
            ptx::mbarrier_init(shared.q_full + i * 8, 1);
            ptx::mbarrier_init(shared.q_empty + i * 8, WARPS);
        }
        for (uint32_t i = 0; i < SLOTS; i++) {
            ptx::mbarrier_init(shared.full + i * 8, 1);
            ptx::mbarrier_init(shared.empty + i * 8, WARPS);
        }
        ptx::mbarrier_init_fence();
    }
    __syncthreads(); /* the inits before any use */
    ptx::grid_wait();
    ptx::grid_launch_dependents(); /* placed where there is room: when this CTA leaves */
    const uint32_t items = *n_tiles * heads;
    if (threadIdx.x < 128) {
        ptx::registers_lower<40>();
        if (threadIdx.x < 32) {
            copy_role(shared, &map, qkv, tiles, items, heads);
        }
    } else {
        ptx::registers_raise<232>();
        compute_role<BF16>(shared, out, tiles, items, heads,
                           smem + (QUERY_SLOTS + SLOTS) * TILE_BYTES);
    }
}

template <bool BF16> int launch(const pk_attn_cuda_task &task) {
    const uint64_t cols = uint64_t(task.heads) * 3 * DIM;
    pk::TensorMap map;
    int refused =
        pk::tensor_map(&map, {const_cast<void *>(task.qkv), BF16, task.rows_max, cols, cols * 2},
                       {QUERIES, DIM, ROW_BYTES});
    if (refused != 0) {
        return PK_ATTN_CUDA_INVALID;
    }
    pk::Launch config;
    config.name = "k_attn_wgmma";
    config.grid = dim3(grid_of(task, 1));
    config.block = dim3(THREADS);
    config.smem_bytes = SMEM_BYTES;
    config.cluster = 1;
    config.dependent = task.dependent;
    config.stream = task.stream;
    return pk::launch(k_attn_wgmma<BF16>, config, static_cast<uint16_t *>(task.out),
                      static_cast<const uint16_t *>(task.qkv), map, task.tiles, task.n_tiles,
                      task.heads);
}

} // namespace

int attn::launch_wgmma(const pk_attn_cuda_task &task) {
    return task.dtype == PK_BF16 ? launch<true>(task) : launch<false>(task);
}
