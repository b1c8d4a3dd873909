/* Warp collectives, __syncwarp, and the sixteen barriers of a CTA. */
#include "kernels/emu/race.hpp"

#include <cstring>

namespace emu {

uint32_t lane_index() {
    return self->lane;
}

uint32_t full_mask() {
    return 0xffffffffu;
}

static bool same_site(Site a, Site b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

/* The open collective that this lane joins; fails where the warp has diverged. */
static Collective *open_collective(CollectiveFn *execute, uint32_t mask, const char *name,
                                   Site site) {
    Warp &warp = own_warp();
    for (Collective &c : warp.open) {
        if (c.mask == mask && c.execute == execute && same_site(c.site, site)) {
            return &c;
        }
        if ((c.mask >> self->lane & 1) && (c.arrived & mask)) {
            fail("divergence: %s (mask %#x) at %s meets lanes %#x that wait in %s (mask %#x) at %s",
                 name, mask, text_of(site).c_str(), c.arrived, c.name, c.mask,
                 text_of(c.site).c_str());
        }
    }
    uint32_t absent = mask & (warp.exited | ~warp.exist);
    if (absent != 0) {
        fail("%s at %s: the mask %#x names lanes that do not exist or have exited (%#x)", name,
             text_of(site).c_str(), mask, absent);
    }
    warp.open.push_back({execute, mask, 0, name, site, {}});
    return &warp.open.back();
}

void collective(CollectiveFn *execute, uint32_t mask, void *operands, const char *name, Site site) {
    if (!(mask >> self->lane & 1)) {
        fail("%s at %s: the lane is not in its own mask %#x", name, text_of(site).c_str(), mask);
    }
    Collective *entry = open_collective(execute, mask, name, site);
    entry->operands[self->lane] = operands;
    entry->arrived |= 1u << self->lane;
    if (entry->arrived != mask) {
        block(name, site);
        return;
    }
    Warp &warp = own_warp();
    Collective complete = *entry;
    *entry = warp.open.back();
    warp.open.pop_back();
    execute(complete.operands, mask);
    for (uint32_t lane = 0; lane < LANES; lane++) {
        if ((mask >> lane & 1) && lane != self->lane) {
            make_runnable(lane_thread(lane));
        }
    }
}

static void sync_warp_execute(void **, uint32_t mask) {
    Clock clock;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        if (mask >> lane & 1) {
            clock_release(lane_thread(lane), clock);
        }
    }
    for (uint32_t lane = 0; lane < LANES; lane++) {
        if (mask >> lane & 1) {
            clock_acquire(lane_thread(lane), clock);
        }
    }
}

void sync_warp(uint32_t mask, Site site) {
    collective(sync_warp_execute, mask, nullptr, "__syncwarp", site);
}

/* A lane that differs with the seed: code must not rely on lane 0. */
static void elect_execute(void **operands, uint32_t) {
    uint32_t chosen = uint32_t(config.seed * 7 + self->warp * 13) % LANES;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        *static_cast<bool *>(operands[lane]) = lane == chosen;
    }
}

bool elect_one(Site site) {
    bool elected = false;
    collective(elect_execute, full_mask(), &elected, "elect.sync", site);
    return elected;
}

/* ---- barriers: a warp gathers first and then arrives as a whole (the .aligned forms) ---- */

struct BarrierOperands {
    int id, threads; /* threads -1: every living thread of the CTA */
    bool waits;
    Site site;
};

static void barrier_release(Barrier &barrier) {
    int votes = 0;
    for (uint32_t id : barrier.waiters) {
        votes += cluster.threads[id].vote != 0;
    }
    std::vector<uint32_t> waiters;
    waiters.swap(barrier.waiters);
    for (uint32_t id : waiters) {
        Thread &thread = cluster.threads[id];
        clock_acquire(thread, barrier.clock);
        thread.vote = votes;
        thread.barrier_pending = false;
        if (thread.barrier_blocked) {
            thread.barrier_blocked = false;
            make_runnable(thread);
        }
    }
    barrier.count = 0;
    barrier.clock.clear();
    memset(barrier.arrived, 0, sizeof barrier.arrived);
    stats.barriers++;
}

