/* Shared addresses, cp.async, and the fences between the generic and the async proxy. */
#ifndef PK_CUDA_PRIM_COPY_CUH
#define PK_CUDA_PRIM_COPY_CUH

#include "kernels/cuda/prim/gpu.cuh"

namespace ptx {

#ifdef PK_EMULATE

PTX_FN uint32_t smem_address(const void *pointer) {
    return emu::smem_address(pointer);
}

/* 16 bytes, of which the first `bytes` come from src and the rest are zero. */
PTX_FN void cp_async16(uint32_t dst, const void *src, int bytes PTX_SITE) {
    emu::copy_async(dst, src, 16, bytes, site);
}
PTX_FN void cp_async_commit() {
    emu::copy_async_commit();
}
/* Returns when at most N of the thread's groups are in flight. */
template <int N> PTX_FN void cp_async_wait() {
    emu::copy_async_wait(N);
}

/* The thread's generic writes before it are seen by bulk copies and wgmma ordered after it. */
PTX_FN void fence_proxy_async_shared() {
    emu::proxy_fence(true, false);
}
PTX_FN void fence_proxy_async_global() {
    emu::proxy_fence(false, true);
}

/* Named barriers: whole warps; `threads` counts those that sync and those that arrive. */
PTX_FN void barrier_sync(int id, int threads PTX_SITE) {
    emu::barrier_sync(id, threads, site);
}
PTX_FN void barrier_arrive(int id, int threads PTX_SITE) {
    emu::barrier_arrive(id, threads, site);
}

/* True in one lane of the warp, any. */
PTX_FN bool elect_one(PTX_SITE_ALONE) {
    return emu::elect_one(site);
}

/* Register budgets of warpgroups. */
template <int N> PTX_FN void registers_raise() {
}
template <int N> PTX_FN void registers_lower() {
}

#else

PTX_FN uint32_t smem_address(const void *pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

PTX_FN void cp_async16(uint32_t dst, const void *src, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src), "r"(bytes)
                 : "memory");
}
PTX_FN void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N> PTX_FN void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

PTX_FN void fence_proxy_async_shared() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
PTX_FN void fence_proxy_async_global() {
    asm volatile("fence.proxy.async.global;" ::: "memory");
}

PTX_FN void barrier_sync(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
PTX_FN void barrier_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

PTX_FN bool elect_one() {
    uint32_t elected;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "elect.sync _|p, 0xffffffff;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}"
                 : "=r"(elected));
    return elected != 0;
}

template <int N> PTX_FN void registers_raise() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> PTX_FN void registers_lower() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

#endif

} // namespace ptx

#endif
