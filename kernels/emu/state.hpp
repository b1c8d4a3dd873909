/* What the emulator's parts share: the running cluster and its threads. Internal. */
#ifndef PK_EMU_STATE_HPP
#define PK_EMU_STATE_HPP

#include "kernels/emu/emu.hpp"

#include <vector>

namespace emu {

enum : uint32_t {
    LANES = 32,
    CTA_THREADS_MAX = 1024,
    CLUSTER_MAX = 2, /* what our kernels use; hardware allows 8 portably */
    CTA_WARPS_MAX = CTA_THREADS_MAX / LANES,
    WARPS_MAX = CTA_WARPS_MAX * CLUSTER_MAX, /* one bit each in a uint64_t */
    THREADS_MAX = CTA_THREADS_MAX * CLUSTER_MAX,
    BARRIERS = 16,                   /* named barriers of a CTA, PTX ISA */
    MBARRIERS_MAX = 64,              /* of a CTA; ours */
    STORERS_MAX = 32,                /* threads of a cluster that issue bulk stores; ours */
    TRANSACTION_BYTES_MAX = 0xfffff, /* tx-count of an mbarrier, PTX ISA */
    SMEM_BASE = 1024,                /* shared addresses start here, so that 0 is none */
    SMEM_BYTES_MAX = 227 * 1024,     /* of a CTA on sm_90 */
    SMEM_ARENA = 256 * 1024,         /* that, redzones and misplacement */
    SMEM_REDZONE = 64,               /* unusable bytes behind every region */
    SMEM_WINDOW = 1u << 24,          /* a mapped address carries (rank + 1) * SMEM_WINDOW */
    NO_THREAD = 0xffffffffu
};

typedef std::vector<uint32_t> Clock; /* a vector clock, or empty: zero everywhere */

struct PendingCopy { /* cp.async */
    uint32_t dst;
    const uint8_t *src;
    uint32_t bytes_dst, bytes_src, clock;
};

struct PendingStore { /* bulk store */
    TensorMap map;
    int col, row;
    uint32_t src, clock;
    Site site;
    std::vector<uint8_t> taken; /* the source as it was at issue */
    bool read;                  /* the source has been read for good */
};

struct Thread {
    void *stack_pointer;
    uint3 index;
    uint32_t id, lane, warp, cta; /* id and warp count over the cluster */
    const char *waits_for;
    Site site;
    bool barrier_pending, barrier_blocked;
    int vote; /* operand, then result, of __syncthreads_count */
    std::vector<PendingCopy> copies;
    std::vector<size_t> copy_groups; /* ends in `copies` */
    size_t copies_landed;
    uint32_t copy_clock;
    std::vector<PendingStore> stores;
    std::vector<size_t> store_groups;
    uint32_t store_slot, store_clock; /* slot: its pair of clock components, or NO_THREAD */
    /* Own clock, and own copies landed, at the last proxy fence of each space. */
    uint32_t shared_fence, shared_fence_copies, global_fence;
    bool fenced;      /* __threadfence since the start */
    bool waits_grids; /* in griddepcontrol.wait */
    bool waits_cluster;
};

struct Collective {
    CollectiveFn *execute;
    uint32_t mask, arrived;
    const char *name;
    Site site;
    void *operands[LANES];
};

struct WgmmaOp {
    Wgmma op;
    Site site;
    uint32_t clock;
    float *d[LANES];
    uint16_t a[16][16];
    std::vector<uint16_t> b; /* [16][n] */
};
struct WgmmaAccumulators { /* of one d while operations on it are in flight */
    float *d[LANES];
    int n, references;
    std::vector<float> values; /* [16][n] */
};

struct Warp {
    uint32_t exist, exited, runnable; /* lanes */
    std::vector<Collective> open;
    std::vector<WgmmaOp> wgmma;
    std::vector<size_t> wgmma_groups;
    std::vector<WgmmaAccumulators> accumulators;
    uint32_t wgmma_clock;
    bool wgmma_fenced;
    bool cluster_arrived;
    uint32_t cluster_phase; /* of its last arrival */
};

struct Barrier {
    int expected, count; /* expected -1: every living thread of the CTA */
    std::vector<uint32_t> waiters;
    bool arrived[CTA_WARPS_MAX];
    Site sites[CTA_WARPS_MAX];
    Clock clock;
};

struct MBarrier {
    uint32_t address;
    int expected, pending;
    int64_t bytes;
    uint32_t phase;
    Clock arriving, published;
    uint32_t init_thread, init_clock;
    Site init_site;
    bool async_visible;   /* its init is fenced for the async proxy of its CTA */
    bool cluster_visible; /* and for the cluster */
    uint32_t copies, copies_published, copies_observed;
};

struct MBarrierWait {
    uint32_t thread, cta, mbarrier, parity;
};

struct RemoteArrival { /* on an mbarrier of this CTA by a thread of another */
    uint32_t thread, clock;
    Site site;
};

struct Region {
    const void *key;
    uint32_t offset, bytes;
};

struct Cta {
    uint3 index;
    uint8_t *smem;
    uint32_t alive;
    std::vector<Region> regions; /* [0] is the dynamic region, possibly of 0 bytes */
    uint32_t smem_top;
    Barrier barriers[BARRIERS];
    std::vector<MBarrier> mbarriers;
    std::vector<RemoteArrival> remote_arrivals;
    Clock exit_clock;
};

struct BulkLoad {
    uint32_t cta, dst, bytes, mbarrier, clock;
    const uint8_t *src; /* NULL: a box of `map` */
    TensorMap map;
    int col, row;
};

struct Cluster {
    uint32_t epoch; /* counts clusters since the process started; names one in shadow cells */
    uint32_t ctas, cta_threads, cta_warps;
    uint32_t alive;
    uint64_t ready; /* warps with a runnable lane */
    Cta cta[CLUSTER_MAX];
    Warp warps[WARPS_MAX];
    Thread threads[THREADS_MAX];
    std::vector<BulkLoad> loads;
    std::vector<MBarrierWait> mbarrier_waits;
    uint32_t storers;
    uint32_t barrier_count, barrier_phase;
    Clock barrier_arriving, barrier_published;
};

extern Cluster cluster;
extern Thread *self; /* the running CUDA thread, or NULL on the host */
extern Shape shape;
extern bool aborting;

inline Cta &own_cta() {
    return cluster.cta[self->cta];
}
inline Warp &own_warp() {
    return cluster.warps[self->warp];
}
inline uint32_t threads_padded() { /* of the cluster, whole warps */
    return cluster.ctas * cluster.cta_warps * LANES;
}
inline Thread &lane_thread(uint32_t lane) { /* of the running warp */
    return cluster.threads[self->warp * LANES + lane];
}

/* ---- report.cc ---- */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void note_error(const std::string &text); /* the first one stays; does not stop anything */
std::string line_of(const void *pc);      /* "file:line" through addr2line, or "?" */
std::string text_of(Site site);

/* ---- sched.cc ---- */
uint32_t random_below(uint32_t limit);
void scheduler_seed();
void scheduler_start_cluster();
Thread *scheduler_pick();
void make_runnable(Thread &thread);
void block(const char *waits_for, Site site); /* returns when somebody made it runnable */
void poll_failed(Site site);                  /* lets others run; ends the launch when spent */
void leave_cta();                             /* the running thread is done */

/* ---- fiber.cc ---- */
void fibers_open();
void fiber_prepare(Thread &thread, void (*entry)());
void fiber_switch(Thread *from, Thread *to); /* NULL: the host */
void fiber_entered();                        /* first thing in `entry` */
void fibers_forget();                        /* after a cluster ended in the middle */

/* ---- smem.cc ---- */
struct Place {
    uint32_t cta, offset;
    uint8_t *bytes;
};
/* Checks alignment and that [address, + bytes) lies in one region; `what` names the instruction. */
Place smem_place(uint32_t address, size_t bytes, size_t align, const char *what, Site site);
void smem_start_cluster(uint32_t placement);
void smem_end_cluster();

/* ---- bulk.cc, store.cc, cluster.cc, mbarrier.cc, warp.cc ---- */
uint32_t swizzled(uint32_t offset, uint32_t swizzle_bytes);
void bulk_load_land(size_t index);
bool grids_reveal(); /* true: some thread can run now */
void bulk_store_finish(Thread &thread);
MBarrier &mbarrier_at(uint32_t address, const char *what, Site site, Place *place);
void mbarrier_progress(Cta &cta, MBarrier &barrier);
void barriers_recheck(Cta &cta);
void cluster_start();
void cluster_end();
void cluster_barrier_recheck();

/* What the grid before changed, out of sight until the wait. */
struct Hidden {
    uint8_t *at;
    std::vector<uint8_t> bytes;
};
void grids_hide(); /* at the start of a cluster of a dependent launch */
void grids_end_cluster();
void grids_start_launch(bool dependent);

} // namespace emu

#endif