static void barrier_check(Cta &cta, int id) {
    Barrier &barrier = cta.barriers[id];
    int wanted = barrier.expected < 0 ? int(cta.alive) : barrier.expected;
    if (barrier.count > wanted) {
        fail("barrier %d: %d threads arrived, %d expected", id, barrier.count, wanted);
    }
    if (barrier.count > 0 && barrier.count == wanted) {
        barrier_release(barrier);
    }
}

void barriers_recheck(Cta &cta) {
    for (int id = 0; id < int(BARRIERS); id++) {
        if (cta.barriers[id].count > 0 && cta.barriers[id].expected < 0) {
            barrier_check(cta, id);
        }
    }
}

static void barrier_divergence(const Barrier &barrier, const BarrierOperands &own) {
    for (uint32_t w = 0; w < cluster.cta_warps; w++) {
        if (barrier.arrived[w] && !same_site(barrier.sites[w], own.site)) {
            fail("divergent __syncthreads: %s here, %s in warp %u", text_of(own.site).c_str(),
                 text_of(barrier.sites[w]).c_str(), w);
        }
    }
}

static void barrier_execute(void **operands, uint32_t mask) {
    const BarrierOperands &own = *static_cast<BarrierOperands *>(operands[self->lane]);
    Cta &cta = own_cta();
    Barrier &barrier = cta.barriers[own.id];
    uint32_t w = self->warp % cluster.cta_warps;
    if (barrier.count == 0) {
        barrier.expected = own.threads;
    }
    if (barrier.expected != own.threads) {
        fail("barrier %d at %s expects %d threads, %d before", own.id, text_of(own.site).c_str(),
             own.threads, barrier.expected);
    }
    if (barrier.arrived[w]) {
        fail("barrier %d: warp %u arrives a second time, at %s and before at %s", own.id, w,
             text_of(own.site).c_str(), text_of(barrier.sites[w]).c_str());
    }
    if (own.threads < 0) {
        barrier_divergence(barrier, own);
    }
    barrier.arrived[w] = true;
    barrier.sites[w] = own.site;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        if (!(mask >> lane & 1)) {
            continue;
        }
        const BarrierOperands &other = *static_cast<BarrierOperands *>(operands[lane]);
        if (other.id != own.id || other.threads != own.threads) {
            fail("the lanes of a warp name different barriers (%d, %d) at %s", own.id, other.id,
                 text_of(own.site).c_str());
        }
        Thread &thread = lane_thread(lane);
        clock_release(thread, barrier.clock);
        if (own.waits) {
            thread.barrier_pending = true;
            barrier.waiters.push_back(thread.id);
        }
    }
    /* Named barriers count whole warps, exited lanes too. */
    barrier.count += own.threads < 0 ? __builtin_popcount(mask) : int(LANES);
    barrier_check(cta, own.id);
}

static void barrier_enter(int id, int threads, bool waits, const char *name, Site site) {
    if (id < 0 || id >= int(BARRIERS) || (threads >= 0 && (threads == 0 || threads % 32 != 0))) {
        fail("%s at %s: barrier %d with %d threads is not valid", name, text_of(site).c_str(), id,
             threads);
    }
    BarrierOperands operands{id, threads, waits, site};
    Warp &warp = own_warp();
    collective(barrier_execute, warp.exist & ~warp.exited, &operands, name, site);
    if (waits && self->barrier_pending) {
        self->barrier_blocked = true;
        block(name, site);
    }
}

void sync_threads(Site site) {
    barrier_enter(0, -1, true, "__syncthreads", site);
}

int sync_threads_count(int predicate, Site site) {
    self->vote = predicate != 0;
    barrier_enter(0, -1, true, "__syncthreads_count", site);
    return self->vote;
}

void barrier_sync(int id, int threads, Site site) {
    barrier_enter(id, threads, true, "bar.sync", site);
}

void barrier_arrive(int id, int threads, Site site) {
    barrier_enter(id, threads, false, "bar.arrive", site);
}

} // namespace emu
