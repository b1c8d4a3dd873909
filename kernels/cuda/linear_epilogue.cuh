/* What is done to a product's accumulators before they leave the registers: the three forms of
 * kernels/cuda/linear.h, for mma and wgmma alike, whose accumulators lie the same way:
 *
 *   d[4 q + i] of lane (g, t) = (lane / 4, lane % 4)   row  g + 8 (i / 2),  column  8 q + 2 t + i %
 * 2
 *
 * of a strip of 16 rows. RoPE's pairs are half a head apart, 4 q; a value and its gate one q: both
 * in the same lane. */
#ifndef PK_CUDA_LINEAR_EPILOGUE_CUH
#define PK_CUDA_LINEAR_EPILOGUE_CUH

#include "kernels/cuda/linear.h"
#include "kernels/cuda/linear_round.cuh"

namespace pk {

enum Form { FORM_PLAIN, FORM_GEGLU, FORM_QKV };

constexpr int HEAD_TILES = PK_LINEAR_CUDA_HEAD_DIM / 8, HALF_HEAD = PK_LINEAR_CUDA_HEAD_DIM / 2;
constexpr float Q_SCALE = 0.125f; /* PK_LINEAR_CUDA_HEAD_DIM ^ -1/2, exact */

struct Product {
    void *out;
    const float *rope;
    const uint32_t *positions;
    const uint32_t *rows_now; /* on the device */
    uint32_t *saturated;
    int n, k;
};

__device__ __forceinline__ float gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

/* out [rows, n] f32 */
template <int TILES>
__device__ __forceinline__ void store_plain(const Product &p, const float (&d)[4 * TILES], int half,
                                            int row, int col) {
    float *out = static_cast<float *>(p.out) + size_t(row) * size_t(p.n);
#pragma unroll
    for (int q = 0; q < TILES; q++) {
        const int c = col + 8 * q;
        if (c < p.n) {
            *reinterpret_cast<float2 *>(out + c + 2 * int(threadIdx.x % 4)) =
                make_float2(d[4 * q + 2 * half], d[4 * q + 2 * half + 1]);
        }
    }
}

/* out [rows, n / 2] of 16 bits; columns come as eight values, then their eight gates. */
template <bool BF16, int TILES>
__device__ __forceinline__ void store_geglu(const Product &p, const float (&d)[4 * TILES], int half,
                                            int row, int col, uint32_t &over) {
    uint16_t *out = static_cast<uint16_t *>(p.out) + size_t(row) * size_t(p.n / 2);
#pragma unroll
    for (int q = 0; q < TILES; q += 2) {
        const int c = col + 8 * q, i = 4 * q + 2 * half;
        if (c < p.n) {
            *reinterpret_cast<uint32_t *>(out + c / 2 + 2 * int(threadIdx.x % 4)) =
                round_pair<BF16>(gelu(d[i]) * d[i + 4], gelu(d[i + 1]) * d[i + 5], over);
        }
    }
}

/* out [rows, 3, heads, 64] of 16 bits. */
template <bool BF16, int TILES>
__device__ __forceinline__ void store_qkv(const Product &p, const float (&d)[4 * TILES], int half,
                                          int row, int col, uint32_t &over) {
    const int pair = 2 * int(threadIdx.x % 4);
    const float *angle = p.rope + size_t(p.positions[row]) * PK_LINEAR_CUDA_HEAD_DIM + pair;
    uint16_t *out = static_cast<uint16_t *>(p.out) + size_t(row) * size_t(p.n) + pair;
#pragma unroll
    for (int head = 0; head < TILES / HEAD_TILES; head++) {
        const int c = col + head * PK_LINEAR_CUDA_HEAD_DIM, part = c / (p.n / 3);
        if (c >= p.n) {
            return;
        }
#pragma unroll
        for (int q = 0; q < HEAD_TILES / 2; q++) {
            const int i = 4 * (head * HEAD_TILES + q) + 2 * half, j = i + 4 * HEAD_TILES / 2;
            float2 lo = make_float2(d[i], d[i + 1]), hi = make_float2(d[j], d[j + 1]);
            if (part < 2) {
                const float2 cosine = *reinterpret_cast<const float2 *>(angle + 8 * q);
                const float2 sine = *reinterpret_cast<const float2 *>(angle + HALF_HEAD + 8 * q);
                const float scale = part == 0 ? Q_SCALE : 1.0f;
                const float2 a = lo, b = hi;
                lo.x = scale * (a.x * cosine.x - b.x * sine.x);
                lo.y = scale * (a.y * cosine.y - b.y * sine.y);
                hi.x = scale * (b.x * cosine.x + a.x * sine.x);
                hi.y = scale * (b.y * cosine.y + a.y * sine.y);
            }
            uint16_t *at = out + c + 8 * q;
            *reinterpret_cast<uint32_t *>(at) = round_pair<BF16>(lo.x, lo.y, over);
            *reinterpret_cast<uint32_t *>(at + HALF_HEAD) = round_pair<BF16>(hi.x, hi.y, over);
        }
    }
}

/* A strip of 16 rows from `row`, 8 * TILES columns from `col`; rows from `rows` on are not stored.
 */
template <Form FORM, bool BF16, int TILES>
__device__ __forceinline__ void store_strip(const Product &p, const float (&d)[4 * TILES], int rows,
                                            int row, int col, uint32_t &over) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int r = row + int(threadIdx.x) % 32 / 4 + 8 * half;
        if (r < rows) {
            if (FORM == FORM_PLAIN) {
                store_plain<TILES>(p, d, half, r, col);
            } else if (FORM == FORM_GEGLU) {
                store_geglu<BF16, TILES>(p, d, half, r, col, over);
            } else {
                store_qkv<BF16, TILES>(p, d, half, r, col, over);
            }
        }
    }
}

} // namespace pk

#endif
