/* The heads' tail and a rounding of f32 rows. Contract and roofline: kernels/cuda/heads.h.
 *
 * k_heads: 256 threads, tiles of 14 rows in turn. A tile needs what its rows and one on each side
 * give to the second convolution: 16 rows, two for each warp. 256 bytes of shared memory.
 * k_round: 256 threads, eight elements each. Not yet measured on a GPU. */
#include "kernels/cuda/heads.h"

#include "kernels/cuda/linear_round.cuh"
#include "kernels/cuda/prim/cluster.cuh"

namespace {

/* ---- tiles ---- */

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int SPANS = 16, ROWS = SPANS - 2; /* rows of g, and rows of the tile */

static_assert(PK_SPAN_TAPS == 5, "two rows of the hidden state on each side");

struct Heads {
    float *z_tok, *z_span, *score;
    const float *hidden, *conv;
    const uint32_t *positions;
    const float *token_weight, *token_bias, *conv0_bias, *conv2_weight, *conv2_bias;
    const uint32_t *rows;
    int dim, channels;
    pk_gate gate;
    float gamma;
};

/* ---- device helpers ---- */

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, distance);
    }
    return x;
}

/* Whether row + distance belongs to row's sequence: positions rise by one within it and start at
 * 0 again, so behind an end they are smaller than they would be. */
__device__ __forceinline__ bool same_sequence(const Heads &h, int rows, int row, int distance) {
    const int position = int(h.positions[row]);
    if (distance <= 0) {
        return position + distance >= 0;
    }
    return row + distance < rows && int(h.positions[row + distance]) == position + distance;
}

/* What row `row` gives to z_span of the row after it, of itself and of the row before it. */
__device__ __forceinline__ void span_terms(float (&terms)[3], const Heads &h, int rows, int row) {
    bool inside[PK_SPAN_TAPS];
#pragma unroll
    for (int tap = 0; tap < PK_SPAN_TAPS; tap++) {
        inside[tap] = same_sequence(h, rows, row, tap - 2);
    }
    float sum[3] = {0.0f, 0.0f, 0.0f};
    for (int c = int(threadIdx.x) % 32; c < h.channels; c += 32) {
        float g = h.conv0_bias[c];
#pragma unroll
        for (int tap = 0; tap < PK_SPAN_TAPS; tap++) {
            if (inside[tap]) {
                g += h.conv[size_t(row + tap - 2) * size_t(PK_SPAN_TAPS * h.channels) +
                            size_t(tap * h.channels + c)];
            }
        }
        g = 0.5f * g * (1.0f + erff(g * 0.70710678f));
#pragma unroll
        for (int tap = 0; tap < 3; tap++) {
            sum[tap] += h.conv2_weight[c * 3 + tap] * g;
        }
    }
#pragma unroll
    for (int tap = 0; tap < 3; tap++) {
        terms[tap] = warp_sum(sum[tap]);
    }
}

__device__ __forceinline__ float token_logit(const Heads &h, int row) {
    const float *x = h.hidden + size_t(row) * size_t(h.dim);
    const float *drop = h.token_weight, *keep = h.token_weight + h.dim;
    float sum_drop = 0.0f, sum_keep = 0.0f;
    for (int d = int(threadIdx.x) % 32 * 4; d < h.dim; d += 128) {
        const float4 v = *reinterpret_cast<const float4 *>(x + d);
        const float4 a = *reinterpret_cast<const float4 *>(drop + d);
        const float4 b = *reinterpret_cast<const float4 *>(keep + d);
        sum_drop += (v.x * a.x + v.y * a.y) + (v.z * a.z + v.w * a.w);
        sum_keep += (v.x * b.x + v.y * b.y) + (v.z * b.z + v.w * b.w);
    }
    return (warp_sum(sum_keep) + h.token_bias[1]) - (warp_sum(sum_drop) + h.token_bias[0]);
}

/* ---- kernels ---- */

__global__ void __launch_bounds__(THREADS) k_heads(const Heads h) {
    PK_SMEM_STATIC(float, terms, [SPANS][3]);
    PK_SMEM_STATIC(float, logits, [SPANS]);
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    const int rows = int(*h.rows), warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
    for (int first = int(blockIdx.x) * ROWS; first < rows; first += int(gridDim.x) * ROWS) {
        /* 1. Two rows of g and two token logits for each warp. */
        for (int i = warp; i < SPANS; i += WARPS) {
            const int row = first + i - 1;
            if (row < 0 || row >= rows) {
                continue;
            }
            float t[3];
            span_terms(t, h, rows, row);
            const float logit = token_logit(h, row);
            if (lane == 0) {
                terms[i][0] = t[0];
                terms[i][1] = t[1];
                terms[i][2] = t[2];
                logits[i] = logit;
            }
        }
        __syncthreads(); /* terms and logits before the reads below */

        /* 2. A thread per row: the second convolution and the gate. */
        const int i = int(threadIdx.x) + 1, row = first + i - 1;
        if (i <= ROWS && row < rows) {
            float z = h.conv2_bias[0];
            z += same_sequence(h, rows, row, -1) ? terms[i - 1][0] : 0.0f;
            z += terms[i][1];
            z += same_sequence(h, rows, row, 1) ? terms[i + 1][2] : 0.0f;
            h.z_tok[row] = logits[i];
            h.z_span[row] = z;
            h.score[row] = pk_gate_score(h.gate, h.gamma, logits[i], z);
        }
        __syncthreads(); /* those reads before the next tile's writes */
    }
}

