/* Clusters: ranks, mapped addresses, the cluster barrier. Dependent launch: what the grid before
 * changed is NaN until a thread waits and nothing else can run. */
#include "kernels/emu/race.hpp"

#include <cstring>

namespace emu {

Cluster cluster;

uint32_t cluster_rank() {
    return self->cta;
}

uint32_t cluster_map(uint32_t address, uint32_t rank) {
    if (rank >= cluster.ctas) {
        fail("mapa: rank %u of a cluster of %u", rank, cluster.ctas);
    }
    return address % SMEM_WINDOW + (rank + 1) * SMEM_WINDOW;
}

/* ---- barrier.cluster: release at the arrival, acquire at the wait ---- */

void cluster_barrier_recheck() {
    if (cluster.barrier_count == 0 || cluster.barrier_count < cluster.alive) {
        return;
    }
    cluster.barrier_phase++;
    cluster.barrier_count = 0;
    cluster.barrier_published = cluster.barrier_arriving;
    for (uint32_t w = 0; w < cluster.ctas * cluster.cta_warps; w++) {
        cluster.warps[w].cluster_arrived = false;
    }
    for (uint32_t t = 0; t < threads_padded(); t++) {
        Thread &thread = cluster.threads[t];
        if (thread.waits_cluster) {
            thread.waits_cluster = false;
            make_runnable(thread);
        }
    }
}

static void arrive_execute(void **, uint32_t mask) {
    Warp &warp = own_warp();
    if (warp.cluster_arrived) {
        fail("barrier.cluster.arrive: the warp arrives a second time before the barrier completes");
    }
    warp.cluster_arrived = true;
    warp.cluster_phase = cluster.barrier_phase;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        if (mask >> lane & 1) {
            clock_release(lane_thread(lane), cluster.barrier_arriving);
        }
    }
    cluster.barrier_count += uint32_t(__builtin_popcount(mask));
    cluster_barrier_recheck();
}

void cluster_arrive(Site site) {
    Warp &warp = own_warp();
    collective(arrive_execute, warp.exist & ~warp.exited, nullptr, "barrier.cluster.arrive", site);
}

void cluster_wait(Site site) {
    Thread &thread = *self;
    if (cluster.barrier_phase == own_warp().cluster_phase) {
        if (!own_warp().cluster_arrived) {
            fail("barrier.cluster.wait at %s without an arrival", text_of(site).c_str());
        }
        thread.waits_cluster = true;
        block("barrier.cluster.wait", site);
    }
    clock_acquire(thread, cluster.barrier_published);
}

/* ---- griddepcontrol ---- */

static bool dependent;
static std::vector<Hidden> hidden;
static bool concealed, waited;

void grids_start_launch(bool dependent_) {
    dependent = dependent_;
    concealed = false;
    hidden.clear();
    if (dependent) {
        hidden = buffers_changed();
    }
    buffers_remember();
}

void grids_hide() {
    concealed = dependent && !hidden.empty();
    waited = false;
    for (Hidden &run : hidden) {
        memcpy(run.bytes.data(), run.at, run.bytes.size());
        memset(run.at, 0xff, run.bytes.size());
    }
}

static bool show() {
    bool untouched = true;
    for (Hidden &run : hidden) {
        for (size_t i = 0; i < run.bytes.size(); i++) {
            untouched &= run.at[i] == 0xff;
            run.at[i] = run.bytes[i];
        }
    }
    concealed = false;
    return untouched;
}

bool grids_reveal() {
    bool woken = false;
    for (uint32_t t = 0; t < threads_padded(); t++) {
        Thread &thread = cluster.threads[t];
        if (thread.waits_grids) {
            thread.waits_grids = false;
            make_runnable(thread);
            woken = true;
        }
    }
    if (woken && concealed && !show()) {
        fail("a thread wrote to memory of the earlier grid before griddepcontrol.wait");
    }
    return woken;
}

void grids_end_cluster() {
    if (concealed) {
        show();
    }
    if (dependent && !waited) {
        note_error(std::string(shape.name) + ": a block of a dependent launch ended without "
                                             "griddepcontrol.wait");
        aborting = true;
    }
}

void grid_wait(Site site) {
    waited = true;
    if (concealed) {
        self->waits_grids = true;
        block("griddepcontrol.wait", site);
    }
    if (race_on) {
        clock_of(*self)[component_of_grids()] = 1;
    }
}

} // namespace emu
