/* wgmma m64nNk16, f32 accumulators. Each of the warpgroup's four warps owns 16 rows and computes
 * them at its own wait. Operands are copied at issue, accumulators are NaN while in flight, and
 * operands that change before the wait are an error. */
#include "kernels/emu/race.hpp"

#include "kernels/types.h"

#include <cmath>
#include <cstring>

namespace emu {

struct WgmmaOperands {
    float *d;
    const Wgmma *op;
    Site site;
};

/* Descriptor fields (PTX ISA, "Matrix descriptor"): start, leading and stride byte offsets, each
 * / 16 in 14 bits at 0, 16, 32; base offset, 3 bits at 49; swizzle, 2 bits at 62: 0 none,
 * 1 128 B, 2 64 B, 3 32 B. */
struct Descriptor {
    uint32_t start, leading, stride, base_offset;
    uint32_t chunks; /* 16-byte chunks in a row of the pattern: 1, 8, 4, 2 */
};

static Descriptor descriptor_of(uint64_t bits) {
    static const uint32_t chunks[4] = {1, 8, 4, 2};
    return {uint32_t(bits & 0x3fff) << 4, uint32_t(bits >> 16 & 0x3fff) << 4,
            uint32_t(bits >> 32 & 0x3fff) << 4, uint32_t(bits >> 49 & 7), chunks[bits >> 62]};
}

/* Shared address of element (mn, k) of one 64-or-N x 16 operand. */
static uint32_t element_address(const Descriptor &d, uint32_t mn, uint32_t k, bool transposed) {
    uint32_t row_bytes = d.chunks * 16, address = d.start;
    bool plain = d.chunks == 1;
    if (!transposed) { /* K-major: 8 rows of mn make a group */
        address += mn % 8 * row_bytes + mn / 8 * d.stride;
        address += k / 8 * (plain ? d.leading : 16) + k % 8 * 2;
    } else if (plain) {
        address += mn / 8 * d.stride + mn % 8 * 2 + k / 8 * d.leading + k % 8 * 16;
    } else { /* MN-major: 8 rows of k make a group, chunks of mn run along the row */
        address += mn / 8 % d.chunks * 16 + mn / 8 / d.chunks * d.leading + mn % 8 * 2;
        address += k / 8 * d.stride + k % 8 * row_bytes;
    }
    return swizzled(address, plain ? 0 : row_bytes);
}

static uint16_t read_element(const WgmmaOp &w, uint64_t desc, uint32_t mn, uint32_t k,
                             bool transposed, bool check) {
    uint32_t address = element_address(descriptor_of(desc), mn, k, transposed);
    Place place = smem_place(address, 2, 2, "wgmma", w.site);
    if (check && race_on) {
        uint32_t component = component_of_wgmma(self->warp);
        Access access = {false, false, PROXY_ASYNC, component, w.clock, self, where_of(w.site)};
        shared_access(place.cta, place.offset, 2, access);
    }
    uint16_t value;
    memcpy(&value, place.bytes, 2);
    return value;
}

static void read_operands(const WgmmaOp &w, uint16_t a[16][16], std::vector<uint16_t> &b,
                          bool check) {
    uint32_t n = uint32_t(w.op.n), first_row = self->warp % cluster.cta_warps % 4 * 16;
    for (uint32_t k = 0; k < 16; k++) {
        for (uint32_t i = 0; i < 16 && w.op.a_regs == nullptr; i++) {
            a[i][k] = read_element(w, w.op.a_desc, first_row + i, k, w.op.a_transposed, check);
        }
        for (uint32_t j = 0; j < n; j++) {
            b[k * n + j] = read_element(w, w.op.b_desc, j, k, w.op.b_transposed, check);
        }
    }
}

/* Lane (g, t) holds rows g and g + 8, columns 8 q + 2 t and + 1 of its warp's 16 x n. */
static size_t accumulator_index(uint32_t lane, int i, int n) {
    size_t row = lane / 4 + (i & 2 ? 8 : 0), column = size_t(i / 4 * 8) + lane % 4 * 2 + (i & 1);
    return row * size_t(n) + column;
}

static void gather_registers(WgmmaOp &w, void **operands) {
    for (uint32_t lane = 0; lane < LANES; lane++) {
        const WgmmaOperands &own = *static_cast<WgmmaOperands *>(operands[lane]);
        w.d[lane] = own.d;
        if (own.op->a_desc != w.op.a_desc || own.op->b_desc != w.op.b_desc) {
            fail("wgmma at %s: the lanes' descriptors differ", text_of(w.site).c_str());
        }
        for (int r = 0; r < 4 && w.op.a_regs != nullptr; r++) { /* the A fragment of mma */
            for (uint32_t half = 0; half < 2; half++) {
                size_t row = lane / 4 + 8 * (r & 1), k = lane % 4 * 2 + 4 * (r & 2) + half;
                w.a[row][k] = uint16_t(own.op->a_regs[r] >> (16 * half));
            }
        }
    }
}

static WgmmaAccumulators *accumulators_of(Warp &warp, const float *d0) {
    for (WgmmaAccumulators &acc : warp.accumulators) {
        if (acc.d[0] == d0) {
            return &acc;
        }
    }
    return nullptr;
}

static void take_accumulators(Warp &warp, const WgmmaOp &w) {
    WgmmaAccumulators *acc = accumulators_of(warp, w.d[0]);
    if (acc == nullptr) {
        warp.accumulators.emplace_back();
        acc = &warp.accumulators.back();
        memcpy(acc->d, w.d, sizeof acc->d);
        acc->n = w.op.n;
        acc->references = 0;
        acc->values.resize(size_t(16 * w.op.n));
        for (uint32_t lane = 0; lane < LANES; lane++) {
            for (int i = 0; i < w.op.n / 2; i++) {
                acc->values[accumulator_index(lane, i, w.op.n)] = w.d[lane][i];
                w.d[lane][i] = NAN;
            }
        }
    }
    acc->references++;
}

static void check_issue(const Warp &warp, const WgmmaOp &w) {
    if (self->warp % cluster.cta_warps / 4 * 4 + 4 > cluster.cta_warps) {
        fail("wgmma at %s by a warp of an incomplete warpgroup", text_of(w.site).c_str());
    }
    if (!warp.wgmma_fenced) {
        fail("wgmma at %s: no wgmma.fence since its registers were last readable",
             text_of(w.site).c_str());
    }
    for (uint64_t bits : {w.op.a_regs ? w.op.b_desc : w.op.a_desc, w.op.b_desc}) {
        Descriptor d = descriptor_of(bits);
        uint32_t row = d.start >> 7 & 7;
        if (d.chunks == 8 && row != d.base_offset) {
            fail("wgmma at %s: a 128-byte-swizzled operand starts in row %u of its 1,024-byte "
                 "pattern, base offset %u",
                 text_of(w.site).c_str(), row, d.base_offset);
        }
    }
}

static void issue_execute(void **operands, uint32_t) {
    Warp &warp = own_warp();
    const WgmmaOperands &first = *static_cast<WgmmaOperands *>(operands[0]);
    WgmmaOp w = {*first.op, first.site, ++warp.wgmma_clock, {}, {}, {}};
    gather_registers(w, operands);
    check_issue(warp, w);
    w.b.resize(size_t(16 * w.op.n));
    read_operands(w, w.a, w.b, true);
    take_accumulators(warp, w);
    warp.wgmma.push_back(w);
}

void wgmma_issue(float *d, const Wgmma &op, Site site) {
    WgmmaOperands operands{d, &op, site};
    collective(issue_execute, full_mask(), &operands, "wgmma.mma_async", site);
}

static float value_of(uint16_t bits, Half type) {
    return type == HALF_BF16 ? pk_f32_of_bf16(bits) : pk_f32_of_f16(bits);
}

static void multiply(const WgmmaOp &w, std::vector<float> &d) {
    size_t n = size_t(w.op.n);
    if (!w.op.accumulate) {
        d.assign(d.size(), 0.0f);
    }
    std::vector<float> b(w.b.size());
    for (size_t i = 0; i < b.size(); i++) {
        b[i] = value_of(w.b[i], w.op.type);
    }
    for (size_t row = 0; row < 16; row++) {
        for (size_t k = 0; k < 16; k++) {
            float a = value_of(w.a[row][k], w.op.type);
            for (size_t j = 0; j < n; j++) {
                d[row * n + j] += a * b[k * n + j];
            }
        }
    }
}

static void complete(Warp &warp, const WgmmaOp &w) {
    uint16_t a[16][16];
    std::vector<uint16_t> b(w.b.size());
    memcpy(a, w.a, sizeof a);
    read_operands(w, a, b, false);
    if (b != w.b || memcmp(a, w.a, sizeof a) != 0) {
        fail("wgmma at %s: its shared-memory operands changed while it was in flight",
             text_of(w.site).c_str());
    }
    WgmmaAccumulators *acc = accumulators_of(warp, w.d[0]);
    multiply(w, acc->values);
    for (uint32_t lane = 0; race_on && lane < LANES; lane++) {
        clock_of(lane_thread(lane))[component_of_wgmma(self->warp)] = w.clock;
    }
    if (--acc->references > 0) {
        return;
    }
    for (uint32_t lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < acc->n / 2; i++) {
            acc->d[lane][i] = acc->values[accumulator_index(lane, i, acc->n)];
        }
    }
    warp.accumulators.erase(warp.accumulators.begin() + (acc - &warp.accumulators[0]));
}

