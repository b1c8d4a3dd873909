/* Vector clocks, shadow cells, and the judgement of one access. */
#include "kernels/emu/race.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

namespace emu {

bool race_on;

/* ---- lines ---- */

static const Where SITE_BIT = uint64_t(1) << 63;
static std::vector<Site> sites;

Where where_of(Site site) {
    for (size_t i = sites.size(); i-- > 0;) { /* a kernel has few sites */
        if (sites[i].line == site.line && sites[i].file == site.file) {
            return SITE_BIT | i;
        }
    }
    sites.push_back(site);
    return SITE_BIT | (sites.size() - 1);
}

static std::string text_of_where(Where where) {
    if (where & SITE_BIT) {
        return text_of(sites[size_t(where & ~SITE_BIT)]);
    }
    return line_of(reinterpret_cast<const void *>(uintptr_t(where)));
}

/* ---- clock components: see race.hpp ---- */

static uint32_t components;
static std::vector<uint32_t> clocks; /* [threads][components] */

uint32_t component_of_copies(const Thread &thread) {
    return threads_padded() + thread.id;
}
uint32_t component_of_wgmma(uint32_t warp) {
    return 2 * threads_padded() + warp;
}
uint32_t component_of_mbarrier(const Cta &cta, const MBarrier &barrier) {
    uint32_t rank = uint32_t(&cta - cluster.cta), index = uint32_t(&barrier - &cta.mbarriers[0]);
    return 2 * threads_padded() + WARPS_MAX + rank * MBARRIERS_MAX + index;
}
static uint32_t first_store_component() {
    return 2 * threads_padded() + WARPS_MAX + CLUSTER_MAX * MBARRIERS_MAX;
}
uint32_t component_of_stores(Thread &thread, bool writes) {
    if (thread.store_slot == NO_THREAD) {
        if (cluster.storers == STORERS_MAX) {
            fail("more than %u threads of the cluster issue bulk stores", unsigned(STORERS_MAX));
        }
        thread.store_slot = cluster.storers++;
    }
    return first_store_component() + 2 * thread.store_slot + writes;
}
uint32_t component_of_grids() {
    return first_store_component() + 2 * STORERS_MAX;
}

static std::string name_of_component(uint32_t component) {
    uint32_t threads = threads_padded();
    char text[80];
    if (component < threads) {
        snprintf(text, sizeof text, "thread %u (warp %u)", component, component / LANES);
    } else if (component < 2 * threads) {
        snprintf(text, sizeof text, "cp.async of thread %u", component - threads);
    } else if (component < 2 * threads + WARPS_MAX) {
        snprintf(text, sizeof text, "wgmma of warp %u", component - 2 * threads);
    } else if (component < first_store_component()) {
        snprintf(text, sizeof text, "a bulk load on mbarrier %u",
                 component - 2 * threads - WARPS_MAX);
    } else {
        snprintf(text, sizeof text, "a bulk store");
    }
    return text;
}

uint32_t *clock_of(const Thread &thread) {
    return &clocks[size_t(thread.id) * components];
}

static void join(uint32_t *into, const uint32_t *from) {
    for (uint32_t i = 0; i < components; i++) {
        into[i] = std::max(into[i], from[i]);
    }
}

void clock_release(const Thread &thread, Clock &into) {
    if (race_on) {
        into.resize(components);
        join(into.data(), clock_of(thread));
        clock_of(thread)[thread.id]++;
    }
}

void clock_acquire(const Thread &thread, const Clock &from) {
    if (race_on && !from.empty()) {
        join(clock_of(thread), from.data());
    }
}

/* ---- shadow ---- */

struct Reader {
    uint32_t component, clock;
    Where where;
};

/* One byte: its last write and the reads since. */
struct Cell {
    Where write_at, read_at;
    uint32_t write_clock, write_component, write_epoch;
    uint32_t read_clock, read_component, read_epoch;
    uint32_t readers; /* index into the pool when several actors have read, else 0 */
    bool write_atomic;
};

struct Buffer {
    uint8_t *memory;
    size_t bytes;
    std::string name;
    std::vector<Cell> shadow;
    std::vector<uint8_t> before; /* contents when the last grid started */
};

static std::vector<Cell> smem_shadow[CLUSTER_MAX];
static size_t smem_touched[CLUSTER_MAX]; /* cells from here on are as new */
static std::vector<std::vector<Reader>> reader_pool(1);
static size_t reader_pool_used;
static std::vector<Buffer> buffers;
static size_t buffer_last;
static uint32_t chain_epoch; /* first cluster of the grids that may still run beside this one */
static uint32_t grid_epoch;  /* first cluster of this grid */
static bool grid_dependent;

static void remember_reader(Cell &cell, const Access &a) {
    if (cell.readers != 0) {
        std::vector<Reader> &all = reader_pool[cell.readers];
        for (Reader &r : all) {
            if (r.component == a.component) {
                r = {a.component, a.clock, a.where};
                return;
            }
        }
        all.push_back({a.component, a.clock, a.where});
        return;
    }
    uint32_t *view = clock_of(*a.viewer);
    if (cell.read_clock != 0 && cell.read_component != a.component &&
        cell.read_clock > view[cell.read_component]) {
        if (reader_pool_used == reader_pool.size()) {
            reader_pool.emplace_back();
        }
        cell.readers = uint32_t(reader_pool_used++);
        reader_pool[cell.readers] = {{cell.read_component, cell.read_clock, cell.read_at},
                                     {a.component, a.clock, a.where}};
        return;
    }
    cell.read_clock = a.clock;
    cell.read_component = a.component;
    cell.read_at = a.where;
}

[[noreturn]] static void race(const char *space, size_t offset, const Access &a, const char *verb,
                              uint32_t component, Where where) {
    fail("race on %s +%zu: %s by %s at %s is unordered with the earlier %s by %s at %s", space,
         offset, a.write ? "write" : "read", name_of_component(a.component).c_str(),
         text_of_where(a.where).c_str(), verb, name_of_component(component).c_str(),
         text_of_where(where).c_str());
}

/* The async proxy sees a generic write only after its writer fenced. */
static void check_proxy(const char *space, size_t offset, const Cell &cell, const Access &a,
                        bool shared) {
    uint32_t threads = threads_padded(), writer = cell.write_component;
    bool fenced = true;
    if (writer < threads) {
        const Thread &thread = cluster.threads[writer];
        fenced = (shared ? thread.shared_fence : thread.global_fence) >= cell.write_clock;
    } else if (writer < 2 * threads) {
        fenced = cluster.threads[writer - threads].shared_fence_copies >= cell.write_clock;
    }
    if (!fenced) {
        fail("the async proxy %s %s +%zu at %s, which %s wrote at %s with no fence.proxy.async "
             "after it",
             a.write ? "writes" : "reads", space, offset, text_of_where(a.where).c_str(),
             name_of_component(writer).c_str(), text_of_where(cell.write_at).c_str());
    }
}

static void check_cell(Cell &cell, const Access &a, const char *space, size_t offset, bool shared) {
    const uint32_t *view = clock_of(*a.viewer);
    if (cell.write_clock != 0) {
        if (cell.write_clock > view[cell.write_component] && !(a.atomic && cell.write_atomic)) {
            race(space, offset, a, "write", cell.write_component, cell.write_at);
        }
        if (a.proxy == PROXY_ASYNC) {
            check_proxy(space, offset, cell, a, shared);
        }
    }
    if (!a.write) {
        remember_reader(cell, a);
        cell.read_epoch = cluster.epoch;
        return;
    }
    if (cell.readers != 0) {
        for (const Reader &r : reader_pool[cell.readers]) {
            if (r.clock > view[r.component]) {
                race(space, offset, a, "read", r.component, r.where);
            }
        }
    } else if (cell.read_clock != 0 && cell.read_clock > view[cell.read_component]) {
        race(space, offset, a, "read", cell.read_component, cell.read_at);
    }
    cell.readers = 0;
    cell.read_clock = 0;
    cell.write_clock = a.clock;
    cell.write_component = a.component;
    cell.write_at = a.where;
    cell.write_atomic = a.atomic;
    cell.write_epoch = cluster.epoch;
}

void shared_access(uint32_t cta, uint32_t offset, size_t bytes, const Access &a) {
    smem_touched[cta] = std::max(smem_touched[cta], offset + bytes);
    for (size_t i = offset; i < offset + bytes; i++) {
        Cell &cell = smem_shadow[cta][i];
        if (!a.write && cell.write_clock == 0) {
            fail("read of shared memory +%zu that nothing has written, at %s", i,
                 text_of_where(a.where).c_str());
        }
        check_cell(cell, a, "shared memory", i, true);
    }
}

/* ---- global memory: the same within a cluster, epochs between clusters and grids ---- */

static std::map<const void *, std::vector<uint32_t>> released; /* epochs, by atomic variable */
static std::vector<uint32_t> acquired;

static bool epoch_acquired(uint32_t epoch) {
    return std::find(acquired.begin(), acquired.end(), epoch) != acquired.end();
}

/* Judges a cell that another cluster touched; `verb` is what that one did. */
static void check_epoch(const Buffer &buffer, size_t offset, const Access &a, const char *verb,
                        uint32_t epoch, Where where, bool both_atomic) {
    if (epoch == 0 || epoch == cluster.epoch || both_atomic) {
        return;
    }
    const char *how = a.write ? "write" : "read";
    if (epoch >= grid_epoch) {
        if (!epoch_acquired(epoch)) {
            fail("race between blocks on %s +%zu: %s at %s, and block #%u %s it at %s",
                 buffer.name.c_str(), offset, how, text_of_where(a.where).c_str(),
                 epoch - grid_epoch, verb, text_of_where(where).c_str());
        }
    } else if (epoch >= chain_epoch && clock_of(*a.viewer)[component_of_grids()] == 0) {
        fail("%s of %s +%zu at %s before griddepcontrol.wait: an earlier grid, which may still "
             "run, %s it at %s",
             how, buffer.name.c_str(), offset, text_of_where(a.where).c_str(), verb,
             text_of_where(where).c_str());
    }
}

static void global_cell(Buffer &buffer, size_t offset, const Access &a) {
    Cell &cell = buffer.shadow[offset];
    check_epoch(buffer, offset, a, "wrote", cell.write_epoch, cell.write_at,
                a.atomic && cell.write_atomic);
    if (a.write) {
        check_epoch(buffer, offset, a, "read", cell.read_epoch, cell.read_at, false);
    }
    if (cell.write_epoch != cluster.epoch) {
        cell.write_clock = 0; /* its components belonged to that cluster */
    }
    if (cell.read_epoch != cluster.epoch) {
        cell.read_clock = 0;
        cell.readers = 0;
    }
    check_cell(cell, a, buffer.name.c_str(), offset, false);
}

/* The buffer that holds an address, or ends at most `past` bytes before it. */
static Buffer *buffer_near(const void *pointer, size_t past) {
    auto *at = static_cast<const uint8_t *>(pointer);
    for (size_t tries = 0; tries < buffers.size(); tries++) {
        size_t i = (buffer_last + tries) % buffers.size();
        if (at >= buffers[i].memory && at < buffers[i].memory + buffers[i].bytes + past) {
            buffer_last = i;
            return &buffers[i];
        }
    }
    return nullptr;
}

static Buffer *buffer_of(const void *pointer) {
    const size_t closed_page = 4096; /* owners keep that much behind a buffer unmapped */
    Buffer *buffer = buffer_near(pointer, 0);
    return buffer != nullptr ? buffer : buffer_near(pointer, closed_page);
}

void global_access(const void *pointer, size_t bytes, const Access &a) {
    Buffer *buffer = race_on ? buffer_of(pointer) : nullptr;
    if (buffer == nullptr) {
        return;
    }
    size_t offset = size_t(static_cast<const uint8_t *>(pointer) - buffer->memory);
    if (offset + bytes > buffer->bytes) {
        fail("%s of %zu bytes at %s +%zu, past its %zu bytes, at %s", a.write ? "write" : "read",
             bytes, buffer->name.c_str(), offset, buffer->bytes, text_of_where(a.where).c_str());
    }
    buffer->shadow.resize(buffer->bytes);
    for (size_t i = offset; i < offset + bytes; i++) {
        global_cell(*buffer, i, a);
    }
}

Access thread_access(const Thread &thread, bool write, Where where) {
    uint32_t now = race_on ? clock_of(thread)[thread.id] : 0;
    return {write, false, PROXY_GENERIC, thread.id, now, &thread, where};
}

void watched_access(const void *pointer, size_t bytes, bool write, Where where) {
    if (self == nullptr || !race_on) {
        return;
    }
    Access access = thread_access(*self, write, where);
    for (uint32_t rank = 0; rank < cluster.ctas; rank++) {
        Cta &cta = cluster.cta[rank];
        size_t offset = size_t(static_cast<const uint8_t *>(pointer) - cta.smem);
        if (offset >= SMEM_ARENA) {
            continue;
        }
        for (const Region &region : cta.regions) {
            if (offset >= region.offset && offset + bytes <= region.offset + region.bytes) {
                shared_access(rank, uint32_t(offset), bytes, access);
                return;
            }
        }
        fail("%s of %zu bytes outside the block's shared memory, at %s", write ? "write" : "read",
             bytes, text_of_where(where).c_str());
    }
    global_access(pointer, bytes, access);
}

void thread_fence() {
    if (self != nullptr) {
        self->fenced = true;
    }
}

void atomic_access(const void *pointer, size_t bytes, Site site) {
    if (self == nullptr) {
        return;
    }
    poll_failed(site); /* may be one turn of a spin */
    if (!race_on) {
        return;
    }
    std::vector<uint32_t> &epochs = released[pointer];
    acquired.insert(acquired.end(), epochs.begin(), epochs.end());
    if (self->fenced) {
        epochs.push_back(cluster.epoch);
    }
    Access access = thread_access(*self, true, where_of(site));
    access.atomic = true;
    global_access(pointer, bytes, access);
}

void proxy_fence(bool shared, bool global) {
    Thread &thread = *self;
    if (!race_on) {
        return;
    }
    uint32_t *now = clock_of(thread);
    if (shared) {
        thread.shared_fence = now[thread.id];
        thread.shared_fence_copies = now[component_of_copies(thread)];
    }
    if (global) {
        thread.global_fence = now[thread.id];
    }
    now[thread.id]++;
}

/* ---- life cycle ---- */

void buffer_add(const void *memory, size_t bytes, const char *name) {
    auto *writable = static_cast<uint8_t *>(const_cast<void *>(memory));
    buffers.push_back({writable, bytes, name, {}, {}});
}

void buffer_remove(const void *memory) {
    for (size_t i = 0; i < buffers.size(); i++) {
        if (buffers[i].memory == memory) {
            buffers.erase(buffers.begin() + long(i));
            buffer_last = 0;
            return;
        }
    }
}

void buffers_remember() {
    for (Buffer &buffer : buffers) {
        buffer.before.assign(buffer.memory, buffer.memory + buffer.bytes);
    }
}

std::vector<Hidden> buffers_changed() {
    std::vector<Hidden> runs;
    for (Buffer &buffer : buffers) {
        if (buffer.before.size() != buffer.bytes) {
            continue; /* younger than the last grid */
        }
        for (size_t i = 0; i < buffer.bytes; i++) {
            if (buffer.before[i] == buffer.memory[i]) {
                continue;
            }
            if (runs.empty() || runs.back().at + runs.back().bytes.size() != buffer.memory + i) {
                runs.push_back({buffer.memory + i, {}});
            }
            runs.back().bytes.push_back(buffer.memory[i]);
        }
    }
    return runs;
}

void race_start_launch(bool dependent) {
    grid_epoch = cluster.epoch + 1;
    grid_dependent = dependent;
    released.clear();
    if (!dependent) {
        chain_epoch = grid_epoch;
        for (Buffer &buffer : buffers) {
            buffer.shadow.clear();
        }
    }
}

void race_host_sync() {
    chain_epoch = cluster.epoch + 1;
}

void race_start_cluster() {
    acquired.clear();
    if (!race_on) {
        return;
    }
    components = component_of_grids() + 1;
    clocks.assign(size_t(components) * threads_padded(), 0);
    reader_pool_used = 1;
    for (uint32_t t = 0; t < threads_padded(); t++) {
        uint32_t *clock = clock_of(cluster.threads[t]);
        clock[t] = 1;
        clock[component_of_grids()] = grid_dependent ? 0 : 1;
    }
    for (uint32_t rank = 0; rank < cluster.ctas; rank++) {
        smem_shadow[rank].resize(SMEM_ARENA);
        std::fill_n(smem_shadow[rank].begin(), smem_touched[rank], Cell());
        smem_touched[rank] = 0;
    }
}

} // namespace emu
