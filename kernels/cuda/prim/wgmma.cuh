/* wgmma m64nNk16, N 64, 128 (_ss) and 192, f16 and bf16, f32 accumulators: D (+)= A B with A 64 x
 * 16 in shared memory (_ss) or registers (_rs) and B in shared memory, both as matrix descriptors.
 * A warpgroup is four warps from a multiple of four.
 *
 * d[4 q + i] of lane (g, t) = (lane / 4, lane % 4) of warp w is row 16 w + g + 8 (i / 2), column
 * 8 q + 2 t + i % 2. A in registers is the A fragment of mma (mma.cuh) for the warp's 16 rows.
 * TRANS 0: rows run along k (K-major); 1: along m or n. accumulate 0: D starts at zero.
 *
 * Order: pin, fence, products, commit, wait, pin; between fence and wait nothing else touches d. */
#ifndef PK_CUDA_PRIM_WGMMA_CUH
#define PK_CUDA_PRIM_WGMMA_CUH

#include "kernels/cuda/prim/gpu.cuh"

namespace ptx {

enum Swizzle { SWIZZLE_NONE = 0, SWIZZLE_128 = 1, SWIZZLE_64 = 2, SWIZZLE_32 = 3 };

/* Matrix descriptor of shared address `start` (PTX ISA, "Matrix descriptor"), offsets in bytes.
 * K-major: `stride` lies between groups of 8 rows; `leading`, without swizzle, between the two
 * 8-column halves. MN-major, swizzled: `leading` between pattern-wide blocks of m or n, `stride`
 * between groups of 8 k; without swizzle the other way round: `leading` along k, `stride` along
 * m or n. */
PTX_BOTH uint64_t matrix_descriptor(uint32_t start, uint32_t leading, uint32_t stride,
                                    Swizzle swizzle) {
    return uint64_t((start & 0x3ffff) >> 4) | uint64_t((leading & 0x3ffff) >> 4) << 16 |
           uint64_t((stride & 0x3ffff) >> 4) << 32 | uint64_t(swizzle) << 62;
}

#ifdef PK_EMULATE

PTX_FN void wgmma_fence(PTX_SITE_ALONE) {
    emu::wgmma_fence(site);
}
PTX_FN void wgmma_commit(PTX_SITE_ALONE) {
    emu::wgmma_commit(site);
}
template <int N> PTX_FN void wgmma_wait(PTX_SITE_ALONE) {
    emu::wgmma_wait(N, site);
}
/* Keeps the compiler from moving reads or writes of d across this point: before a fence and after
 * a wait, or ptxas adds fences of its own (C7519). */
template <int COUNT> PTX_FN void wgmma_pin(float (&)[COUNT]) {
}

#define PK_WGMMA_SS(NAME, N, HALF)                                                                 \
    template <int TRANS_A, int TRANS_B>                                                            \
    PTX_FN void wgmma_##NAME##_ss(float(&d)[(N) / 2], uint64_t a, uint64_t b,                      \
                                  int accumulate PTX_SITE) {                                       \
        const emu::Wgmma op = {                                                                    \
            N, HALF, accumulate != 0, TRANS_A != 0, TRANS_B != 0, a, b, nullptr};                  \
        emu::wgmma_issue(d, op, site);                                                             \
    }
#define PK_WGMMA_RS(NAME, N, HALF)                                                                 \
    template <int TRANS_B>                                                                         \
    PTX_FN void wgmma_##NAME##_rs(float(&d)[(N) / 2], const uint32_t(&a)[4], uint64_t b,           \
                                  int accumulate PTX_SITE) {                                       \
        const emu::Wgmma op = {N, HALF, accumulate != 0, false, TRANS_B != 0, 0, b, a};            \
        emu::wgmma_issue(d, op, site);                                                             \
    }

PK_WGMMA_SS(m64n64k16_f16, 64, emu::HALF_F16)
PK_WGMMA_RS(m64n64k16_f16, 64, emu::HALF_F16)
PK_WGMMA_SS(m64n64k16_bf16, 64, emu::HALF_BF16)
PK_WGMMA_RS(m64n64k16_bf16, 64, emu::HALF_BF16)
PK_WGMMA_SS(m64n128k16_f16, 128, emu::HALF_F16)
PK_WGMMA_SS(m64n128k16_bf16, 128, emu::HALF_BF16)
PK_WGMMA_SS(m64n192k16_f16, 192, emu::HALF_F16)
PK_WGMMA_RS(m64n192k16_f16, 192, emu::HALF_F16)
PK_WGMMA_SS(m64n192k16_bf16, 192, emu::HALF_BF16)
PK_WGMMA_RS(m64n192k16_bf16, 192, emu::HALF_BF16)

#undef PK_WGMMA_SS
#undef PK_WGMMA_RS

#else

PTX_FN void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
PTX_FN void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N> PTX_FN void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
template <int COUNT> PTX_FN void wgmma_pin(float (&d)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        asm volatile("" : "+f"(d[i])::"memory");
    }
}

