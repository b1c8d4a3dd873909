/* Happens-before race checking. Internal.
 *
 * Each actor of the running cluster owns one component of a vector clock: a thread, its cp.async
 * copies, a warp's wgmma reads, an mbarrier's bulk loads, a thread's bulk stores (reading, then
 * writing), and all earlier grids together. An access is a race when the earlier one, of which at
 * least one is a write, is not covered by the clock of the thread that makes or issues this one.
 * Barriers, __syncwarp, mbarriers and the waits of copies move clocks; shuffles, ldmatrix and mma
 * do not. Shadow memory is one cell for each byte. */
#ifndef PK_EMU_RACE_HPP
#define PK_EMU_RACE_HPP

#include "kernels/emu/state.hpp"

namespace emu {

extern bool race_on;

/* A line of the kernel: a return address, or (top bit) an interned Site. */
typedef uint64_t Where;
Where where_of(Site site);
inline Where where_of_pc(const void *pc) {
    return uint64_t(uintptr_t(pc));
}

enum Proxy { PROXY_GENERIC, PROXY_ASYNC };

struct Access {
    bool write, atomic;
    Proxy proxy;
    uint32_t component, clock; /* who, and when on its own clock */
    const Thread *viewer;      /* whose clock judges */
    Where where;
};

uint32_t component_of_copies(const Thread &thread);
uint32_t component_of_wgmma(uint32_t warp);
uint32_t component_of_mbarrier(const Cta &cta, const MBarrier &barrier);
uint32_t component_of_stores(Thread &thread, bool writes); /* takes a slot at first use */
uint32_t component_of_grids();

uint32_t *clock_of(const Thread &thread);
void clock_release(const Thread &thread, Clock &into); /* and starts the thread's next moment */
void clock_acquire(const Thread &thread, const Clock &from);

/* The access of a thread itself, now. */
Access thread_access(const Thread &thread, bool write, Where where);

void shared_access(uint32_t cta, uint32_t offset, size_t bytes, const Access &access);
void global_access(const void *pointer, size_t bytes, const Access &access);
/* An access that the compiler's hooks saw: shared, global or neither. */
void watched_access(const void *pointer, size_t bytes, bool write, Where where);

void race_start_launch(bool dependent);
void race_start_cluster();
void race_host_sync();

/* Buffers: hide what the last grid changed, for a dependent launch. */
void buffers_remember();
std::vector<Hidden> buffers_changed();

} // namespace emu

#endif
