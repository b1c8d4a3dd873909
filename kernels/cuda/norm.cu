/* Embedding + LayerNorm and residual + LayerNorm. Contract and roofline: kernels/cuda/norm.h.
 *
 * 256 threads, a warp per row, rows taken in turn; all of a row is asked for before any of it is
 * used, so a row costs one trip to memory; it stays in registers, so each element is read once and
 * written once. No shared memory. Registers: at most 80, three CTAs on a multiprocessor (above dim
 * 768 two), of which each has 48 KiB under way (dim 768) where 26 are enough for 4.3 TB/s at 0.8
 * us. Not yet measured on a GPU. */
#include "kernels/cuda/norm.h"

#include "kernels/cuda/linear_round.cuh"
#include "kernels/cuda/prim/cluster.cuh"

namespace {

/* ---- shape ---- */

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int LANE_ELEMENTS = 4, WARP_ELEMENTS = 32 * LANE_ELEMENTS; /* of one chunk */

static_assert(PK_NORM_CUDA_DIM_MAX == 8 * WARP_ELEMENTS, "the widest row has eight chunks");

struct Arguments {
    float *x;
    uint2 *out; /* four 16-bit elements each */
    float4 *out_f32;
    const uint32_t *ids;
    const void *table;
    const float *delta;
    const float4 *weight;
    const uint32_t *rows;
    uint32_t *saturated;
    int dim;
    float eps;
    pk_dtype table_dtype;
};

/* ---- device helpers ---- */

/* The same bits in every lane: a + b is b + a. */
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, distance);
    }
    return x;
}

__device__ __forceinline__ float sum_of(float4 v) {
    return (v.x + v.y) + (v.z + v.w);
}

__device__ __forceinline__ float4 load_table(const Arguments &a, size_t at) {
    if (a.table_dtype == PK_F32) {
        return static_cast<const float4 *>(a.table)[at];
    }
    const uint2 bits = static_cast<const uint2 *>(a.table)[at];
    const bool bf16 = a.table_dtype == PK_BF16;
    const float2 lo = bf16 ? pk::pair_of_bf16(bits.x) : pk::pair_of_f16(bits.x);
    const float2 hi = bf16 ? pk::pair_of_bf16(bits.y) : pk::pair_of_f16(bits.y);
    return make_float4(lo.x, lo.y, hi.x, hi.y);
}

/* ---- kernel ---- */

template <bool EMBED, bool BF16, int CHUNKS>
__global__ void __launch_bounds__(THREADS, CHUNKS > 6 ? 2 : PK_NORM_CUDA_CTAS)
    k_norm(const Arguments a) {
    /* 1. Everything may come from the grid before. The next one may be placed where there is room.
     */
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    const int rows = int(*a.rows), lane = int(threadIdx.x) % 32;
    const int vectors = a.dim / LANE_ELEMENTS; /* of a row */
    const float4 *delta = reinterpret_cast<const float4 *>(a.delta);
    uint32_t over = 0;
    for (int row = int(blockIdx.x) * WARPS + int(threadIdx.x) / 32; row < rows;
         row += int(gridDim.x) * WARPS) {
        const size_t first = size_t(row) * size_t(vectors);
        float4 *x = reinterpret_cast<float4 *>(a.x) + first;

        /* 2. The row; what lies past its end counts as 0 in the sum. */
        float4 v[CHUNKS], d[CHUNKS]; /* d: what is added, then the weight */
        float sum = 0.0f;
        const size_t id = EMBED ? a.ids[row] : 0;
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            const int at = lane + i * 32;
            v[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (at < vectors) {
                v[i] = EMBED ? load_table(a, id * size_t(vectors) + size_t(at)) : x[at];
                d[i] = EMBED ? v[i] : delta[first + size_t(at)];
            }
        }
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            const int at = lane + i * 32;
            if (at < vectors) {
                if (!EMBED) {
                    v[i] = make_float4(v[i].x + d[i].x, v[i].y + d[i].y, v[i].z + d[i].z,
                                       v[i].w + d[i].w);
                    x[at] = v[i];
                }
                sum += sum_of(v[i]);
                d[i] = a.weight[at]; /* for step 4, there when the sums are */
            }
        }

        /* 3. Mean, then the squares' mean around it. */
        const float mean = warp_sum(sum) / float(a.dim);
        float squares = 0.0f;
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            if (lane + i * 32 < vectors) {
                v[i] = make_float4(v[i].x - mean, v[i].y - mean, v[i].z - mean, v[i].w - mean);
                squares += sum_of(make_float4(v[i].x * v[i].x, v[i].y * v[i].y, v[i].z * v[i].z,
                                              v[i].w * v[i].w));
            }
        }
        const float scale = 1.0f / sqrtf(warp_sum(squares) / float(a.dim) + a.eps);

        /* 4. Out, in the forms asked for. */
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            const int at = lane + i * 32;
            if (at < vectors) {
                const float4 w = d[i];
                const float4 y = make_float4(v[i].x * scale * w.x, v[i].y * scale * w.y,
                                             v[i].z * scale * w.z, v[i].w * scale * w.w);
                if (EMBED) {
                    x[at] = y;
                }
                if (a.out != nullptr) {
                    a.out[first + size_t(at)] = make_uint2(pk::round_pair<BF16>(y.x, y.y, over),
                                                           pk::round_pair<BF16>(y.z, y.w, over));
                }
                if (a.out_f32 != nullptr) {
                    a.out_f32[first + size_t(at)] = y;
                }
            }
        }
    }
    pk::add_saturated(a.saturated, over);
}