#define PK_WGMMA_OUT8(i)                                                                           \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),    \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define PK_WGMMA_REGS64                                                                            \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define PK_WGMMA_OUTS64 PK_WGMMA_OUT8(0), PK_WGMMA_OUT8(8), PK_WGMMA_OUT8(16), PK_WGMMA_OUT8(24)
#define PK_WGMMA_REGS128                                                                           \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define PK_WGMMA_OUTS128                                                                           \
    PK_WGMMA_OUT8(0), PK_WGMMA_OUT8(8), PK_WGMMA_OUT8(16), PK_WGMMA_OUT8(24), PK_WGMMA_OUT8(32),   \
        PK_WGMMA_OUT8(40), PK_WGMMA_OUT8(48), PK_WGMMA_OUT8(56)
#define PK_WGMMA_REGS192                                                                           \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}"
#define PK_WGMMA_OUTS192                                                                           \
    PK_WGMMA_OUT8(0), PK_WGMMA_OUT8(8), PK_WGMMA_OUT8(16), PK_WGMMA_OUT8(24), PK_WGMMA_OUT8(32),   \
        PK_WGMMA_OUT8(40), PK_WGMMA_OUT8(48), PK_WGMMA_OUT8(56), PK_WGMMA_OUT8(64),                \
        PK_WGMMA_OUT8(72), PK_WGMMA_OUT8(80), PK_WGMMA_OUT8(88)

template <int TRANS_A, int TRANS_B>
PTX_FN void wgmma_m64n64k16_f16_ss(float (&d)[32], uint64_t a, uint64_t b, int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " PK_WGMMA_REGS64
                 ", %32, %33, p, 1, 1, %35, %36;\n"
                 "}"
                 : PK_WGMMA_OUTS64
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A), "n"(TRANS_B));
}
template <int TRANS_B>
PTX_FN void wgmma_m64n64k16_f16_rs(float (&d)[32], const uint32_t (&a)[4], uint64_t b,
                                   int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " PK_WGMMA_REGS64
                 ", {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n"
                 "}"
                 : PK_WGMMA_OUTS64
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),
                   "n"(TRANS_B));
}
template <int TRANS_A, int TRANS_B>
PTX_FN void wgmma_m64n64k16_bf16_ss(float (&d)[32], uint64_t a, uint64_t b, int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " PK_WGMMA_REGS64
                 ", %32, %33, p, 1, 1, %35, %36;\n"
                 "}"
                 : PK_WGMMA_OUTS64
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A), "n"(TRANS_B));
}
template <int TRANS_B>
PTX_FN void wgmma_m64n64k16_bf16_rs(float (&d)[32], const uint32_t (&a)[4], uint64_t b,
                                    int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " PK_WGMMA_REGS64
                 ", {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n"
                 "}"
                 : PK_WGMMA_OUTS64
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),
                   "n"(TRANS_B));
}
template <int TRANS_A, int TRANS_B>
PTX_FN void wgmma_m64n128k16_f16_ss(float (&d)[64], uint64_t a, uint64_t b, int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 " PK_WGMMA_REGS128
                 ", %64, %65, p, 1, 1, %67, %68;\n"
                 "}"
                 : PK_WGMMA_OUTS128
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A), "n"(TRANS_B));
}
template <int TRANS_A, int TRANS_B>
PTX_FN void wgmma_m64n128k16_bf16_ss(float (&d)[64], uint64_t a, uint64_t b, int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " PK_WGMMA_REGS128
                 ", %64, %65, p, 1, 1, %67, %68;\n"
                 "}"
                 : PK_WGMMA_OUTS128
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A), "n"(TRANS_B));
}
template <int TRANS_A, int TRANS_B>
PTX_FN void wgmma_m64n192k16_f16_ss(float (&d)[96], uint64_t a, uint64_t b, int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %98, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.f16.f16 " PK_WGMMA_REGS192
                 ", %96, %97, p, 1, 1, %99, %100;\n"
                 "}"
                 : PK_WGMMA_OUTS192
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A), "n"(TRANS_B));
}
template <int TRANS_B>
PTX_FN void wgmma_m64n192k16_f16_rs(float (&d)[96], const uint32_t (&a)[4], uint64_t b,
                                    int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %101, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.f16.f16 " PK_WGMMA_REGS192
                 ", {%96, %97, %98, %99}, %100, p, 1, 1, %102;\n"
                 "}"
                 : PK_WGMMA_OUTS192
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),
                   "n"(TRANS_B));
}
template <int TRANS_A, int TRANS_B>
PTX_FN void wgmma_m64n192k16_bf16_ss(float (&d)[96], uint64_t a, uint64_t b, int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %98, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 " PK_WGMMA_REGS192
                 ", %96, %97, p, 1, 1, %99, %100;\n"
                 "}"
                 : PK_WGMMA_OUTS192
                 : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A), "n"(TRANS_B));
}
template <int TRANS_B>
PTX_FN void wgmma_m64n192k16_bf16_rs(float (&d)[96], const uint32_t (&a)[4], uint64_t b,
                                     int accumulate) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %101, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 " PK_WGMMA_REGS192
                 ", {%96, %97, %98, %99}, %100, p, 1, 1, %102;\n"
                 "}"
                 : PK_WGMMA_OUTS192
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),
                   "n"(TRANS_B));
}

#undef PK_WGMMA_OUT8
#undef PK_WGMMA_REGS64
#undef PK_WGMMA_OUTS64
#undef PK_WGMMA_REGS128
#undef PK_WGMMA_OUTS128
#undef PK_WGMMA_REGS192
#undef PK_WGMMA_OUTS192

#endif

} // namespace ptx

#endif
