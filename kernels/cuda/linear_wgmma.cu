/* Dense products with TMA, mbarriers and wgmma on sm_90a. Contract and roofline:
 * kernels/cuda/linear.h.
 *
 * Grid: at most `ctas`, each takes tiles in turn, columns first. Tiles of 128 x 192, 64 x 192 and
 * 64 x 64, all with the same chain: k ascending in steps of 16, one accumulator. One warpgroup for
 * each 64 rows of the tile multiplies, one more warp loads: a ring of stages of 64 k, each filled
 * by two bulk loads, 128-byte swizzle. Accumulators go from registers to global memory through
 * linear_epilogue.cuh.
 *
 *   tile       threads  ring           registers at most   CTAs on an SM
 *   128 x 192  288      5 x 40 KiB     224                 1
 *   64 x 192   160      3 x 32 KiB     200                 2
 *   64 x 192   160      6 x 32 KiB     255                 1
 *   64 x 64    160      4 x 16 KiB     128                 3
 *   64 x 64    160      12 x 16 KiB    255                 1
 *
 * The deep rings are for few rows, where no SM has a second tile: they hold half (k 768) or all of
 * what a tile reads, so that latency is paid once, and keep a second CTA from joining the first
 * while other SMs idle.
 *
 * The epilogue beside the products: the second warpgroup of 128 x 192 starts HEAD_START stages
 * after the first, and stays about that far behind, so that one multiplies while the other stores.
 *
 * Multicast: a cluster of two CTAs takes two tiles of the same columns; each loads half of the
 * weight tile into both. L2 is asked for 224 rows of 64 k where it was 320 (128 x 192), 160 where
 * it was 256 (64 x 192).
 *
 * Dependent launch: the first weights travel before the grid before is complete. So `rows` and
 * weights must have been written before that grid began.
 * Not yet measured on a GPU. */
#include "kernels/cuda/linear_wgmma.cuh"

#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "kernels/cuda/prim/tma.cuh"
#include "kernels/cuda/prim/wgmma.cuh"

namespace {

/* ---- tiles ---- */

constexpr int TILE_K = 64, ROW_BYTES = TILE_K * 2; /* one row of a stage: the 128-byte swizzle */
constexpr int GROUP_M = 64, GROUP_THREADS = 128;   /* of a warpgroup */

template <int GROUPS_, int TILE_N_, int STAGES_, int PER_SM_, int CLUSTER_> struct Tile {
    static constexpr int GROUPS = GROUPS_, M = GROUPS * GROUP_M, N = TILE_N_;
    static constexpr int STAGES = STAGES_, PER_SM = PER_SM_, CLUSTER = CLUSTER_;
    static constexpr int THREADS = GROUPS * GROUP_THREADS + 32;
    static constexpr int ACCUMULATORS = N / 2; /* of a thread */
    static constexpr int HEAD_START = STAGES - 1;
    static constexpr uint32_t ACT_BYTES = M * ROW_BYTES, STAGE_BYTES = ACT_BYTES + N * ROW_BYTES;
    static constexpr uint32_t WEIGHT_ROWS = N / CLUSTER; /* that one CTA loads */
    static constexpr size_t SMEM_BYTES = size_t(STAGES) * STAGE_BYTES;

    /* Shared memory of an SM of compute capability 9.0: 227 KiB, less 1 KiB for each CTA. */
    static_assert(PER_SM * (SMEM_BYTES + 1024) <= 228 * 1024, "the rings of an SM fit");
    static_assert(ACT_BYTES % 1024 == 0 && STAGE_BYTES % 1024 == 0, "tiles keep their pattern");
};

/* ---- device helpers ---- */

/* Stage s: act's rows, then weight's. Full when its bytes have landed, empty when every consumer
 * warp (of the cluster) has read it. */
struct Ring {
    uint32_t data, full, empty; /* shared addresses */
};

/* Stages are counted over all tiles of the CTA. */
template <class T> __device__ __forceinline__ uint32_t stage_of(int count) {
    return uint32_t(count % T::STAGES);
}
template <class T> __device__ __forceinline__ uint32_t parity_of(int count) {
    return uint32_t(count / T::STAGES & 1);
}

/* The tiles of this launch, and where this CTA's lie. A cluster's CTAs take tiles that differ in
 * their rows alone. */
struct Work {
    int rows, steps, tiles_n, count; /* count: of tiles, or of pairs of them */
    int first, stride, rank;

