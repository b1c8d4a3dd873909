/* cp.async: the destination is NaN from the issue on, the bytes arrive at the wait that covers
 * them and not before. */
#include "kernels/emu/race.hpp"

#include <cstring>

namespace emu {

void copy_async(uint32_t dst, const void *src, int bytes_dst, int bytes_src, Site site) {
    Thread &thread = *self;
    if ((bytes_dst != 4 && bytes_dst != 8 && bytes_dst != 16) || bytes_src < 0 ||
        bytes_src > bytes_dst) {
        fail("cp.async at %s: %d bytes from %d", text_of(site).c_str(), bytes_dst, bytes_src);
    }
    if (uintptr_t(src) % uintptr_t(bytes_dst) != 0) {
        fail("cp.async at %s: the source is not aligned to %d bytes", text_of(site).c_str(),
             bytes_dst);
    }
    Place place = smem_place(dst, size_t(bytes_dst), size_t(bytes_dst), "cp.async", site);
    uint32_t clock = ++thread.copy_clock;
    if (race_on) {
        Where where = where_of(site);
        Access access = thread_access(thread, false, where);
        global_access(src, size_t(bytes_src), access);
        access.write = true;
        access.component = component_of_copies(thread);
        access.clock = clock;
        shared_access(place.cta, place.offset, size_t(bytes_dst), access);
    }
    memset(place.bytes, 0xff, size_t(bytes_dst));
    thread.copies.push_back({place.offset, static_cast<const uint8_t *>(src), uint32_t(bytes_dst),
                             uint32_t(bytes_src), clock});
}

void copy_async_commit() {
    self->copy_groups.push_back(self->copies.size());
}

static void land(Thread &thread, const PendingCopy &copy) {
    uint8_t *to = own_cta().smem + copy.dst;
    memcpy(to, copy.src, copy.bytes_src);
    memset(to + copy.bytes_src, 0, copy.bytes_dst - copy.bytes_src);
    if (race_on) {
        clock_of(thread)[component_of_copies(thread)] = copy.clock;
    }
}

void copy_async_wait(int groups_in_flight) {
    Thread &thread = *self;
    size_t keep = size_t(groups_in_flight);
    if (thread.copy_groups.size() <= keep) {
        return;
    }
    size_t done = thread.copy_groups.size() - keep;
    size_t end = thread.copy_groups[done - 1];
    for (; thread.copies_landed < end; thread.copies_landed++) {
        land(thread, thread.copies[thread.copies_landed]);
    }
    thread.copy_groups.erase(thread.copy_groups.begin(), thread.copy_groups.begin() + long(done));
    if (thread.copies_landed == thread.copies.size()) {
        thread.copies.clear();
        thread.copies_landed = 0;
        thread.copy_groups.assign(thread.copy_groups.size(), 0);
    }
}

} // namespace emu
