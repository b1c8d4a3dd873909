/* What both forms of attention share: how 64 16-bit numbers lie in a row of shared memory, work
 * items, softmax pieces, the way out. */
#ifndef PK_CUDA_ATTN_TILE_CUH
#define PK_CUDA_ATTN_TILE_CUH

#include "kernels/cuda/attn.h"

#include "kernels/cuda/prim/gpu.cuh"
#include "kernels/cuda/prim/mma.cuh"

#include <math.h>

namespace attn {

constexpr int DIM = PK_ATTN_CUDA_HEAD_DIM;
constexpr int ROW_BYTES = DIM * 2, CHUNKS = ROW_BYTES / 16;
constexpr int WARP_ROWS = 16;         /* queries of one warp */
constexpr float LOG2_E = 1.44269504f; /* softmax is taken in powers of two */

/* Queries [first, len) of one head of one sequence, as many as the CTA takes. */
struct Work {
    uint32_t begin, head; /* first row of the sequence */
    int len, first;
};

/* Item `item` of a list whose tiles fall into PARTS parts for each head; parts of a tile, then
 * heads, lie together, so that their keys do in L2. */
template <int PARTS>
static __device__ __forceinline__ Work work_of(const pk_attn_cuda_tile *tiles, uint32_t heads,
                                               uint32_t item) {
    const uint32_t part = item % PARTS, pair = item / PARTS;
    const int4 tile = reinterpret_cast<const int4 *>(tiles)[pair / heads];
    Work work;
    work.begin = uint32_t(tile.x);
    work.head = pair % heads;
    work.len = tile.y;
    work.first = tile.z + int(part) * (PK_ATTN_CUDA_QUERIES / PARTS);
    return work;
}

/* CTAs of a launch: no more than can have an item. */
inline uint32_t grid_of(const pk_attn_cuda_task &task, uint32_t parts) {
    const uint32_t items = task.tiles_max * task.heads * parts;
    return task.ctas != 0 && task.ctas < items ? task.ctas : items;
}

/* Shared address of 16-byte chunk `chunk` of row `row`: chunks are XORed with the row, so that the
 * eight rows of an ldmatrix lie in eight groups of banks. The 128-byte swizzle of TMA and wgmma,
 * where base is a multiple of 1,024. */
static __device__ __forceinline__ uint32_t chunk_at(uint32_t base, int row, int chunk) {
    return base + uint32_t(row * ROW_BYTES + ((chunk ^ (row & 7)) << 4));
}

template <bool BF16> static __device__ __forceinline__ uint32_t pack(float lo, float hi) {
    return BF16 ? ptx::pack_bf16(lo, hi) : ptx::pack_f16(lo, hi);
}

static __device__ __forceinline__ int lane_of() {
    return int(threadIdx.x) % 32;
}

/* A row of scores lies in the four lanes of a quad. */
static __device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
static __device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* The exponent's offset: 0 for a row that sees no key, which is a row past the end. */
static __device__ __forceinline__ float offset_of(float maximum) {
    return maximum == -INFINITY ? 0.0f : maximum * LOG2_E;
}

/* One step of the online softmax over the COUNT scores of a thread, laid out as accumulators of
 * mma: element i belongs to row i / 2 % 2. Scores become weights, maximum and sum move on, shrink
 * is what everything summed before is to be multiplied with. */
template <int COUNT>
static __device__ __forceinline__ void softmax_step(float (&s)[COUNT], float (&maximum)[2],
                                                    float (&sum)[2], float (&shrink)[2]) {
    float offset[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float top = maximum[half];
#pragma unroll
        for (int i = 2 * half; i < COUNT; i += 4) {
            top = fmaxf(top, fmaxf(s[i], s[i + 1]));
        }
        top = quad_max(top);
        offset[half] = offset_of(top);
        shrink[half] = ptx::exp2_approx(maximum[half] * LOG2_E - offset[half]);
        maximum[half] = top;
        sum[half] *= shrink[half];
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        s[i] = ptx::exp2_approx(s[i] * LOG2_E - offset[i / 2 % 2]);
        sum[i / 2 % 2] += s[i];
    }
}

/* Rows [row, row + 16) of the work's queries: out = o / sum, through 16 rows of shared memory,
 * `staged`, that the warp alone uses; a barrier of the CTA lies between what it read there before
 * and this. o: 16 x 64 accumulators of mma. */
template <bool BF16>
static __device__ __forceinline__ void write_rows(uint16_t *out, const Work &work, uint32_t heads,
                                                  int row, uint8_t *staged, const float (&o)[32],
                                                  const float (&sum)[2]) {
    const int lane = lane_of();
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float scale = 1.0f / quad_sum(sum[half]);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            const uint32_t at = chunk_at(0, half * 8 + lane / 4, n) + uint32_t(lane % 4 * 4);
            *reinterpret_cast<uint32_t *>(staged + at) =
                pack<BF16>(o[n * 4 + 2 * half] * scale, o[n * 4 + 2 * half + 1] * scale);
        }
    }
    __syncwarp(); /* the stores above before the loads below, of other lanes */
    uint16_t *first = out + size_t(work.begin) * (heads * DIM) + work.head * DIM;
#pragma unroll
    for (int i = 0; i < WARP_ROWS * CHUNKS / 32; i++) {
        const int index = lane + i * 32, query = work.first + row + index / CHUNKS;
        if (query < work.len) { /* rows past the end belong to others */
            *reinterpret_cast<uint4 *>(first + size_t(query) * (heads * DIM) + index % CHUNKS * 8) =
                *reinterpret_cast<const uint4 *>(staged +
                                                 chunk_at(0, index / CHUNKS, index % CHUNKS));
        }
    }
}

/* Of kernels/cuda/attn_wgmma.cu; the task is valid. */
int launch_wgmma(const pk_attn_cuda_task &task);

} // namespace attn

#endif