    template <class T> __device__ __forceinline__ static Work of(const pk::Product &p) {
        Work work;
        work.rows = int(*p.rows_now);
        work.steps = (p.k + TILE_K - 1) / TILE_K;
        work.tiles_n = (p.n + T::N - 1) / T::N;
        const int height = T::M * T::CLUSTER;
        work.count = (work.rows + height - 1) / height * work.tiles_n;
        work.rank = T::CLUSTER > 1 ? int(ptx::cluster_rank()) : 0;
        work.first = int(blockIdx.x) / T::CLUSTER;
        work.stride = int(gridDim.x) / T::CLUSTER;
        return work;
    }
    template <class T> __device__ __forceinline__ int row(int tile) const {
        return (tile / tiles_n * T::CLUSTER + rank) * T::M;
    }
    template <class T> __device__ __forceinline__ int col(int tile) const {
        return tile % tiles_n * T::N;
    }
};

/* The stage's barrier expects all its bytes: those that the peer loads for both too. */
template <class T>
__device__ __forceinline__ void load_weight(const Ring &ring, const pk::TensorMap *weight,
                                            const Work &work, int count, int k, int col) {
    const uint32_t stage = stage_of<T>(count), full = ring.full + stage * 8;
    const uint32_t at = ring.data + stage * T::STAGE_BYTES + T::ACT_BYTES;
    ptx::mbarrier_wait(ring.empty + stage * 8, parity_of<T>(count) ^ 1);
    ptx::mbarrier_arrive_expect(full, T::STAGE_BYTES);
    if (T::CLUSTER > 1) {
        const uint32_t part = uint32_t(work.rank) * T::WEIGHT_ROWS;
        ptx::tensor_load_multicast(at + part * ROW_BYTES, weight, k * TILE_K, col + int(part), full,
                                   3);
    } else {
        ptx::tensor_load(at, weight, k * TILE_K, col, full);
    }
}

template <class T>
__device__ __forceinline__ void load_act(const Ring &ring, const pk::TensorMap *act, int count,
                                         int k, int row) {
    const uint32_t stage = stage_of<T>(count);
    ptx::tensor_load(ring.data + stage * T::STAGE_BYTES, act, k * TILE_K, row,
                     ring.full + stage * 8);
}

/* One thread: everything that the CTA multiplies, in order. */
template <class T>
__device__ void produce(const Ring &ring, const Work &work, const pk::TensorMap *act,
                        const pk::TensorMap *weight) {
    const int early = work.first < work.count ? min(work.steps, T::STAGES) : 0;
    for (int k = 0; k < early; k++) { /* weights are not the grid before's */
        load_weight<T>(ring, weight, work, k, k, work.col<T>(work.first));
    }
    ptx::grid_wait();
    int count = 0;
    for (int tile = work.first; tile < work.count; tile += work.stride) {
        for (int k = 0; k < work.steps; k++, count++) {
            if (count >= early) {
                load_weight<T>(ring, weight, work, count, k, work.col<T>(tile));
            }
            load_act<T>(ring, act, count, k, work.row<T>(tile));
        }
    }
    ptx::grid_launch_dependents(); /* all loads are under way */
}

__device__ __forceinline__ uint64_t operand(uint32_t address) {
    return ptx::matrix_descriptor(address, 16, 8 * ROW_BYTES, ptx::SWIZZLE_128);
}

template <bool BF16>
__device__ __forceinline__ void multiply(float (&d)[96], uint64_t a, uint64_t b, int accumulate) {
    if (BF16) {
        ptx::wgmma_m64n192k16_bf16_ss<0, 0>(d, a, b, accumulate);
    } else {
        ptx::wgmma_m64n192k16_f16_ss<0, 0>(d, a, b, accumulate);
    }
}

template <bool BF16>
__device__ __forceinline__ void multiply(float (&d)[32], uint64_t a, uint64_t b, int accumulate) {
    if (BF16) {
        ptx::wgmma_m64n64k16_bf16_ss<0, 0>(d, a, b, accumulate);
    } else {
        ptx::wgmma_m64n64k16_f16_ss<0, 0>(d, a, b, accumulate);
    }
}

/* The warp's reads of the stage are over, in its own ring and in the peer's, which shares it. */
template <class T> __device__ __forceinline__ void release(const Ring &ring, int count) {
    const uint32_t empty = ring.empty + stage_of<T>(count) * 8;
    if (T::CLUSTER == 1 && threadIdx.x % 32 == 0) {
        ptx::mbarrier_arrive(empty);
    } else if (T::CLUSTER > 1 && threadIdx.x % 32 < T::CLUSTER) {
        ptx::mbarrier_arrive_cluster(ptx::cluster_map(empty, threadIdx.x % 32));
    }
}

/* d = the warpgroup's 64 rows of a tile. `lead`: lets the second warpgroup go after HEAD_START. */
template <class T, bool BF16>
__device__ __forceinline__ void accumulate(float (&d)[T::ACCUMULATORS], const Ring &ring, int group,
                                           int steps, int *count, bool lead) {
    ptx::wgmma_pin(d);
    for (int k = 0; k < steps; k++, (*count)++) {
        const uint32_t stage = stage_of<T>(*count), at = ring.data + stage * T::STAGE_BYTES;
        ptx::mbarrier_wait(ring.full + stage * 8, parity_of<T>(*count));
        const uint32_t act = at + uint32_t(group) * GROUP_M * ROW_BYTES, weight = at + T::ACT_BYTES;
        ptx::wgmma_fence();
#pragma unroll
        for (uint32_t step = 0; step < TILE_K / 16; step++) {
            multiply<BF16>(d, operand(act + step * 32), operand(weight + step * 32),
                           k > 0 || step > 0);
        }
        ptx::wgmma_commit();
        if (k > 0) {
            ptx::wgmma_wait<1>(); /* the step before has read its stage */
            release<T>(ring, *count - 1);
        }
        if (lead && k == min(T::HEAD_START, steps) - 1) {
            ptx::barrier_arrive(1, 2 * GROUP_THREADS);
        }
    }
    ptx::wgmma_wait<0>();
    ptx::wgmma_pin(d);
    release<T>(ring, *count - 1);
}

template <class T, pk::Form FORM, bool BF16>
__device__ __forceinline__ void consume(const Ring &ring, const Work &work, const pk::Product &p) {
    const int group = int(threadIdx.x) / GROUP_THREADS, warp = int(threadIdx.x) / 32 % 4;
    int count = 0;
    bool first = T::GROUPS > 1;
    ptx::grid_wait(); /* it may still read what is stored here */
    for (int tile = work.first; tile < work.count; tile += work.stride) {
        if (first && group > 0) {
            ptx::barrier_sync(1, 2 * GROUP_THREADS);
        }
        float d[T::ACCUMULATORS];
        accumulate<T, BF16>(d, ring, group, work.steps, &count, first && group == 0);
        first = false;
        uint32_t over = 0;
        pk::store_strip<FORM, BF16, T::N / 8>(p, d, work.rows,
                                              work.row<T>(tile) + group * GROUP_M + warp * 16,
                                              work.col<T>(tile), over);
        if (FORM != pk::FORM_PLAIN && !BF16) {
            pk::add_saturated(p.saturated, over);
        }
    }
}

/* ---- kernel ---- */

template <class T, pk::Form FORM, bool BF16>
__global__ void __launch_bounds__(T::THREADS, T::PER_SM)
    k_linear_wgmma(const pk::Product p, const __grid_constant__ pk::TensorMap act,
                   const __grid_constant__ pk::TensorMap weight) {
    PK_SMEM_DYNAMIC(smem, 1024);
    PK_SMEM_STATIC(uint64_t, barriers, [2 * T::STAGES]);

    /* 1. Barriers, seen by every thread of the CTA or cluster, and by the bulk loads. What the
     * first loads need is asked for before. */
    const Work work = Work::of<T>(p);
    Ring ring;
    ring.data = ptx::smem_address(smem);
    ring.full = ptx::smem_address(barriers);
    ring.empty = ring.full + T::STAGES * 8;
    if (threadIdx.x == 0) {
        ptx::tensor_map_prefetch(&weight);
        ptx::tensor_map_prefetch(&act);
        for (uint32_t s = 0; s < T::STAGES; s++) {
            ptx::mbarrier_init(ring.full + s * 8, 1);
            ptx::mbarrier_init(ring.empty + s * 8, uint32_t(T::GROUPS * 4 * T::CLUSTER));
        }
        ptx::mbarrier_init_fence();
    }
    if (T::CLUSTER > 1) {
        ptx::cluster_arrive();
        ptx::cluster_wait();
    } else {
        __syncthreads();
    }

    /* 2. One warp loads, the others multiply and store. */
    if (threadIdx.x >= T::GROUPS * GROUP_THREADS) {
        if (ptx::elect_one()) {
            produce<T>(ring, work, &act, &weight);
        }
        __syncwarp(); /* the loading lane before the cluster's barrier, which the warp meets whole
                       */
    } else {
        consume<T, FORM, BF16>(ring, work, p);
    }

    /* 3. No CTA leaves while its peer may still load into it or arrive at its barriers. */
    if (T::CLUSTER > 1) {
        ptx::cluster_arrive();
        ptx::cluster_wait();
    }
}

/* ---- launch ---- */

template <class T> pk::Launch shape_of(uint32_t clusters) {
    pk::Launch config = {};
    config.name = "k_linear_wgmma";
    config.grid = dim3(clusters * T::CLUSTER);
    config.block = dim3(T::THREADS);
    config.smem_bytes = T::SMEM_BYTES;
    config.cluster = T::CLUSTER;
    return config;
}

template <class T, pk::Form FORM, bool BF16>
int launch(const pk_linear_cuda_task &task, const pk::Product &p) {
    const pk::Matrix16 act = {const_cast<void *>(task.act), BF16, task.rows_max, task.k,
                              uint64_t(task.k) * 2};
    const pk::Matrix16 weight = {const_cast<void *>(task.weight), BF16, task.n, task.k,
                                 uint64_t(task.k) * 2};
    pk::TensorMap act_map, weight_map;
    int refused = pk::tensor_map(&act_map, act, {T::M, TILE_K, ROW_BYTES});
    if (refused == 0) {
        refused = pk::tensor_map(&weight_map, weight, {T::WEIGHT_ROWS, TILE_K, ROW_BYTES});
    }
    if (refused != 0) {
        return PK_LINEAR_CUDA_INVALID;
    }
    const uint32_t height = T::M * T::CLUSTER;
    const uint32_t tiles = (task.rows_max + height - 1) / height * ((task.n + T::N - 1) / T::N);
    const uint32_t clusters = task.ctas / T::CLUSTER;
    pk::Launch config = shape_of<T>(tiles < clusters ? tiles : clusters);
    config.dependent = task.dependent;
    config.stream = task.stream;
    return pk::launch(k_linear_wgmma<T, FORM, BF16>, config, p, act_map, weight_map);
}

template <class T>
int launch_tile(const pk_linear_cuda_task &task, const pk::Product &p, pk::Form f) {
    const bool bf16 = task.dtype == PK_BF16;
    switch (f) {
    case pk::FORM_GEGLU:
        return bf16 ? launch<T, pk::FORM_GEGLU, true>(task, p)
                    : launch<T, pk::FORM_GEGLU, false>(task, p);
    case pk::FORM_QKV:
        return bf16 ? launch<T, pk::FORM_QKV, true>(task, p)
                    : launch<T, pk::FORM_QKV, false>(task, p);
    case pk::FORM_PLAIN:
        break;
    }
    return bf16 ? launch<T, pk::FORM_PLAIN, true>(task, p)
                : launch<T, pk::FORM_PLAIN, false>(task, p);
}

/* ---- every kernel, in the order of pk_linear_cuda_choices ---- */

using Wide = Tile<2, 192, 5, 1, 1>;
using WidePair = Tile<2, 192, 5, 1, 2>;
using Low = Tile<1, 192, 3, 2, 1>;
using LowDeep = Tile<1, 192, 6, 1, 1>;
using LowPair = Tile<1, 192, 6, 1, 2>;
using Small = Tile<1, 64, 4, 3, 1>;
using SmallDeep = Tile<1, 64, 12, 1, 1>;

typedef int Launcher(const pk_linear_cuda_task &task, const pk::Product &p, pk::Form f);

Launcher *const launches[PK_LINEAR_CUDA_CHOICES] = {
    launch_tile<Wide>,    launch_tile<WidePair>, launch_tile<Low>,       launch_tile<LowDeep>,
    launch_tile<LowPair>, launch_tile<Small>,    launch_tile<SmallDeep>,
};

template <class T> constexpr pk_linear_cuda_choice choice_of(pk_linear_cuda_tile tile) {
    return {tile, uint32_t(T::STAGES), T::CLUSTER > 1, uint32_t(T::PER_SM)};
}

/* *pairs becomes smaller where fewer of T are resident. */
template <class T, pk::Form FORM, bool BF16> int resident(int *pairs) {
    int count = 0;
    int code = pk::resident_clusters(k_linear_wgmma<T, FORM, BF16>, shape_of<T>(1), &count);
    *pairs = min(*pairs, count);
    return code;
}

template <class T, bool BF16> int resident_forms(int *pairs) {
    int code = resident<T, pk::FORM_PLAIN, BF16>(pairs);
    code = code == pk::LAUNCH_OK ? resident<T, pk::FORM_GEGLU, BF16>(pairs) : code;
    return code == pk::LAUNCH_OK ? resident<T, pk::FORM_QKV, BF16>(pairs) : code;
}

template <bool BF16> int resident_pairs(int *pairs) {
    *pairs = INT32_MAX;
    int code = resident_forms<WidePair, BF16>(pairs);
    return code == pk::LAUNCH_OK ? resident_forms<LowPair, BF16>(pairs) : code;
}

} // namespace

