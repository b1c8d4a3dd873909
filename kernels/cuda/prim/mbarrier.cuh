/* mbarriers, 8 bytes of shared memory each. A phase completes when all arrivals are in and as many
 * bytes have landed as were expected; waiting for parity p returns when a phase of parity p has
 * completed. The first phase has parity 0, so waiting for 1 on a fresh barrier returns at once. */
#ifndef PK_CUDA_PRIM_MBARRIER_CUH
#define PK_CUDA_PRIM_MBARRIER_CUH

#include "kernels/cuda/prim/gpu.cuh"

namespace ptx {

#ifdef PK_EMULATE

PTX_FN void mbarrier_init(uint32_t barrier, uint32_t arrivals PTX_SITE) {
    emu::mbarrier_init(barrier, arrivals, site);
}
/* Makes the thread's inits visible to the async proxy and the cluster, and nothing else. Other
 * threads still need a barrier (of the cluster, where the peer uses them). */
PTX_FN void mbarrier_init_fence() {
    emu::mbarrier_init_fence();
}
PTX_FN void mbarrier_arrive(uint32_t barrier PTX_SITE) {
    emu::mbarrier_arrive(barrier, 0, site);
}
/* One arrival that also expects `bytes` of bulk loads in this phase. */
PTX_FN void mbarrier_arrive_expect(uint32_t barrier, uint32_t bytes PTX_SITE) {
    emu::mbarrier_arrive(barrier, bytes, site);
}
/* barrier: from cluster_map. */
PTX_FN void mbarrier_arrive_cluster(uint32_t barrier PTX_SITE) {
    emu::mbarrier_arrive(barrier, 0, site);
}
PTX_FN bool mbarrier_test(uint32_t barrier, uint32_t parity PTX_SITE) {
    return emu::mbarrier_test(barrier, parity, site);
}
PTX_FN void mbarrier_wait(uint32_t barrier, uint32_t parity PTX_SITE) {
    emu::mbarrier_wait(barrier, parity, site);
}

#else

PTX_FN void mbarrier_init(uint32_t barrier, uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}
PTX_FN void mbarrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
PTX_FN void mbarrier_arrive(uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
PTX_FN void mbarrier_arrive_expect(uint32_t barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}
PTX_FN void mbarrier_arrive_cluster(uint32_t barrier) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(barrier)
                 : "memory");
}
PTX_FN bool mbarrier_test(uint32_t barrier, uint32_t parity) {
    uint32_t done;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return done != 0;
}
#ifdef PK_BOUND_WAITS
PTX_FN void mbarrier_wait(uint32_t barrier, uint32_t parity, int line = __builtin_LINE()) {
    const long long began = clock64();
    while (!mbarrier_test(barrier, parity)) {
        if (clock64() - began > pk::STALL_CLOCKS) {
            pk::stall(barrier, parity, line);
        }
    }
}
#else
PTX_FN void mbarrier_wait(uint32_t barrier, uint32_t parity) {
    while (!mbarrier_test(barrier, parity)) {
    }
}
#endif

#endif

} // namespace ptx

#endif
