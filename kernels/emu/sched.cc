/* Which CUDA thread runs next, and what happens when none can. */
#include "kernels/emu/race.hpp"

namespace emu {

Running running;
Thread *self;

static uint64_t random_state;
static int policy;
static uint32_t priority[WARPS_MAX];
static uint32_t sticky_warp;
static uint64_t polls;

static uint32_t random_bits() { /* xorshift64 */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return uint32_t(random_state >> 32);
}

uint32_t random_below(uint32_t limit) {
    return uint32_t((uint64_t(random_bits()) * limit) >> 32);
}

void scheduler_seed() {
    random_state = ((config.seed + 1) * 0x9e3779b97f4a7c15u) | 1;
    for (int warm_up = 0; warm_up < 8; warm_up++) {
        random_bits();
    }
    policy = config.policy == POLICY_BY_SEED ? int(config.seed % POLICY_COUNT) : config.policy;
    polls = 0;
}

void scheduler_start_cluster() {
    cluster.ready = 0;
    uint32_t warps = cluster.ctas * cluster.cta_warps;
    for (uint32_t w = 0; w < warps; w++) {
        priority[w] = 1024 + random_below(1u << 20);
    }
    sticky_warp = random_below(warps);
}

void make_runnable(Thread &thread) {
    cluster.warps[thread.warp].runnable |= 1u << thread.lane;
    cluster.ready |= uint64_t(1) << thread.warp;
}

static uint32_t lowest(uint64_t bits) {
    return uint32_t(__builtin_ctzll(bits));
}

static uint32_t highest(uint64_t bits) {
    return 63u - uint32_t(__builtin_clzll(bits));
}

static uint32_t any_of(uint64_t bits) {
    for (uint32_t skip = random_below(uint32_t(__builtin_popcountll(bits))); skip > 0; skip--) {
        bits &= bits - 1;
    }
    return lowest(bits);
}

/* The ready warp of the highest priority; now and then that priority drops below all others. */
static uint32_t by_priority() {
    uint32_t best = lowest(cluster.ready), least = ~0u;
    for (uint32_t w = 0; w < cluster.ctas * cluster.cta_warps; w++) {
        least = priority[w] < least ? priority[w] : least;
        if ((cluster.ready >> w & 1) && priority[w] > priority[best]) {
            best = w;
        }
    }
    if (random_below(512) == 0) {
        priority[best] = least > 0 ? least - 1 : 0;
    }
    return best;
}

static uint32_t pick_warp() {
    switch (policy) {
    case POLICY_ASCENDING:
        return lowest(cluster.ready);
    case POLICY_DESCENDING:
        return highest(cluster.ready);
    case POLICY_UNIFORM:
        return any_of(cluster.ready);
    case POLICY_PRIORITIES:
        return by_priority();
    default:
        if (!(cluster.ready >> sticky_warp & 1)) {
            sticky_warp = any_of(cluster.ready);
        }
        return sticky_warp;
    }
}

Thread *scheduler_pick() {
    uint32_t w = pick_warp();
    Warp &warp = cluster.warps[w];
    uint32_t lane = policy == POLICY_ASCENDING    ? lowest(warp.runnable)
                    : policy == POLICY_DESCENDING ? highest(warp.runnable)
                                                  : any_of(warp.runnable);
    warp.runnable &= ~(1u << lane);
    if (warp.runnable == 0) {
        cluster.ready &= ~(uint64_t(1) << w);
    }
    Thread &thread = cluster.threads[w * LANES + lane];
    self = &thread;
    running.thread = thread.index;
    running.block = cluster.cta[thread.cta].index;
    return &thread;
}

/* Of what a thread waits for on an mbarrier: as a bounded wait on a GPU says it (prim/stall.cuh).
 */
static std::string mbarrier_of(uint32_t t) {
    for (const MBarrierWait &wait : cluster.mbarrier_waits) {
        if (wait.thread == t) {
            const Cta &cta = cluster.cta[wait.cta];
            char text[80];
            snprintf(text, sizeof text, " of block %u, mbarrier 0x%x, parity %u", cta.index.x,
                     unsigned(cta.mbarriers[wait.mbarrier].address), unsigned(wait.parity));
            return text;
        }
    }
    return "";
}

/* "2 threads wait in X at f:1; 30 threads ...", at most six kinds. */
static std::string who_waits_where() {
    std::string text;
    std::vector<std::pair<std::string, int>> kinds;
    for (uint32_t t = 0; t < threads_padded(); t++) {
        const Thread &thread = cluster.threads[t];
        if (thread.waits_for == nullptr) {
            continue;
        }
        std::string place =
            std::string(thread.waits_for) + mbarrier_of(t) + " at " + text_of(thread.site);
        size_t k = 0;
        while (k < kinds.size() && kinds[k].first != place) {
            k++;
        }
        if (k == kinds.size()) {
            kinds.push_back({place, 0});
        }
        kinds[k].second++;
    }
    for (size_t k = 0; k < kinds.size() && k < 6; k++) {
        text += "; " + std::to_string(kinds[k].second) + " thread(s) wait in " + kinds[k].first;
    }
    return text;
}

/* The running thread cannot go on: lands copies and reveals earlier grids as late as possible. */
static void reschedule() {
    Thread *from = self;
    for (;;) {
        if (!cluster.loads.empty() && (cluster.ready == 0 || random_below(64) == 0)) {
            bulk_load_land(random_below(uint32_t(cluster.loads.size())));
        } else if (cluster.ready != 0) {
            break;
        } else if (cluster.alive == 0) {
            self = nullptr;
            fiber_switch(from, nullptr);
        } else if (!grids_reveal()) {
            static std::string text; /* outlives this fiber, which ends here */
            text = who_waits_where();
            fail("deadlock: no thread can run%s", text.c_str());
        }
    }
    Thread *to = scheduler_pick();
    stats.switches++;
    if (to != from) {
        fiber_switch(from, to);
    }
}

void block(const char *waits_for, Site site) {
    Thread &thread = *self;
    thread.waits_for = waits_for;
    thread.site = site;
    reschedule();
    thread.waits_for = nullptr;
}

void poll_failed(Site site) {
    if (++polls > config.polls_max) {
        fail("%llu polls and atomics in one launch, the last at %s: a spin that nothing can end",
             static_cast<unsigned long long>(polls), text_of(site).c_str());
    }
    make_runnable(*self);
    block("a poll", site);
}

static void check_remote_arrivals(const Cta &cta) {
    for (const RemoteArrival &arrival : cta.remote_arrivals) {
        if (race_on && cta.exit_clock[arrival.thread] < arrival.clock) {
            fail("the CTA exits, and nothing orders the remote mbarrier.arrive at %s before that",
                 text_of(arrival.site).c_str());
        }
    }
}

void leave_cta() {
    Thread &thread = *self;
    Cta &cta = own_cta();
    Warp &warp = own_warp();
    if (thread.copies_landed < thread.copies.size()) {
        fail("the thread exits with %zu cp.async copies that it never waited for",
             thread.copies.size() - thread.copies_landed);
    }
    if (!warp.wgmma.empty()) {
        fail("the warp exits with wgmma operations that it never waited for, the last at %s",
             text_of(warp.wgmma.back().site).c_str());
    }
    bulk_store_finish(thread);
    warp.exited |= 1u << thread.lane;
    cta.alive--;
    cluster.alive--;
    clock_release(thread, cta.exit_clock);
    if (cta.alive == 0) {
        check_remote_arrivals(cta);
    }
    for (const Collective &c : warp.open) {
        if (c.mask >> thread.lane & 1) {
            fail("the lane exits while lanes %#x wait for it in %s at %s", c.arrived, c.name,
                 text_of(c.site).c_str());
        }
    }
    barriers_recheck(cta);
    cluster_barrier_recheck();
    reschedule();
}

} // namespace emu
