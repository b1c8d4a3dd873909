/* ldmatrix, stmatrix, mma.sync and the packing of halves, against layouts written as formulas. */
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mma.cuh"
#include "tests/kernels/emu/harness.cuh"

#include <cmath>

namespace {

enum { WARP = 32 };

/* ---- mma ---- */

template <bool BF16>
__global__ void k_mma(float *d, const uint32_t *a, const uint32_t *b, const float *c) {
    int lane = int(threadIdx.x);
    uint32_t a_regs[4];
    float d_regs[4];
    for (int r = 0; r < 4; r++) {
        a_regs[r] = a[lane * 4 + r];
        d_regs[r] = c[lane * 4 + r];
    }
    if (BF16) {
        ptx::mma_bf16(d_regs, a_regs, b[lane * 2], b[lane * 2 + 1]);
    } else {
        ptx::mma_f16(d_regs, a_regs, b[lane * 2], b[lane * 2 + 1]);
    }
    for (int r = 0; r < 4; r++) {
        d[lane * 4 + r] = d_regs[r];
    }
}

struct Place {
    int row, col;
};
/* Element `half` of register r; see the fragment formulas in mma.cuh. */
Place place_a(int lane, int r, int half) {
    return {lane / 4 + (r % 2 ? 8 : 0), lane % 4 * 2 + half + (r >= 2 ? 8 : 0)};
}
Place place_b(int lane, int r, int half) {
    return {lane % 4 * 2 + half + 8 * r, lane / 4};
}
Place place_d(int lane, int r) {
    return {lane / 4 + (r >= 2 ? 8 : 0), lane % 4 * 2 + r % 2};
}

template <bool BF16> void check_mma() {
    test::Integers random(3);
    float a[16][16], b[16][8], c[16][8];
    std::vector<uint32_t> a_regs(WARP * 4), b_regs(WARP * 2);
    std::vector<float> c_regs(WARP * 4);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++) {
            a[i][j] = float(random.next(7));
            b[i][j / 2] = float(random.next(7));
            c[i][j / 2] = float(random.next(700));
        }
    }
    for (int lane = 0; lane < WARP; lane++) {
        for (int r = 0; r < 4; r++) {
            for (int half = 0; half < 2; half++) {
                Place p = place_a(lane, r, half), q = place_b(lane, r % 2, half);
                uint32_t a_bits = test::half_bits(a[p.row][p.col], BF16);
                uint32_t b_bits = test::half_bits(b[q.row][q.col], BF16);
                a_regs[size_t(lane * 4 + r)] |= a_bits << (16 * half);
                b_regs[size_t(lane * 2 + r % 2)] |= b_bits << (16 * half);
            }
            Place p = place_d(lane, r);
            c_regs[size_t(lane * 4 + r)] = c[p.row][p.col];
        }
    }
    test::Buffer<uint32_t> da(a_regs, "a"), db(b_regs, "b");
    test::Buffer<float> dc(c_regs, "c"), dd(WARP * 4, "d");
    TEST_LAUNCHED(pk::launch(k_mma<BF16>, test::config("k_mma", 1, WARP), dd.get(), da.get(),
                             db.get(), dc.get()));
    std::vector<float> d = dd.download();
    for (int lane = 0; lane < WARP; lane++) {
        for (int r = 0; r < 4; r++) {
            Place p = place_d(lane, r);
            float sum = c[p.row][p.col];
            for (int k = 0; k < 16; k++) {
                sum += a[p.row][k] * b[k][p.col];
            }
            TEST_CHECK(d[size_t(lane * 4 + r)] == sum,
                       "lane " + std::to_string(lane) + " register " + std::to_string(r));
        }
    }
}

void mma_bf16_matches_its_fragment_formulas() {
    check_mma<true>();
}
void mma_f16_matches_its_fragment_formulas() {
    check_mma<false>();
}

/* ---- ldmatrix, stmatrix ---- */

/* Four 8 x 8 matrices lie row by row, chunk c of row r at r * 4 + (c + r) % 4 (16-byte units). */
PTX_BOTH int chunk_of(int row, int matrix) {
    return row * 4 + (matrix + row) % 4;
}

enum { LOAD = 0, LOAD_TRANSPOSED = 128, LOAD_TWO = 256, STORED = 320, STORED_TRANSPOSED = 448 };