static void wait_execute(void **operands, uint32_t) {
    Warp &warp = own_warp();
    size_t keep = *static_cast<size_t *>(operands[0]);
    if (warp.wgmma_groups.size() <= keep) {
        return;
    }
    size_t done = warp.wgmma_groups.size() - keep, end = warp.wgmma_groups[done - 1];
    for (size_t i = 0; i < end; i++) {
        complete(warp, warp.wgmma[i]);
    }
    warp.wgmma.erase(warp.wgmma.begin(), warp.wgmma.begin() + long(end));
    warp.wgmma_groups.erase(warp.wgmma_groups.begin(), warp.wgmma_groups.begin() + long(done));
    for (size_t &group : warp.wgmma_groups) {
        group -= end;
    }
    if (warp.wgmma.empty()) {
        warp.wgmma_fenced = false;
    }
}

static void fence_execute(void **, uint32_t) {
    own_warp().wgmma_fenced = true;
}

static void commit_execute(void **, uint32_t) {
    own_warp().wgmma_groups.push_back(own_warp().wgmma.size());
}

void wgmma_fence(Site site) {
    collective(fence_execute, full_mask(), nullptr, "wgmma.fence", site);
}

void wgmma_commit(Site site) {
    collective(commit_execute, full_mask(), nullptr, "wgmma.commit_group", site);
}

void wgmma_wait(int groups_in_flight, Site site) {
    size_t keep = size_t(groups_in_flight);
    collective(wait_execute, full_mask(), &keep, "wgmma.wait_group", site);
}

} // namespace emu
