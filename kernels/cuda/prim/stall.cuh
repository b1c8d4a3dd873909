/* Test builds for a GPU (PK_BOUND_WAITS): a wait that nothing ends leaves a record and ends its
 * kernel. The record lies in page-locked memory of the host, which outlives the context that a trap
 * ends. No printf: its call would make ptxas serialize every wgmma of the kernel (C7510), and what
 * is tested would not be what is served. Included by gpu.cuh; the emulation reports such a wait as
 * a deadlock, with the same words. */
#ifndef PK_CUDA_PRIM_STALL_CUH
#define PK_CUDA_PRIM_STALL_CUH

#ifdef PK_BOUND_WAITS

#include <cstdio>
#include <cstring>
#include <string>

namespace pk {

/* What a bounded wait leaves; written in one piece. */
struct alignas(16) Stall {
    uint32_t block, thread_parity; /* the parity in the lowest bit */
    uint32_t barrier, line;        /* line 0: no record */
};

constexpr unsigned STALLS = 64; /* of the blocks whose number ends alike, the last */
constexpr long long STALL_CLOCKS = 4000000000ll; /* about two seconds at 1.98 GHz */

/* STALLS records that host and device see at one address, or NULL. */
inline Stall *stall_records() {
    static Stall *const records = [] {
        void *memory = nullptr;
        if (cudaHostAlloc(&memory, STALLS * sizeof(Stall), cudaHostAllocMapped) != cudaSuccess) {
            return static_cast<Stall *>(nullptr);
        }
        memset(memory, 0, STALLS * sizeof(Stall));
        return static_cast<Stall *>(memory);
    }();
    return records;
}

/* One line for each record, "" for none. */
inline std::string stall_text(const Stall *records) {
    std::string text;
    for (unsigned i = 0; records != nullptr && i < STALLS; i++) {
        const Stall &stall = records[i];
        if (stall.line != 0) {
            char line[120];
            snprintf(
                line, sizeof line,
                "\n  thread %u waits in mbarrier.try_wait of block %u, mbarrier 0x%x, parity %u "
                "at line %u",
                stall.thread_parity >> 1, stall.block, stall.barrier, stall.thread_parity & 1,
                stall.line);
            text += line;
        }
    }
    return text;
}

[[maybe_unused]] static __device__ Stall *stall_place; /* of this translation unit */

/* Tells this translation unit's kernels where the records lie. */
static inline int stall_attach() {
    static const int code = [] {
        Stall *const records = stall_records();
        return int(cudaMemcpyToSymbol(stall_place, &records, sizeof records));
    }();
    return code;
}

static __device__ __forceinline__ void stall(uint32_t barrier, uint32_t parity, int line) {
    if (stall_place != nullptr) {
        const uint4 record = {blockIdx.x, threadIdx.x << 1 | (parity & 1), barrier, uint32_t(line)};
        reinterpret_cast<uint4 *>(stall_place)[blockIdx.x % STALLS] = record;
        __threadfence_system();
    }
    __trap();
}

} // namespace pk

#endif

#endif
