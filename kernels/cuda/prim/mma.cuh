/* ldmatrix, stmatrix, mma.sync m16n8k16 with f32 accumulators, and the arithmetic beside them.
 *
 * With g = lane / 4 and t = lane % 4, registers hold pairs of neighbours:
 *   a0 [g][2t]  a1 [g + 8][2t]  a2 [g][2t + 8]  a3 [g + 8][2t + 8]       A row-major 16 x 16
 *   b0 [2t][g]  b1 [2t + 8][g]                                           B 16 x 8, pairs along k
 *   d0, d1 [g][2t], [g][2t + 1]   d2, d3 the same in row g + 8           D 16 x 8 */
#ifndef PK_CUDA_PRIM_MMA_CUH
#define PK_CUDA_PRIM_MMA_CUH

#include "kernels/cuda/prim/gpu.cuh"

namespace ptx {

#ifdef PK_EMULATE

/* Lane 8 m + r gives the address of row r (16 bytes) of matrix m. */
PTX_FN void ldmatrix_x4(uint32_t (&r)[4], uint32_t address PTX_SITE) {
    emu::ldmatrix(r, 4, false, address, site);
}
PTX_FN void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address PTX_SITE) {
    emu::ldmatrix(r, 4, true, address, site);
}
PTX_FN void ldmatrix_x2(uint32_t (&r)[2], uint32_t address PTX_SITE) {
    emu::ldmatrix(r, 2, false, address, site);
}
PTX_FN void stmatrix_x4(uint32_t address, const uint32_t (&r)[4] PTX_SITE) {
    emu::stmatrix(r, 4, false, address, site);
}
PTX_FN void stmatrix_x4_trans(uint32_t address, const uint32_t (&r)[4] PTX_SITE) {
    emu::stmatrix(r, 4, true, address, site);
}

/* d += a b */
PTX_FN void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1 PTX_SITE) {
    const uint32_t b[2] = {b0, b1};
    emu::mma_m16n8k16(d, a, b, emu::HALF_BF16, site);
}
PTX_FN void mma_f16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1 PTX_SITE) {
    const uint32_t b[2] = {b0, b1};
    emu::mma_m16n8k16(d, a, b, emu::HALF_F16, site);
}

/* x between -limit and limit; a NaN stays a NaN. */
PTX_FN float clamp_nan(float x, float limit) {
    x = x > limit ? limit : x;
    return x < -limit ? -limit : x;
}

/* 2^x; on the device to 2^-22 relative, subnormal results are zero (PTX ISA, ex2.approx.ftz). */
PTX_FN float exp2_approx(float x) {
    return std::exp2(x);
}

/* lo in the lower half of the register. */
PTX_FN uint32_t pack_bf16(float lo, float hi) {
    return uint32_t(emu::bf16_of_f32(lo)) | uint32_t(emu::bf16_of_f32(hi)) << 16;
}
PTX_FN uint32_t pack_f16(float lo, float hi) {
    return uint32_t(emu::f16_of_f32(lo)) | uint32_t(emu::f16_of_f32(hi)) << 16;
}

#else

PTX_FN void ldmatrix_x4(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
PTX_FN void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
PTX_FN void ldmatrix_x2(uint32_t (&r)[2], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
}
PTX_FN void stmatrix_x4(uint32_t address, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}
PTX_FN void stmatrix_x4_trans(uint32_t address, const uint32_t (&r)[4]) {
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address),
        "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
        : "memory");
}

PTX_FN void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
PTX_FN void mma_f16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

PTX_FN float clamp_nan(float x, float limit) {
    float below, y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(below) : "f"(x), "f"(limit));
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(below), "f"(-limit));
    return y;
}

PTX_FN float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

PTX_FN uint32_t pack_bf16(float lo, float hi) {
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(hi), "f"(lo));
    return packed;
}
PTX_FN uint32_t pack_f16(float lo, float hi) {
    uint32_t packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(hi), "f"(lo));
    return packed;
}

#endif

} // namespace ptx

#endif
