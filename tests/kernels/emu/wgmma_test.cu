/* wgmma m64n64k16, m64n128k16 and m64n192k16 over every operand layout, against layouts written as
 * formulas. */
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/wgmma.cuh"
#include "tests/kernels/emu/harness.cuh"

#include <cstdio>

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

ptx::Swizzle swizzle_of(int bytes) {
    return bytes == 128  ? ptx::SWIZZLE_128
           : bytes == 64 ? ptx::SWIZZLE_64
           : bytes == 32 ? ptx::SWIZZLE_32
                         : ptx::SWIZZLE_NONE;
}

uint64_t descriptor(const Layout &layout, int extent, int step) {
    int width = layout.swizzle_bytes, k = step * 16;
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
    return ptx::matrix_descriptor(start, leading, stride, swizzle_of(width));
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

/* What a descriptor may hold, in bytes, and how far 16 k move its start. */
struct Guess {
    uint32_t leading, stride, swizzle, advance;
};
struct Guesses {
    std::vector<uint32_t> leading, stride, swizzle, advance;
};
/* Every distance that some layout of 64 k and 64, 128 or 192 rows asks for. */
const Guesses EVERY_GUESS = {{16, 128, 1024, 2048, 3072, 4096, 8192},
                             {128, 256, 512, 1024, 2048},
                             {0, 32, 64, 128},
                             {32, 256, 512, 1024, 2048, 4096, 6144}};
enum { SWEPT_BYTES = 200 * 1024 }; /* of shared memory, so that a wrong guess stays inside */

/* Operands as their layouts lay them, and the product over them. */
template <int N, bool BF16, bool TRANS_A, bool TRANS_B, bool REGISTERS> class Trial {
  public:
    Trial(int a_swizzle, int b_swizzle)
        : a_layout_{TRANS_A, a_swizzle}, b_layout_{TRANS_B, b_swizzle}, a_(M * K), b_(N * K),
          images_(A_BYTES + N * K * 2, 0x55) {
        test::Integers random(uint32_t(N + a_swizzle + 3 * b_swizzle));
        for (float &x : a_) {
            x = float(random.next(7));
        }
        for (float &x : b_) {
            x = float(random.next(7));
        }
        place(images_, 0, a_layout_, M, a_, BF16);
        place(images_, A_BYTES, b_layout_, N, b_, BF16);
    }

    /* "" or the first element that is not its sum, with the layouts' own descriptors. */
    std::string first_bad() const {
        std::vector<uint64_t> descs;
        for (int step = 0; step < STEPS; step++) {
            descs.push_back(descriptor(a_layout_, M, step));
            descs.push_back(descriptor(b_layout_, N, step));
        }
        return run(descs, {0, 1, 2, 3}, images_.size());
    }

    /* The descriptors that give the sums of the first 32 k: of A, of B, or of both alike. */
    std::vector<Guess> sweep(bool of_a, bool of_b, const Guesses &all) const {
        std::vector<Guess> found;
        for (uint32_t swizzle : all.swizzle) {
            for (uint32_t advance : all.advance) {
                for (uint32_t stride : all.stride) {
                    for (uint32_t leading : all.leading) {
                        const Guess guess = {leading, stride, swizzle, advance};
                        if (holds(guess, of_a, of_b)) {
                            found.push_back(guess);
                        }
                    }
                }
            }
        }
        return found;
    }

  private:
    /* Bytes behind the operand's start that the descriptor may reach. */
    static uint32_t reach(const Guess &g, bool mn_major, uint32_t extent) {
        const bool blocks = mn_major && g.swizzle != 0;
        const uint32_t leading = blocks ? extent / (g.swizzle / 2) : 1;
        return g.advance + leading * g.leading + (blocks ? 1 : extent / 8) * g.stride + 1024;
    }

    bool holds(const Guess &g, bool of_a, bool of_b) const {
        if ((of_a && reach(g, TRANS_A, M) > SWEPT_BYTES) ||
            (of_b && A_BYTES + reach(g, TRANS_B, N) > SWEPT_BYTES)) {
            return false;
        }
        std::vector<uint64_t> descs;
        for (int step = 0; step < STEPS; step++) { /* k 0 .. 31 twice: one block of any layout */
            const uint64_t guessed = ptx::matrix_descriptor(
                uint32_t(step % 2) * g.advance, g.leading, g.stride, swizzle_of(int(g.swizzle)));
            descs.push_back(of_a ? guessed : descriptor(a_layout_, M, step % 2));
            descs.push_back(of_b ? guessed : descriptor(b_layout_, N, step % 2));
        }
        return run(descs, {0, 1, 0, 1}, SWEPT_BYTES).empty();
    }

    /* steps: which 16 k each product takes. */
    std::string run(const std::vector<uint64_t> &descs, const std::vector<int> &steps,
                    size_t smem_bytes) const {
        std::vector<uint32_t> regs(STEPS * THREADS * 4);
        for (int i = 0; i < STEPS * THREADS * 8; i++) { /* step, thread, register, half */
            int t = i / 8 % THREADS, r = i / 2 % 4, step = i / 8 / THREADS; /* A fragment of mma */
            int row = t / 32 * 16 + t % 32 / 4 + (r % 2 ? 8 : 0);
            int k = steps[size_t(step)] * 16 + t % 4 * 2 + i % 2 + (r >= 2 ? 8 : 0);
            uint32_t bits = test::half_bits(a_[size_t(row * K + k)], BF16);
            regs[size_t((step * THREADS + t) * 4 + r)] |= bits << (16 * (i % 2));
        }
        test::Buffer<uint8_t> images(images_, "images");
        test::Buffer<uint64_t> device_descs(descs, "descriptors");
        test::Buffer<uint32_t> device_regs(regs, "registers");
        test::Buffer<float> device(THREADS * N / 2, "out");
        const std::string error = test::error_after(
            pk::launch(k_wgmma<N, BF16, TRANS_A, TRANS_B, REGISTERS>,
                       test::config("k_wgmma", 1, THREADS, smem_bytes), device.get(), images.get(),
                       device_regs.get(), device_descs.get()));
        return error.empty() ? compare(device.download(), steps) : error;
    }

    std::string compare(const std::vector<float> &d, const std::vector<int> &steps) const {
        for (int t = 0; t < THREADS; t++) {
            for (int i = 0; i < N / 2; i++) {
                int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8;
                int col = i / 4 * 8 + t % 4 * 2 + i % 2;
                float sum = float(i), got = d[size_t(t * (N / 2) + i)];
                for (int k = 0; k < K; k++) {
                    size_t at = size_t(steps[size_t(k / 16)] * 16 + k % 16);
                    sum += a_[size_t(row * K) + at] * b_[size_t(col * K) + at];
                }
                if (!(got == sum)) {
                    return "row " + std::to_string(row) + " column " + std::to_string(col) + ": " +
                           std::to_string(got) + ", not " + std::to_string(sum);
                }
            }
        }
        return "";
    }

    Layout a_layout_, b_layout_;
    std::vector<float> a_, b_;
    std::vector<uint8_t> images_;
};

/* One line for all leading distances that do as well. */
void print_found(const char *of, const std::vector<Guess> &found) {
    printf("  descriptors of %s that give the sums: %zu\n", of, found.size());
    for (size_t i = 0, next; i < found.size(); i = next) {
        const Guess &g = found[i];
        printf("    swizzle %u, k advance %u, stride %u, leading", g.swizzle, g.advance, g.stride);
        for (next = i; next < found.size() && found[next].swizzle == g.swizzle &&
                       found[next].advance == g.advance && found[next].stride == g.stride;
             next++) {
            printf(" %u", found[next].leading);
        }
        printf("\n");
    }
}

template <int N, bool BF16, bool TRANS_A, bool TRANS_B, bool REGISTERS>
void check(int a_swizzle, int b_swizzle) {
    const Trial<N, BF16, TRANS_A, TRANS_B, REGISTERS> trial(a_swizzle, b_swizzle);
    const std::string bad = trial.first_bad();
    TEST_CHECK(bad.empty(), "swizzles " + std::to_string(a_swizzle) + ", " +
                                std::to_string(b_swizzle) + ": " + bad);
    if (!bad.empty() && test::mode() == test::MODE_GPU) { /* what the hardware takes instead */
        print_found("b", trial.sweep(false, true, EVERY_GUESS));
        if (!REGISTERS) {
            print_found("a", trial.sweep(true, false, EVERY_GUESS));
        }
        if (!REGISTERS && TRANS_A == TRANS_B && a_swizzle == b_swizzle) {
            print_found("a and b", trial.sweep(true, true, EVERY_GUESS));
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

/* What is printed where an instruction fails on a GPU, over few guesses: the layout's own is among
 * what is found, and nothing that another layout would need. */
void a_sweep_of_descriptors_finds_what_the_layout_asks_for() {
    const Guesses few = {{16, 1024}, {512, 1024}, {64, 128}, {32, 64}};
    const Trial<64, false, false, false, false> k_major(128, 128);
    for (const std::vector<Guess> &found :
         {k_major.sweep(true, false, few), k_major.sweep(false, true, few),
          k_major.sweep(true, true, few)}) {
        TEST_CHECK(found.size() == 2, std::to_string(found.size()) + " found"); /* any leading */
        for (const Guess &g : found) {
            TEST_CHECK(g.stride == 1024 && g.swizzle == 128 && g.advance == 32, "k-major");
        }
    }
    if (test::brief()) {
        return;
    }
    const Trial<192, true, false, true, true> mn_major(128, 128);
    const std::vector<Guess> found =
        mn_major.sweep(false, true, {{1024, 8192}, {512, 1024}, {64, 128}, {32, 2048}});
    TEST_CHECK(found.size() == 1 && found[0].leading == 8192 && found[0].stride == 1024 &&
                   found[0].swizzle == 128 && found[0].advance == 2048,
               "mn-major: " + std::to_string(found.size()) + " found");
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
    TEST_RUN(a_sweep_of_descriptors_finds_what_the_layout_asks_for);
}
