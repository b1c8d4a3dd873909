/* ldmatrix, stmatrix and mma.sync m16n8k16. With g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix
 * fragments"), 8 x 8 matrices give lane (g, t) elements [g][2t], [g][2t + 1], transposed
 * [2t][g], [2t + 1][g]. */
#include "kernels/emu/race.hpp"

#include "kernels/types.h"

#include <cstring>

namespace emu {

struct MatrixOperands {
    uint32_t *loaded;
    const uint32_t *stored;
    uint32_t address;
    int matrices;
    bool transposed;
    Site site;
};

/* Eight rows of 16 bytes conflict when two share address bits 4-6. */
static uint32_t conflicts(const Place *rows) {
    uint32_t banks = 0, count = 0;
    for (int r = 0; r < 8; r++) {
        uint32_t bank = 1u << (rows[r].offset >> 4 & 7);
        count += (banks & bank) != 0;
        banks |= bank;
    }
    return count;
}

static void move_element(const MatrixOperands &own, const Place &row, uint32_t column, int matrix,
                         int half, uint32_t lane) {
    bool store = own.stored != nullptr;
    uint8_t *element = row.bytes + column * 2;
    if (race_on) {
        Access access = thread_access(lane_thread(lane), store, where_of(own.site));
        shared_access(row.cta, row.offset + column * 2, 2, access);
    }
    if (store) {
        memcpy(element, reinterpret_cast<const uint8_t *>(&own.stored[matrix]) + 2 * half, 2);
    } else {
        memcpy(reinterpret_cast<uint8_t *>(&own.loaded[matrix]) + 2 * half, element, 2);
    }
}

static void matrix_execute(void **operands, uint32_t) {
    const MatrixOperands &first = *static_cast<MatrixOperands *>(operands[0]);
    const char *name = first.stored != nullptr ? "stmatrix" : "ldmatrix";
    stats.ldmatrix++;
    for (int m = 0; m < first.matrices; m++) {
        Place rows[8];
        for (int r = 0; r < 8; r++) { /* lane 8 m + r holds the address of row r of matrix m */
            uint32_t address = static_cast<MatrixOperands *>(operands[m * 8 + r])->address;
            rows[r] = smem_place(address, 16, 16, name, first.site);
        }
        stats.ldmatrix_conflicts += conflicts(rows);
        for (uint32_t lane = 0; lane < LANES; lane++) {
            const MatrixOperands &own = *static_cast<MatrixOperands *>(operands[lane]);
            for (uint32_t half = 0; half < 2; half++) {
                uint32_t major = lane / 4, minor = lane % 4 * 2 + half;
                uint32_t row = own.transposed ? minor : major;
                uint32_t column = own.transposed ? major : minor;
                move_element(own, rows[row], column, m, int(half), lane);
            }
        }
    }
}

void ldmatrix(uint32_t *regs, int matrices, bool transposed, uint32_t address, Site site) {
    MatrixOperands operands{regs, nullptr, address, matrices, transposed, site};
    collective(matrix_execute, full_mask(), &operands, "ldmatrix", site);
}

void stmatrix(const uint32_t *regs, int matrices, bool transposed, uint32_t address, Site site) {
    MatrixOperands operands{nullptr, regs, address, matrices, transposed, site};
    collective(matrix_execute, full_mask(), &operands, "stmatrix", site);
}

struct MmaOperands {
    float *d;
    const uint32_t *a, *b;
    Half type;
};

static float half_value(uint32_t reg, int half, Half type) {
    uint16_t bits = uint16_t(reg >> (16 * half));
    return type == HALF_BF16 ? pk_f32_of_bf16(bits) : pk_f32_of_f16(bits);
}

static void mma_gather(void **operands, float a[16][16], float b[16][8], float d[16][8]) {
    for (int lane = 0; lane < int(LANES); lane++) {
        const MmaOperands &own = *static_cast<MmaOperands *>(operands[lane]);
        int g = lane / 4, t = lane % 4 * 2;
        for (int half = 0; half < 2; half++) {
            for (int r = 0; r < 4; r++) { /* r & 1: lower rows; r & 2: upper k */
                a[g + 8 * (r & 1)][t + 4 * (r & 2) + half] = half_value(own.a[r], half, own.type);
            }
            for (int r = 0; r < 2; r++) {
                b[t + 8 * r + half][g] = half_value(own.b[r], half, own.type);
                d[g + 8 * r][t + half] = own.d[2 * r + half];
            }
        }
    }
}

static void mma_execute(void **operands, uint32_t) {
    float a[16][16], b[16][8], d[16][8];
    stats.mma++;
    mma_gather(operands, a, b, d);
    for (int i = 0; i < 16; i++) {
        for (int k = 0; k < 16; k++) {
            for (int j = 0; j < 8; j++) {
                d[i][j] += a[i][k] * b[k][j];
            }
        }
    }
    for (int lane = 0; lane < int(LANES); lane++) {
        MmaOperands &own = *static_cast<MmaOperands *>(operands[lane]);
        for (int r = 0; r < 4; r++) {
            own.d[r] = d[lane / 4 + 8 * (r / 2)][lane % 4 * 2 + r % 2];
        }
    }
}

void mma_m16n8k16(float *d, const uint32_t *a, const uint32_t *b, Half type, Site site) {
    MmaOperands operands{d, a, b, type};
    collective(mma_execute, full_mask(), &operands, "mma.sync", site);
}

} // namespace emu