__global__ void k_ldmatrix(uint32_t *out) {
    PK_SMEM_STATIC(uint16_t, from, [256]);
    PK_SMEM_STATIC(uint32_t, to, [128]);
    int lane = int(threadIdx.x);
    for (int i = lane; i < 256; i += WARP) {
        from[i] = uint16_t(i);
    }
    __syncwarp();
    uint32_t r[4], pair[2];
    uint32_t row = ptx::smem_address(from + chunk_of(lane % 8, lane / 8) * 8);
    ptx::ldmatrix_x4(r, row);
    for (int i = 0; i < 4; i++) {
        out[LOAD + lane * 4 + i] = r[i];
    }
    ptx::stmatrix_x4(ptx::smem_address(to + lane * 4), r);
    __syncwarp();
    for (int i = lane; i < 128; i += WARP) {
        out[STORED + i] = to[i];
    }
    __syncwarp();
    ptx::stmatrix_x4_trans(ptx::smem_address(to + lane * 4), r);
    __syncwarp();
    for (int i = lane; i < 128; i += WARP) {
        out[STORED_TRANSPOSED + i] = to[i];
    }
    ptx::ldmatrix_x4_trans(r, row);
    for (int i = 0; i < 4; i++) {
        out[LOAD_TRANSPOSED + lane * 4 + i] = r[i];
    }
    row = ptx::smem_address(from + chunk_of(lane % 8, lane / 8 % 2) * 8);
    ptx::ldmatrix_x2(pair, row);
    for (int i = 0; i < 2; i++) {
        out[LOAD_TWO + lane * 2 + i] = pair[i];
    }
}

uint32_t element(int matrix, int row, int col) {
    return uint32_t(chunk_of(row, matrix) * 8 + col);
}
uint32_t two(uint32_t lo, uint32_t hi) {
    return lo | hi << 16;
}

void ldmatrix_and_stmatrix_match_their_fragment_formulas() {
    test::Buffer<uint32_t> device(576, "out");
    TEST_LAUNCHED(pk::launch(k_ldmatrix, test::config("k_ldmatrix", 1, WARP), device.get()));
    std::vector<uint32_t> out = device.download();
    for (int lane = 0; lane < WARP; lane++) {
        int g = lane / 4, t = lane % 4 * 2;
        for (int m = 0; m < 4; m++) {
            uint32_t along = two(element(m, g, t), element(m, g, t + 1));
            uint32_t across = two(element(m, t, g), element(m, t + 1, g));
            TEST_CHECK(out[size_t(LOAD + lane * 4 + m)] == along, "ldmatrix.x4");
            TEST_CHECK(out[size_t(LOAD_TRANSPOSED + lane * 4 + m)] == across, "ldmatrix.x4.trans");
            TEST_CHECK(m > 1 || out[size_t(LOAD_TWO + lane * 2 + m)] == along, "ldmatrix.x2");
        }
    }
    for (int m = 0; m < 4; m++) { /* `to` holds matrix m in rows of 16 bytes at 8 m */
        for (int row = 0; row < 8; row++) {
            for (int pair = 0; pair < 4; pair++) {
                size_t at = size_t((m * 8 + row) * 4 + pair);
                uint32_t along = two(element(m, row, pair * 2), element(m, row, pair * 2 + 1));
                uint32_t across = two(element(m, pair * 2, row), element(m, pair * 2 + 1, row));
                TEST_CHECK(out[STORED + at] == along, "stmatrix.x4");
                TEST_CHECK(out[STORED_TRANSPOSED + at] == across, "stmatrix.x4.trans");
            }
        }
    }
}

#ifdef PK_EMULATE
__global__ void k_conflicts(uint32_t *out, int swizzle) {
    PK_SMEM_DYNAMIC(tile, 128);
    int lane = int(threadIdx.x);
    for (int i = lane; i < 8 * 128 / 4; i += WARP) {
        reinterpret_cast<uint32_t *>(tile)[i] = 0;
    }
    __syncwarp();
    uint32_t r[4];
    int row = lane % 8, chunk = lane / 8;
    ptx::ldmatrix_x4(r, ptx::smem_address(tile) +
                            uint32_t(row * 128 + (swizzle ? chunk ^ row : chunk) * 16));
    out[lane] = r[0];
}