/* ---- launch ---- */

bool aligned(const void *pointer) { /* NULL too */
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

bool valid(const pk_norm_cuda_task &task, bool embed) {
    const bool pointers = aligned(task.x) && aligned(task.out) && aligned(task.out_f32) &&
                          aligned(task.table) && aligned(task.delta) && aligned(task.weight);
    const bool source =
        embed ? task.ids != nullptr && task.table != nullptr : task.delta != nullptr;
    return pointers && source && task.x != nullptr && task.weight != nullptr &&
           task.rows != nullptr && task.dim >= 4 && task.dim % 4 == 0 &&
           task.dim <= PK_NORM_CUDA_DIM_MAX && task.rows_max <= INT32_MAX / 2 && task.ctas > 0 &&
           task.ctas <= INT32_MAX / (2 * WARPS) && (task.dtype == PK_F16 || task.dtype == PK_BF16);
}

template <bool EMBED, bool BF16> int launch(const pk_norm_cuda_task &task) {
    const uint32_t blocks = (task.rows_max + WARPS - 1) / WARPS;
    pk::Launch config;
    config.name = EMBED ? "k_norm, embedding" : "k_norm, residual";
    config.grid = dim3(blocks < task.ctas ? blocks : task.ctas);
    config.block = dim3(THREADS);
    config.smem_bytes = 0;
    config.cluster = 1;
    config.dependent = task.dependent;
    config.stream = task.stream;
    const Arguments a = {task.x,
                         static_cast<uint2 *>(task.out),
                         reinterpret_cast<float4 *>(task.out_f32),
                         task.ids,
                         task.table,
                         task.delta,
                         reinterpret_cast<const float4 *>(task.weight),
                         task.rows,
                         task.saturated,
                         int(task.dim),
                         task.eps,
                         task.table_dtype};
    if (task.dim <= 2 * WARP_ELEMENTS) {
        return pk::launch(k_norm<EMBED, BF16, 2>, config, a);
    }
    if (task.dim <= 6 * WARP_ELEMENTS) {
        return pk::launch(k_norm<EMBED, BF16, 6>, config, a);
    }
    return pk::launch(k_norm<EMBED, BF16, 8>, config, a);
}

template <bool EMBED> int run(const pk_norm_cuda_task &task) {
    if (task.rows_max == 0) {
        return pk::LAUNCH_OK;
    }
    if (!valid(task, EMBED)) {
        return PK_NORM_CUDA_INVALID;
    }
    return task.dtype == PK_BF16 ? launch<EMBED, true>(task) : launch<EMBED, false>(task);
}

} // namespace

int pk_embed_norm_cuda(const pk_norm_cuda_task *task) {
    return run<true>(*task);
}

int pk_add_norm_cuda(const pk_norm_cuda_task *task) {
    return run<false>(*task);
}
