/* Shared memory of the running cluster: where regions lie and who may touch them. */
#include "kernels/emu/race.hpp"

#include <cstring>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes)   ((void)(memory), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes) ((void)(memory), (void)(bytes))
#endif

namespace emu {

alignas(1024) static uint8_t arenas[CLUSTER_MAX][SMEM_ARENA];
static uint32_t placement; /* of the dynamic region, in odd multiples of its alignment */

static uint32_t add_region(const void *key, size_t bytes, size_t align) {
    Cta &cta = own_cta();
    uint32_t offset = uint32_t((cta.smem_top + align - 1) / align * align);
    if (offset + bytes > SMEM_ARENA || bytes > SMEM_BYTES_MAX) {
        fail("the block needs more than %u bytes of shared memory", unsigned(SMEM_BYTES_MAX));
    }
    ASAN_UNPOISON_MEMORY_REGION(cta.smem + offset, bytes);
    cta.regions.push_back({key, offset, uint32_t(bytes)});
    cta.smem_top = offset + uint32_t(bytes) + SMEM_REDZONE;
    uint32_t used = 0;
    for (const Region &region : cta.regions) {
        used += region.bytes;
    }
    if (used > SMEM_BYTES_MAX) {
        fail("the block needs %u bytes of shared memory, at most %u exist", used,
             unsigned(SMEM_BYTES_MAX));
    }
    stats.smem_bytes_max = used > stats.smem_bytes_max ? used : stats.smem_bytes_max;
    return offset;
}

uint8_t *smem_dynamic(size_t align) {
    Cta &cta = own_cta();
    if (cta.regions.empty()) { /* no better aligned than it asks for: at an odd multiple */
        cta.smem_top = uint32_t(align * (1 + 2 * placement));
        add_region(nullptr, shape.smem_bytes, align);
    }
    return cta.smem + cta.regions[0].offset;
}

void *smem_static(const void *key, size_t bytes, size_t align) {
    Cta &cta = own_cta();
    for (const Region &region : cta.regions) {
        if (region.key == key) {
            return cta.smem + region.offset;
        }
    }
    smem_dynamic(128);
    return cta.smem + add_region(key, bytes, align < 16 ? 16 : align);
}

uint32_t smem_address(const void *pointer) {
    size_t offset = size_t(static_cast<const uint8_t *>(pointer) - own_cta().smem);
    if (offset >= SMEM_ARENA) {
        fail("shared address taken of a pointer that is not to this block's shared memory");
    }
    return uint32_t(offset) + SMEM_BASE;
}

Place smem_place(uint32_t address, size_t bytes, size_t align, const char *what, Site site) {
    uint32_t rank = address / SMEM_WINDOW == 0 ? self->cta : address / SMEM_WINDOW - 1;
    uint32_t offset = address % SMEM_WINDOW - SMEM_BASE;
    if (rank >= cluster.ctas) {
        fail("%s at %s: shared address %#x is of no CTA of the cluster", what,
             text_of(site).c_str(), address);
    }
    if (offset % align != 0) {
        fail("%s at %s: shared address %#x is not aligned to %zu bytes", what,
             text_of(site).c_str(), address, align);
    }
    Cta &cta = cluster.cta[rank];
    for (const Region &region : cta.regions) {
        if (offset >= region.offset && offset + bytes <= region.offset + region.bytes) {
            return {rank, offset, cta.smem + offset};
        }
    }
    fail("%s at %s: %zu bytes at shared address %#x are outside the block's shared memory", what,
         text_of(site).c_str(), bytes, address);
}

void smem_start_cluster(uint32_t placement_) {
    placement = placement_;
    for (uint32_t rank = 0; rank < cluster.ctas; rank++) {
        Cta &cta = cluster.cta[rank];
        cta.smem = arenas[rank];
        cta.regions.clear();
        cta.smem_top = 0;
        ASAN_UNPOISON_MEMORY_REGION(cta.smem, SMEM_ARENA);
        memset(cta.smem, 0xff, SMEM_ARENA); /* NaN in every float format */
        ASAN_POISON_MEMORY_REGION(cta.smem, SMEM_ARENA);
    }
}

void smem_end_cluster() {
    for (uint32_t rank = 0; rank < cluster.ctas; rank++) {
        ASAN_UNPOISON_MEMORY_REGION(cluster.cta[rank].smem, SMEM_ARENA);
    }
}

} // namespace emu