const pk_linear_cuda_choice pk_linear_cuda_choices[PK_LINEAR_CUDA_CHOICES] = {
    choice_of<Wide>(PK_LINEAR_128_192),    choice_of<WidePair>(PK_LINEAR_128_192),
    choice_of<Low>(PK_LINEAR_64_192),      choice_of<LowDeep>(PK_LINEAR_64_192),
    choice_of<LowPair>(PK_LINEAR_64_192),  choice_of<Small>(PK_LINEAR_64_64),
    choice_of<SmallDeep>(PK_LINEAR_64_64),
};

int pk_linear_cuda_pairs(pk_dtype dtype, int *pairs) {
    return dtype == PK_BF16 ? resident_pairs<true>(pairs) : resident_pairs<false>(pairs);
}

int pk::launch_wgmma(const pk_linear_cuda_task &task, const Product &product, Form form) {
    for (int i = 0; i < PK_LINEAR_CUDA_CHOICES; i++) {
        const pk_linear_cuda_choice &choice = pk_linear_cuda_choices[i];
        if (choice.tile == task.tile && choice.multicast == task.multicast &&
            (task.stages == 0 || choice.stages == task.stages)) {
            return launches[i](task, product, form);
        }
    }
    return PK_LINEAR_CUDA_INVALID;
}