void bank_conflicts_of_ldmatrix_are_counted() {
    test::Buffer<uint32_t> out(WARP, "out");
    for (int swizzle = 0; swizzle < 2; swizzle++) {
        TEST_LAUNCHED(pk::launch(k_conflicts, test::config("k_conflicts", 1, WARP, 1024), out.get(),
                                 swizzle));
        uint64_t expected = swizzle ? 0 : 4 * 7; /* all eight rows of a matrix in one bank */
        TEST_CHECK(emu::stats.ldmatrix_conflicts == expected, "conflicts");
    }
}
#endif

/* ---- conversions ---- */

template <bool BF16> __global__ void k_pack(uint32_t *out, const float *in, int count) {
    for (int i = int(threadIdx.x); i < count; i += WARP) {
        out[i] = BF16 ? ptx::pack_bf16(in[i], -in[i]) : ptx::pack_f16(in[i], -in[i]);
    }
}

/* Nearest multiple of the format's step at |x|, ties to even, in double; NaN by itself. */
uint16_t rounded(float x, int fraction_bits, int exponent_min, double largest, int exponent_bits) {
    uint32_t infinity = ((1u << exponent_bits) - 1) << fraction_bits;
    if (x != x) {
        return 0x7fff;
    }
    uint32_t sign = std::signbit(x) ? 0x8000u : 0u;
    double magnitude = std::fabs(double(x));
    if (magnitude == 0.0 || std::isinf(x)) {
        return uint16_t(sign | (magnitude == 0.0 ? 0 : infinity));
    }
    int exponent = std::ilogb(magnitude);
    exponent = exponent < exponent_min ? exponent_min : exponent;
    double step = std::ldexp(1.0, exponent - fraction_bits);
    double nearest = std::nearbyint(magnitude / step) * step;
    if (nearest > largest) {
        return uint16_t(sign | infinity);
    }
    if (nearest < std::ldexp(1.0, exponent_min)) { /* subnormal or zero: the count of steps */
        return uint16_t(sign | uint32_t(nearest / step));
    }
    int high = std::ilogb(nearest);
    uint32_t fraction =
        uint32_t(nearest / std::ldexp(1.0, high - fraction_bits)) - (1u << fraction_bits);
    return uint16_t(sign | uint32_t(high - exponent_min + 1) << fraction_bits | fraction);
}

std::vector<float> awkward_floats() {
    std::vector<float> values = {0.0f,     -0.0f,    1.0f,     65504.0f,  65519.9f, 65520.0f,
                                 0x1p-24f, 0x1p-25f, 0x1p-14f, 0x1p-126f, 3.4e38f,  INFINITY};
    for (uint32_t i = 0; i < 4096; i++) { /* every exponent; ties and their neighbours */
        uint32_t bits = i * 2654435761u;
        bits = i % 4 == 0 ? (bits & 0xffff0000u) | 0x8000u : bits;
        bits = i % 4 == 1 ? (bits & 0xffffe000u) | 0x1000u : bits;
        float value;
        memcpy(&value, &bits, sizeof value);
        if (value == value) {
            values.push_back(value);
        }
    }
    return values;
}

template <bool BF16> void check_pack() {
    std::vector<float> values = awkward_floats();
    test::Buffer<float> in(values, "in");
    test::Buffer<uint32_t> out(values.size(), "out");
    TEST_LAUNCHED(pk::launch(k_pack<BF16>, test::config("k_pack", 1, WARP), out.get(), in.get(),
                             int(values.size())));
    std::vector<uint32_t> got = out.download();
    for (size_t i = 0; i < values.size(); i++) {
        auto expect = [&](float x) {
            return uint32_t(BF16 ? rounded(x, 7, -126, 0x1.fep127, 8)
                                 : rounded(x, 10, -14, 65504.0, 5));
        };
        TEST_CHECK(got[i] == two(expect(values[i]), expect(-values[i])),
                   "value " + std::to_string(values[i]));
    }
}

void packing_to_bf16_rounds_to_nearest_even() {
    check_pack<true>();
}
void packing_to_f16_rounds_to_nearest_even() {
    check_pack<false>();
}

} // namespace

void matrix_tests() {
    TEST_RUN(mma_bf16_matches_its_fragment_formulas);
    TEST_RUN(mma_f16_matches_its_fragment_formulas);
    TEST_RUN(ldmatrix_and_stmatrix_match_their_fragment_formulas);
#ifdef PK_EMULATE
    TEST_RUN(bank_conflicts_of_ldmatrix_are_counted);
#endif
    TEST_RUN(packing_to_bf16_rounds_to_nearest_even);
    TEST_RUN(packing_to_f16_rounds_to_nearest_even);
}
