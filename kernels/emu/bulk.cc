/* Bulk copies into shared memory (TMA): NaN from the issue on, the bytes at a random later moment,
 * at the latest when no thread can run, then the mbarrier's transaction count. */
#include "kernels/emu/race.hpp"

#include <cstring>

namespace emu {

/* The 16-byte chunk index (address bits 4-6) XOR the row of the pattern (bits 7-9), as many bits
 * as the swizzle has chunks. Offsets and shared addresses agree in these bits. */
uint32_t swizzled(uint32_t offset, uint32_t swizzle_bytes) {
    if (swizzle_bytes == 0) {
        return offset;
    }
    uint32_t chunk_mask = swizzle_bytes / 16 - 1;
    return offset ^ ((offset >> 7 & chunk_mask) << 4);
}

static void check_map(const TensorMap &map, const char *what, Site site) {
    uint32_t row = map.box_cols * map.element_bytes;
    bool box = map.box_cols > 0 && map.box_cols <= 256 && map.box_rows > 0 && map.box_rows <= 256;
    bool fits = map.swizzle_bytes == 0 || row <= map.swizzle_bytes;
    if (!box || !fits || row % 16 != 0 || map.stride_bytes % 16 != 0 ||
        uintptr_t(map.base) % 16 != 0) {
        fail("%s at %s: a tensor map with box %u x %u of %u bytes, stride %llu, swizzle %u", what,
             text_of(site).c_str(), map.box_rows, map.box_cols, map.element_bytes,
             static_cast<unsigned long long>(map.stride_bytes), map.swizzle_bytes);
    }
}

static uint32_t box_bytes(const TensorMap &map) {
    return map.box_rows * map.box_cols * map.element_bytes;
}

/* Calls visit(global bytes of one row of the box, its columns, its row in the box, first column in
 * the box) for the part of the box inside the matrix. */
template <class Visit> static void box_rows(const TensorMap &map, int col, int row, Visit visit) {
    int64_t first = col < 0 ? -int64_t(col) : 0;
    int64_t last = int64_t(map.cols) - col < map.box_cols ? int64_t(map.cols) - col : map.box_cols;
    for (uint32_t y = 0; y < map.box_rows; y++) {
        int64_t r = int64_t(row) + y;
        if (r < 0 || uint64_t(r) >= map.rows || last <= first) {
            continue;
        }
        uint8_t *at = map.base + uint64_t(r) * map.stride_bytes +
                      uint64_t(int64_t(col) + first) * map.element_bytes;
        visit(at, uint32_t(last - first), y, uint32_t(first));
    }
}

/* ---- loads ---- */

static void issue_into(Cta &cta, MBarrier &barrier, BulkLoad load, size_t align, const char *what,
                       Site site) {
    uint32_t rank = uint32_t(&cta - cluster.cta);
    if (!barrier.async_visible) {
        fail("%s at %s: no fence made the mbarrier.init of %s visible to the async proxy", what,
             text_of(site).c_str(), text_of(barrier.init_site).c_str());
    }
    uint32_t mapped = rank == self->cta ? load.dst : cluster_map(load.dst, rank);
    Place place = smem_place(mapped, load.bytes, align, what, site);
    load.cta = rank;
    load.dst = place.offset;
    load.mbarrier = uint32_t(&barrier - &cta.mbarriers[0]);
    load.clock = ++barrier.copies;
    if (race_on) {
        uint32_t component = component_of_mbarrier(cta, barrier);
        Access access = {true, false, PROXY_ASYNC, component, load.clock, self, where_of(site)};
        shared_access(rank, place.offset, load.bytes, access);
        access.write = false;
        if (load.src != nullptr) {
            global_access(load.src, load.bytes, access);
        } else {
            box_rows(load.map, load.col, load.row,
                     [&](uint8_t *at, uint32_t cols, uint32_t, uint32_t) {
                         global_access(at, cols * load.map.element_bytes, access);
                     });
        }
    }
    memset(place.bytes, 0xff, load.bytes);
    cluster.loads.push_back(load);
}

void tensor_load(uint32_t dst, const TensorMap &map, int col, int row, uint32_t barrier,
                 uint32_t cta_mask, Site site) {
    check_map(map, "cp.async.bulk.tensor", site);
    if (cta_mask >> cluster.ctas != 0) {
        fail("cp.async.bulk.tensor at %s: CTA mask 0x%x of a cluster of %u", text_of(site).c_str(),
             cta_mask, cluster.ctas);
    }
    BulkLoad load = {0, dst, box_bytes(map), 0, 0, nullptr, map, col, row};
    for (uint32_t rank = 0; rank < cluster.ctas; rank++) {
        if (cta_mask == 0 ? rank == self->cta : cta_mask >> rank & 1) {
            uint32_t address = rank == self->cta ? barrier : cluster_map(barrier, rank);
            Place place;
            MBarrier &at = mbarrier_at(address, "cp.async.bulk.tensor", site, &place);
            issue_into(cluster.cta[rank], at, load, 128, "cp.async.bulk.tensor", site);
        }
    }
}

void bulk_load(uint32_t dst, const void *src, uint32_t bytes, uint32_t barrier, Site site) {
    if (bytes == 0 || bytes % 16 != 0 || uintptr_t(src) % 16 != 0) {
        fail("cp.async.bulk at %s: size and source must be multiples of 16", text_of(site).c_str());
    }
    Place place;
    MBarrier &at = mbarrier_at(barrier, "cp.async.bulk", site, &place);
    BulkLoad load = {0, dst, bytes, 0, 0, static_cast<const uint8_t *>(src), {}, 0, 0};
    issue_into(own_cta(), at, load, 16, "cp.async.bulk", site);
}

static void land_box(const BulkLoad &load, uint8_t *smem) {
    uint32_t element = load.map.element_bytes, pitch = load.map.box_cols * element;
    memset(smem + load.dst, 0, load.bytes); /* what lies outside the matrix */
    box_rows(
        load.map, load.col, load.row, [&](uint8_t *at, uint32_t cols, uint32_t y, uint32_t first) {
            for (uint32_t x = 0; x < cols; x++) {
                uint32_t offset = load.dst + y * pitch + (first + x) * element;
                memcpy(smem + swizzled(offset, load.map.swizzle_bytes), at + x * element, element);
            }
        });
}

void bulk_load_land(size_t index) {
    BulkLoad load = cluster.loads[index];
    cluster.loads[index] = cluster.loads.back();
    cluster.loads.pop_back();
    Cta &cta = cluster.cta[load.cta];
    if (load.src != nullptr) {
        memcpy(cta.smem + load.dst, load.src, load.bytes);
    } else {
        land_box(load, cta.smem);
    }
    MBarrier &barrier = cta.mbarriers[load.mbarrier];
    if (race_on) {
        uint32_t component = component_of_mbarrier(cta, barrier);
        barrier.arriving.resize(size_t(component_of_grids()) + 1);
        uint32_t &at = barrier.arriving[component];
        at = at < load.clock ? load.clock : at;
    }
    barrier.bytes -= load.bytes;
    mbarrier_progress(cta, barrier);
}

/* ---- stores: global memory is NaN from the issue on, the source is read at the wait ---- */

static std::vector<uint8_t> box_of(const PendingStore &store) {
    const uint8_t *smem = own_cta().smem;
    std::vector<uint8_t> bytes(box_bytes(store.map));
    for (uint32_t i = 0; i < bytes.size(); i++) {
        bytes[i] = smem[swizzled(store.src + i, store.map.swizzle_bytes)];
    }
    return bytes;
}

void tensor_store(const TensorMap &map, int col, int row, uint32_t src, Site site) {
    const char *what = "cp.async.bulk.tensor (store)";
    check_map(map, what, site);
    Thread &thread = *self;
    Place place = smem_place(src, box_bytes(map), 128, what, site);
    PendingStore store = {map, col, row, place.offset, ++thread.store_clock, site, {}, false};
    if (race_on) {
        uint32_t reads = component_of_stores(thread, false);
        Access access = {false, false, PROXY_ASYNC, reads, store.clock, self, where_of(site)};
        shared_access(place.cta, place.offset, box_bytes(map), access);
        access.write = true;
        access.component = component_of_stores(thread, true);
        box_rows(map, col, row, [&](uint8_t *at, uint32_t cols, uint32_t, uint32_t) {
            global_access(at, cols * map.element_bytes, access);
        });
    }
    store.taken = box_of(store);
    box_rows(map, col, row, [&](uint8_t *at, uint32_t cols, uint32_t, uint32_t) {
        memset(at, 0xff, cols * map.element_bytes);
    });
    thread.stores.push_back(store);
}

void bulk_store_commit() {
    self->store_groups.push_back(self->stores.size());
}

static void finish_reading(Thread &thread, PendingStore &store) {
    if (store.read) {
        return;
    }
    if (box_of(store) != store.taken) {
        fail("the bulk store of %s: its shared memory changed while it was being read",
             text_of(store.site).c_str());
    }
    store.read = true;
    if (race_on) {
        clock_of(thread)[component_of_stores(thread, false)] = store.clock;
    }
}

static void finish_writing(Thread &thread, const PendingStore &store) {
    uint32_t element = store.map.element_bytes, pitch = store.map.box_cols * element;
    box_rows(store.map, store.col, store.row,
             [&](uint8_t *at, uint32_t cols, uint32_t y, uint32_t first) {
                 memcpy(at, &store.taken[y * pitch + first * element], cols * element);
             });
    if (race_on) {
        clock_of(thread)[component_of_stores(thread, true)] = store.clock;
    }
}

void bulk_store_wait(int groups_in_flight, bool reads_only) {
    Thread &thread = *self;
    size_t keep = size_t(groups_in_flight);
    if (thread.store_groups.size() <= keep) {
        return;
    }
    size_t done = thread.store_groups.size() - keep;
    size_t end = thread.store_groups[done - 1];
    for (size_t i = 0; i < end; i++) {
        finish_reading(thread, thread.stores[i]);
        if (!reads_only) {
            finish_writing(thread, thread.stores[i]);
        }
    }
    if (reads_only) {
        return;
    }
    thread.stores.erase(thread.stores.begin(), thread.stores.begin() + long(end));
    thread.store_groups.erase(thread.store_groups.begin(),
                              thread.store_groups.begin() + long(done));
    for (size_t &group : thread.store_groups) {
        group -= end;
    }
}

/* Shared memory dies with the block, so the reads must be over; the writes may land later. */
void bulk_store_finish(Thread &thread) {
    for (const PendingStore &store : thread.stores) {
        if (!store.read) {
            fail("the thread exits while the bulk store of %s may still read shared memory",
                 text_of(store.site).c_str());
        }
        finish_writing(thread, store);
    }
    thread.stores.clear();
    thread.store_groups.clear();
}

} // namespace emu
