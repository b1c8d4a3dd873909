/* wgmma m64n64k16, m64n128k16 and m64n192k16 over every operand layout, against layouts written as
 * formulas. */
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/wgmma.cuh"
#include "tests/kernels/emu/harness.cuh"

namespace {

enum { M = 64, K = 64, STEPS = K / 16, THREADS = 128, A_BYTES = M * K * 2 };

/* How an operand of `extent` rows (m or n) and K columns lies in shared memory. */
struct Layout {
    bool mn_major;
    int swizzle_bytes; /* 0, 32, 64, 128 */
};

/* The pattern of a swizzle: 128-byte lines, chunk XOR line number; see tma.cuh. */
int in_pattern(int row, int chunk, int width) {
    return row * width + (chunk ^ (row * width / 128 % (width / 16))) * 16;
}

int offset_of(const Layout &layout, int extent, int mn, int k) {
    int width = layout.swizzle_bytes, block = width / 2;
    if (width == 0) { /* 8 x 16 bytes lie together, k first where mn-major */
        int tile = layout.mn_major ? mn / 8 * (K / 8) + k / 8 : k / 8 * (extent / 8) + mn / 8;
        return tile * 128 + (layout.mn_major ? k % 8 * 16 + mn % 8 * 2 : mn % 8 * 16 + k % 8 * 2);
    }
    if (layout.mn_major) { /* blocks of `block` mn, each K rows of `width` bytes */
        int chunk = mn % block / 8;
        return mn / block * K * width + in_pattern(k, chunk, width) + mn % 8 * 2;
    }
    int chunk = k % block / 8; /* blocks of `block` k, each `extent` rows */
    return k / block * extent * width + in_pattern(mn, chunk, width) + k % 8 * 2;
}

uint64_t descriptor(const Layout &layout, int extent, int step) {
    int width = layout.swizzle_bytes, k = step * 16;
    ptx::Swizzle swizzle = width == 128  ? ptx::SWIZZLE_128
                           : width == 64 ? ptx::SWIZZLE_64
                           : width == 32 ? ptx::SWIZZLE_32
                                         : ptx::SWIZZLE_NONE;
    uint32_t leading, stride, start;
    if (width == 0) {
        leading = uint32_t(layout.mn_major ? 128 : extent * 16);
        stride = uint32_t(layout.mn_major ? K * 16 : 128);
        start = uint32_t(k / 8) * leading;
    } else if (layout.mn_major) {
        leading = uint32_t(K * width);
        stride = uint32_t(8 * width);
        start = uint32_t(k * width);
    } else {
        leading = 16; /* not read */
        stride = uint32_t(8 * width);
        start = uint32_t(k / (width / 2) * extent * width + k % (width / 2) * 2);
    }
    return ptx::matrix_descriptor(start, leading, stride, swizzle);
}

template <int N, bool BF16, bool TRANS_A, bool TRANS_B, bool REGISTERS> struct Product {
    static __device__ void step(float (&d)[N / 2], const uint32_t (&regs)[4], uint64_t a,
                                uint64_t b) {
        if constexpr (N == 64 && BF16 && REGISTERS) {
            ptx::wgmma_m64n64k16_bf16_rs<TRANS_B>(d, regs, b, 1);
        } else if constexpr (N == 64 && BF16) {
            ptx::wgmma_m64n64k16_bf16_ss<TRANS_A, TRANS_B>(d, a, b, 1);
        } else if constexpr (N == 64 && REGISTERS) {
            ptx::wgmma_m64n64k16_f16_rs<TRANS_B>(d, regs, b, 1);
        } else if constexpr (N == 64) {
            ptx::wgmma_m64n64k16_f16_ss<TRANS_A, TRANS_B>(d, a, b, 1);
        } else if constexpr (N == 128 && BF16) {
            ptx::wgmma_m64n128k16_bf16_ss<TRANS_A, TRANS_B>(d, a, b, 1);
        } else if constexpr (N == 128) {
            ptx::wgmma_m64n128k16_f16_ss<TRANS_A, TRANS_B>(d, a, b, 1);
        } else if constexpr (BF16 && REGISTERS) {
            ptx::wgmma_m64n192k16_bf16_rs<TRANS_B>(d, regs, b, 1);
        } else if constexpr (BF16) {
            ptx::wgmma_m64n192k16_bf16_ss<TRANS_A, TRANS_B>(d, a, b, 1);
        } else if constexpr (REGISTERS) {
            ptx::wgmma_m64n192k16_f16_rs<TRANS_B>(d, regs, b, 1);
        } else {
            ptx::wgmma_m64n192k16_f16_ss<TRANS_A, TRANS_B>(d, a, b, 1);
        }
    }
};

/* out [THREADS, N / 2] = its accumulators, which start at the register's number. */
template <int N, bool BF16, bool TRANS_A, bool TRANS_B, bool REGISTERS>
__global__ void __launch_bounds__(THREADS)
    k_wgmma(float *out, const uint8_t *images, const uint32_t *a_regs, const uint64_t *descs) {
    PK_SMEM_DYNAMIC(smem, 1024);
    const int bytes = A_BYTES + N * K * 2, t = int(threadIdx.x);
    for (int i = t; i < bytes / 4; i += THREADS) {
        reinterpret_cast<uint32_t *>(smem)[i] = reinterpret_cast<const uint32_t *>(images)[i];
    }
    ptx::fence_proxy_async_shared();
    __syncthreads();
    const uint64_t base = ptx::smem_address(smem) >> 4;
    float d[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        d[i] = float(i);
    }
    uint32_t regs[STEPS][4];
#pragma unroll
    for (int i = 0; i < STEPS * 4; i++) {
        regs[i / 4][i % 4] = a_regs[(i / 4 * THREADS + t) * 4 + i % 4];
    }
    ptx::wgmma_pin(d);
    ptx::wgmma_fence();
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        Product<N, BF16, TRANS_A, TRANS_B, REGISTERS>::step(
            d, regs[step], descs[step * 2] + base, descs[step * 2 + 1] + base + (A_BYTES >> 4));
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::wgmma_pin(d);
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        out[t * (N / 2) + i] = d[i];
    }
}

