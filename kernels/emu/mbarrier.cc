/* mbarriers: arrivals, transaction bytes, phases. */
#include "kernels/emu/race.hpp"

namespace emu {

MBarrier &mbarrier_at(uint32_t address, const char *what, Site site, Place *place) {
    *place = smem_place(address, 8, 8, what, site);
    for (MBarrier &barrier : cluster.cta[place->cta].mbarriers) {
        if (barrier.address != SMEM_BASE + place->offset) {
            continue;
        }
        if (race_on && clock_of(*self)[barrier.init_thread] < barrier.init_clock) {
            fail("%s at %s: the mbarrier.init by thread %u at %s is not ordered before this use",
                 what, text_of(site).c_str(), barrier.init_thread,
                 text_of(barrier.init_site).c_str());
        }
        if (place->cta != self->cta && !barrier.cluster_visible) {
            fail("%s at %s: no fence.mbarrier_init made the mbarrier of %s visible to the cluster",
                 what, text_of(site).c_str(), text_of(barrier.init_site).c_str());
        }
        return barrier;
    }
    fail("%s at %s: shared address %#x is no initialised mbarrier", what, text_of(site).c_str(),
         address);
}

void mbarrier_init(uint32_t address, uint32_t arrivals, Site site) {
    Place place = smem_place(address, 8, 8, "mbarrier.init", site);
    Cta &cta = cluster.cta[place.cta];
    for (const MBarrier &barrier : cta.mbarriers) {
        if (barrier.address == SMEM_BASE + place.offset) {
            fail("mbarrier.init at %s: the address already holds the mbarrier of %s",
                 text_of(site).c_str(), text_of(barrier.init_site).c_str());
        }
    }
    if (cta.mbarriers.size() == MBARRIERS_MAX || place.cta != self->cta || arrivals == 0) {
        fail("mbarrier.init at %s is not valid", text_of(site).c_str());
    }
    MBarrier barrier = {};
    barrier.address = SMEM_BASE + place.offset;
    barrier.expected = barrier.pending = int(arrivals);
    barrier.init_thread = self->id;
    barrier.init_clock = thread_access(*self, true, 0).clock;
    barrier.init_site = site;
    cta.mbarriers.push_back(barrier);
}

/* fence.mbarrier_init orders the thread's own inits and nothing else. */
void mbarrier_init_fence() {
    for (MBarrier &barrier : own_cta().mbarriers) {
        if (barrier.init_thread == self->id) {
            barrier.async_visible = barrier.cluster_visible = true;
        }
    }
}

void mbarrier_progress(Cta &cta, MBarrier &barrier) {
    if (barrier.pending < 0) {
        fail("more arrivals than the %d that the mbarrier of %s was initialised for",
             barrier.expected, text_of(barrier.init_site).c_str());
    }
    if (barrier.pending != 0 || barrier.bytes != 0) {
        return;
    }
    barrier.phase++;
    barrier.pending = barrier.expected;
    barrier.published = barrier.arriving;
    barrier.copies_published = barrier.copies;
    uint32_t rank = uint32_t(&cta - cluster.cta), index = uint32_t(&barrier - &cta.mbarriers[0]);
    std::vector<MBarrierWait> &waits = cluster.mbarrier_waits;
    for (size_t i = 0; i < waits.size();) {
        if (waits[i].cta == rank && waits[i].mbarrier == index &&
            waits[i].parity != (barrier.phase & 1)) {
            make_runnable(cluster.threads[waits[i].thread]);
            waits[i] = waits.back();
            waits.pop_back();
        } else {
            i++;
        }
    }
}

void mbarrier_arrive(uint32_t address, uint32_t expect_bytes, Site site) {
    Place place;
    MBarrier &barrier = mbarrier_at(address, "mbarrier.arrive", site, &place);
    Cta &cta = cluster.cta[place.cta];
    if (cta.alive == 0) {
        fail("mbarrier.arrive at %s on a CTA of the cluster that has exited",
             text_of(site).c_str());
    }
    if (place.cta != self->cta) {
        cta.remote_arrivals.push_back({self->id, thread_access(*self, true, 0).clock, site});
    }
    clock_release(*self, barrier.arriving);
    barrier.bytes += expect_bytes;
    if (barrier.bytes > int64_t(TRANSACTION_BYTES_MAX)) {
        fail("mbarrier.arrive at %s expects more than %u bytes in one phase", text_of(site).c_str(),
             unsigned(TRANSACTION_BYTES_MAX));
    }
    barrier.pending--;
    mbarrier_progress(cta, barrier);
}

/* A phase's parity has completed when the current phase has the other one. */
static bool observe(MBarrier &barrier, uint32_t parity) {
    if ((barrier.phase & 1) == (parity & 1)) {
        return false;
    }
    barrier.copies_observed = barrier.copies_published;
    clock_acquire(*self, barrier.published);
    return true;
}

bool mbarrier_test(uint32_t address, uint32_t parity, Site site) {
    Place place;
    if (observe(mbarrier_at(address, "mbarrier.test_wait", site, &place), parity)) {
        return true;
    }
    poll_failed(site);
    return false;
}

void mbarrier_wait(uint32_t address, uint32_t parity, Site site) {
    Place place;
    MBarrier *barrier = &mbarrier_at(address, "mbarrier.try_wait", site, &place);
    if (place.cta != self->cta) {
        fail("mbarrier.try_wait at %s on the mbarrier of another CTA", text_of(site).c_str());
    }
    size_t index = size_t(barrier - &own_cta().mbarriers[0]);
    while (!observe(own_cta().mbarriers[index], parity)) {
        cluster.mbarrier_waits.push_back({self->id, self->cta, uint32_t(index), parity & 1});
        block("mbarrier.try_wait", site);
    }
}

} // namespace emu
