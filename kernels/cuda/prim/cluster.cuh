/* Clusters of CTAs and programmatic dependent launch. */
#ifndef PK_CUDA_PRIM_CLUSTER_CUH
#define PK_CUDA_PRIM_CLUSTER_CUH

#include "kernels/cuda/prim/gpu.cuh"

namespace ptx {

#ifdef PK_EMULATE

PTX_FN uint32_t cluster_rank() {
    return emu::cluster_rank();
}
/* The address in CTA `rank` of what lies at `address` here. */
PTX_FN uint32_t cluster_map(uint32_t address, uint32_t rank) {
    return emu::cluster_map(address, rank);
}
/* Writes before the arrival are seen after the wait, by every thread of the cluster. */
PTX_FN void cluster_arrive(PTX_SITE_ALONE) {
    emu::cluster_arrive(site);
}
PTX_FN void cluster_wait(PTX_SITE_ALONE) {
    emu::cluster_wait(site);
}

/* Blocks until the grids before this one are complete and their writes visible. */
PTX_FN void grid_wait(PTX_SITE_ALONE) {
    emu::grid_wait(site);
}
/* A hint: the next grid may be placed. Orders nothing. */
PTX_FN void grid_launch_dependents() {
}

#else

PTX_FN uint32_t cluster_rank() {
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
PTX_FN uint32_t cluster_map(uint32_t address, uint32_t rank) {
    uint32_t mapped;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
    return mapped;
}
PTX_FN void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
PTX_FN void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* Before sm_90 no grid is ever dependent. */
PTX_FN void grid_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
PTX_FN void grid_launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#endif

} // namespace ptx

#endif