void place(std::vector<uint8_t> &image, size_t base, const Layout &layout, int extent,
           const std::vector<float> &values, bool bf16) {
    for (int mn = 0; mn < extent; mn++) {
        for (int k = 0; k < K; k++) {
            uint16_t bits = test::half_bits(values[size_t(mn * K + k)], bf16);
            memcpy(&image[base + size_t(offset_of(layout, extent, mn, k))], &bits, 2);
        }
    }
}

template <int N, bool BF16, bool TRANS_A, bool TRANS_B, bool REGISTERS>
void check(int a_swizzle, int b_swizzle) {
    test::Integers random(uint32_t(N + a_swizzle + 3 * b_swizzle));
    std::vector<float> a(M * K), b(N * K);
    for (float &x : a) {
        x = float(random.next(7));
    }
    for (float &x : b) {
        x = float(random.next(7));
    }
    const Layout a_layout = {TRANS_A, a_swizzle}, b_layout = {TRANS_B, b_swizzle};
    std::vector<uint8_t> images(A_BYTES + N * K * 2, 0x55);
    place(images, 0, a_layout, M, a, BF16);
    place(images, A_BYTES, b_layout, N, b, BF16);
    std::vector<uint64_t> descs;
    std::vector<uint32_t> regs(STEPS * THREADS * 4);
    for (int step = 0; step < STEPS; step++) {
        descs.push_back(descriptor(a_layout, M, step));
        descs.push_back(descriptor(b_layout, N, step));
        for (int i = 0; i < THREADS * 8; i++) { /* thread, register, half: the A fragment of mma */
            int t = i / 8, r = i / 2 % 4, half = i % 2;
            int row = t / 32 * 16 + t % 32 / 4 + (r % 2 ? 8 : 0);
            int k = step * 16 + t % 4 * 2 + half + (r >= 2 ? 8 : 0);
            uint32_t bits = test::half_bits(a[size_t(row * K + k)], BF16);
            regs[size_t((step * THREADS + t) * 4 + r)] |= bits << (16 * half);
        }
    }
    test::Buffer<uint8_t> device_images(images, "images");
    test::Buffer<uint64_t> device_descs(descs, "descriptors");
    test::Buffer<uint32_t> device_regs(regs, "registers");
    test::Buffer<float> device(THREADS * N / 2, "out");
    TEST_LAUNCHED(pk::launch(k_wgmma<N, BF16, TRANS_A, TRANS_B, REGISTERS>,
                             test::config("k_wgmma", 1, THREADS, images.size()), device.get(),
                             device_images.get(), device_regs.get(), device_descs.get()));
    std::vector<float> d = device.download();
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < N / 2; i++) {
            int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, col = i / 4 * 8 + t % 4 * 2 + i % 2;
            float sum = float(i);
            for (int k = 0; k < K; k++) {
                sum += a[size_t(row * K + k)] * b[size_t(col * K + k)];
            }
            TEST_CHECK(d[size_t(t * (N / 2) + i)] == sum,
                       "swizzles " + std::to_string(a_swizzle) + ", " + std::to_string(b_swizzle) +
                           ": row " + std::to_string(row) + " column " + std::to_string(col));
        }
    }
}

template <int N, bool BF16> void check_all() {
    check<N, BF16, false, false, false>(128, 128);
    check<N, BF16, false, true, false>(128, 128);
    check<N, BF16, false, false, true>(128, 128);
    check<N, BF16, false, true, true>(128, 128);
}

void wgmma_m64n64_f16_matches_its_layout_formulas() {
    check_all<64, false>();
}
void wgmma_m64n64_bf16_matches_its_layout_formulas() {
    check_all<64, true>();
}
void wgmma_m64n128_matches_its_layout_formulas() {
    check<128, false, false, false, false>(128, 128);
    check<128, true, false, true, false>(128, 128);
}
void wgmma_m64n192_f16_matches_its_layout_formulas() {
    check_all<192, false>();
}
void wgmma_m64n192_bf16_matches_its_layout_formulas() {
    check_all<192, true>();
}
void wgmma_reads_k_major_operands_under_every_swizzle() {
    check<64, false, false, false, false>(64, 32);
    check<64, false, false, false, false>(32, 0);
    check<64, false, false, false, false>(0, 64);
    check<192, false, false, false, false>(64, 64);
}
void wgmma_reads_mn_major_operands_under_every_swizzle() {
    check<64, false, true, false, false>(128, 128);
    check<64, false, true, true, false>(64, 32);
    check<64, false, true, true, false>(32, 0);
    check<64, false, true, true, false>(0, 64);
    check<192, false, false, true, false>(128, 64);
}

} // namespace

void wgmma_tests() {
    TEST_RUN(wgmma_m64n64_f16_matches_its_layout_formulas);
    TEST_RUN(wgmma_m64n64_bf16_matches_its_layout_formulas);
    TEST_RUN(wgmma_m64n128_matches_its_layout_formulas);
    TEST_RUN(wgmma_m64n192_f16_matches_its_layout_formulas);
    TEST_RUN(wgmma_m64n192_bf16_matches_its_layout_formulas);
    TEST_RUN(wgmma_reads_k_major_operands_under_every_swizzle);
    TEST_RUN(wgmma_reads_mn_major_operands_under_every_swizzle);
}
