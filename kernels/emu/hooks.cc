/* What g++ and clang++ call for each memory access of code compiled with -fsanitize=thread. The
 * final link leaves libtsan out, so these are the ones found. */
#include "kernels/emu/race.hpp"

#include <cstring>

namespace emu {

static bool hooks_called;

bool race_build() {
    return hooks_called;
}

static void aligned_access(const void *pointer, size_t bytes, bool write, const void *pc) {
    if (self != nullptr && uintptr_t(pointer) % bytes != 0) {
        fail("%s of %zu bytes at a misaligned address, at %s", write ? "write" : "read", bytes,
             line_of(pc).c_str());
    }
    watched_access(pointer, bytes, write, where_of_pc(pc));
}

} // namespace emu

#define PC __builtin_return_address(0)
#define HOOKS(bytes)                                                                               \
    void __tsan_read##bytes(void *p) {                                                             \
        emu::aligned_access(p, bytes, false, PC);                                                  \
    }                                                                                              \
    void __tsan_write##bytes(void *p) {                                                            \
        emu::aligned_access(p, bytes, true, PC);                                                   \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(void *p) {                                                   \
        emu::watched_access(p, bytes, false, emu::where_of_pc(PC));                                \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void *p) {                                                  \
        emu::watched_access(p, bytes, true, emu::where_of_pc(PC));                                 \
    }                                                                                              \
    void __tsan_volatile_read##bytes(void *p) {                                                    \
        emu::aligned_access(p, bytes, false, PC);                                                  \
    }                                                                                              \
    void __tsan_volatile_write##bytes(void *p) {                                                   \
        emu::aligned_access(p, bytes, true, PC);                                                   \
    }

extern "C" {

HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_read_range(void *p, size_t bytes) {
    emu::watched_access(p, bytes, false, emu::where_of_pc(PC));
}
void __tsan_write_range(void *p, size_t bytes) {
    emu::watched_access(p, bytes, true, emu::where_of_pc(PC));
}
void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    emu::watched_access(from, bytes, false, emu::where_of_pc(PC));
    emu::watched_access(to, bytes, true, emu::where_of_pc(PC));
    return memcpy(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes) {
    emu::watched_access(to, bytes, true, emu::where_of_pc(PC));
    return memset(to, value, bytes);
}
void __tsan_func_entry(void *) {
}
void __tsan_func_exit() {
}
void __tsan_vptr_update(void **, void *) {
}
void __tsan_vptr_read(void **) {
}
void __tsan_init() { /* called by a constructor that the compiler adds to each such object */
    emu::hooks_called = true;
}
}