template <bool BF16>
__global__ void __launch_bounds__(THREADS)
    k_round(uint2 *out, const float4 *x, const uint32_t *rows, uint32_t *saturated, int vectors) {
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    const size_t count = size_t(*rows) * size_t(vectors);
    uint32_t over = 0;
    for (size_t at = blockIdx.x * size_t(THREADS) + threadIdx.x; at < count;
         at += gridDim.x * size_t(THREADS)) {
        const float4 v = x[at];
        out[at] =
            make_uint2(pk::round_pair<BF16>(v.x, v.y, over), pk::round_pair<BF16>(v.z, v.w, over));
    }
    pk::add_saturated(saturated, over);
}

/* ---- launch ---- */

constexpr uint32_t SIZE_MAX_HEADS = 1u << 24; /* of rows and of CTAs: fits an int 14 times */

bool valid(const pk_heads_cuda_task &t) {
    const bool outputs = t.z_tok != nullptr && t.z_span != nullptr && t.score != nullptr;
    const bool inputs = pk::aligned(t.hidden) && pk::aligned(t.conv) && t.positions != nullptr &&
                        pk::aligned(t.token_weight) && t.token_bias != nullptr &&
                        t.conv0_bias != nullptr && t.conv2_weight != nullptr &&
                        t.conv2_bias != nullptr && t.rows != nullptr;
    return outputs && inputs && t.dim > 0 && t.dim % 4 == 0 && t.dim <= SIZE_MAX_HEADS &&
           t.channels > 0 && t.channels <= SIZE_MAX_HEADS && t.rows_max <= SIZE_MAX_HEADS &&
           t.ctas > 0 && t.ctas <= SIZE_MAX_HEADS && t.gate <= PK_GATE_OR_BOOST;
}

pk::Launch config_of(const char *name, uint32_t tiles, uint32_t ctas, bool dependent,
                     void *stream) {
    pk::Launch config;
    config.name = name;
    config.grid = dim3(tiles < ctas ? tiles : ctas);
    config.block = dim3(THREADS);
    config.smem_bytes = 0;
    config.cluster = 1;
    config.dependent = dependent;
    config.stream = stream;
    return config;
}

} // namespace

int pk_heads_cuda(const pk_heads_cuda_task *task) {
    const pk_heads_cuda_task &t = *task;
    if (t.rows_max == 0) {
        return pk::LAUNCH_OK;
    }
    if (!valid(t)) {
        return PK_HEADS_CUDA_INVALID;
    }
    const Heads h = {t.z_tok,      t.z_span,        t.score,        t.hidden,
                     t.conv,       t.positions,     t.token_weight, t.token_bias,
                     t.conv0_bias, t.conv2_weight,  t.conv2_bias,   t.rows,
                     int(t.dim),   int(t.channels), t.gate,         t.gamma};
    return pk::launch(
        k_heads,
        config_of("k_heads", (t.rows_max + ROWS - 1) / ROWS, t.ctas, t.dependent, t.stream), h);
}

int pk_round_cuda(const pk_round_cuda_task *task) {
    const pk_round_cuda_task &t = *task;
    if (t.rows_max == 0) {
        return pk::LAUNCH_OK;
    }
    if (!pk::aligned(t.out) || !pk::aligned(t.x) || t.rows == nullptr || t.dim == 0 ||
        t.dim % 4 != 0 || t.dim > SIZE_MAX_HEADS || t.rows_max > SIZE_MAX_HEADS || t.ctas == 0 ||
        t.ctas > SIZE_MAX_HEADS || (t.dtype != PK_F16 && t.dtype != PK_BF16)) {
        return PK_HEADS_CUDA_INVALID;
    }
    const uint64_t vectors = uint64_t(t.rows_max) * (t.dim / 4);
    const uint64_t blocks = (vectors + THREADS - 1) / THREADS;
    const pk::Launch config = config_of("k_round", blocks < t.ctas ? uint32_t(blocks) : t.ctas,
                                        t.ctas, t.dependent, t.stream);
    auto *out = static_cast<uint2 *>(t.out);
    auto *x = reinterpret_cast<const float4 *>(t.x);
    return t.dtype == PK_BF16
               ? pk::launch(k_round<true>, config, out, x, t.rows, t.saturated, int(t.dim / 4))
               : pk::launch(k_round<false>, config, out, x, t.rows, t.saturated, int(t.dim / 4));
}
