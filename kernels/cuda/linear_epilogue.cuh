/* What is done to a product's accumulators before they leave the registers: the three forms of
 * kernels/cuda/linear.h, for mma and wgmma alike, whose accumulators lie the same way:
 *
 *   d[4 q + i] of lane (g, t) = (lane / 4, lane % 4)   row  g + 8 (i / 2),  packed column
 *                                                      8 q + 2 t + i % 2
 *
 * of a strip of 16 rows. Weights are packed so that (kernels/cuda/linear_pack.h) a lane holds 4 or
 * 8 neighbours of the output, RoPE's pairs, and a value beside its gate. A quad writes 64 bytes. */
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
    float *out = static_cast<float *>(p.out) + size_t(row) * size_t(p.n) + threadIdx.x % 4 * 4;
#pragma unroll
    for (int q = 0; q < TILES; q += 2) {
        const int i = 4 * q + 2 * half;
        if (col + 8 * q < p.n) {
            *reinterpret_cast<float4 *>(out + col + 8 * q) =
                make_float4(d[i], d[i + 1], d[i + 4], d[i + 5]);
        }
    }
}

/* out [rows, n / 2] of 16 bits */
template <bool BF16, int TILES>
__device__ __forceinline__ void store_geglu(const Product &p, const float (&d)[4 * TILES], int half,
                                            int row, int col, uint32_t &over) {
    uint16_t *out =
        static_cast<uint16_t *>(p.out) + size_t(row) * size_t(p.n / 2) + threadIdx.x % 4 * 8;
#pragma unroll
    for (int q = 0; q < TILES; q += 8) {
        const int c = col + 8 * q;
        if (c < p.n) {
            uint32_t pairs[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int i = 4 * (q + 2 * j) + 2 * half; /* the gate is one tile on */
                pairs[j] = round_pair<BF16>(gelu(d[i]) * d[i + 4], gelu(d[i + 1]) * d[i + 5], over);
            }
            *reinterpret_cast<uint4 *>(out + c / 2) =
                make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
        }
    }
}

/* out [rows, 3, heads, 64] of 16 bits */
template <bool BF16, int TILES>
__device__ __forceinline__ void store_qkv(const Product &p, const float (&d)[4 * TILES], int half,
                                          int row, int col, uint32_t &over) {
    const int lane = int(threadIdx.x % 4) * 8; /* of 32 outputs */
    const float *angle = p.rope + size_t(p.positions[row]) * PK_LINEAR_CUDA_HEAD_DIM + lane;
    float2 cosine[4], sine[4]; /* of every head: read before any store */
#pragma unroll
    for (int j = 0; j < 4; j++) {
        cosine[j] = *reinterpret_cast<const float2 *>(angle + 2 * j);
        sine[j] = *reinterpret_cast<const float2 *>(angle + HALF_HEAD + 2 * j);
    }
    uint16_t *out = static_cast<uint16_t *>(p.out) + size_t(row) * size_t(p.n) + lane;
#pragma unroll
    for (int q = 0; q < TILES; q += HEAD_TILES) {
        const int c = col + 8 * q, part = c / (p.n / 3);
        if (c >= p.n) {
            return;
        }
        uint32_t lo[4], hi[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int i = 4 * (q + j) + 2 * half, other = i + 4 * HEAD_TILES / 2;
            float2 a = make_float2(d[i], d[i + 1]), b = make_float2(d[other], d[other + 1]);
            if (part < 2) {
                const float scale = part == 0 ? Q_SCALE : 1.0f;
                const float2 x = a, y = b;
                a = make_float2(scale * (x.x * cosine[j].x - y.x * sine[j].x),
                                scale * (x.y * cosine[j].y - y.y * sine[j].y));
                b = make_float2(scale * (y.x * cosine[j].x + x.x * sine[j].x),
                                scale * (y.y * cosine[j].y + x.y * sine[j].y));
            }
            lo[j] = round_pair<BF16>(a.x, a.y, over);
            hi[j] = round_pair<BF16>(b.x, b.y, over);
        }
        *reinterpret_cast<uint4 *>(out + c) = make_uint4(lo[0], lo[1], lo[2], lo[3]);
        *reinterpret_cast<uint4 *>(out + c + HALF_HEAD) = make_uint4(hi[0], hi[1], hi[2], hi[3]);
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
