/* A stack and a way to switch for each CUDA thread. x86-64 switches by hand (about 50 ns with the
 * arithmetic between two switches); other machines through ucontext. */
#include "kernels/emu/state.hpp"

#include <cstdlib>
#include <sys/mman.h>

#ifndef __x86_64__
#include <ucontext.h>
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emu {

static const size_t STACK_BYTES = 256 * 1024;
static const size_t PAGE_BYTES = 4096;

static uint8_t *stacks;
static void *host_stack_pointer;

#ifdef __x86_64__
extern "C" void pk_emu_switch(void **save, void *to);
asm(R"(
.text
.globl pk_emu_switch
.type pk_emu_switch,@function
pk_emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size pk_emu_switch,.-pk_emu_switch
)");
#else
static ucontext_t host_context, contexts[THREADS_MAX];
#endif

static uint8_t *stack_of(const Thread &thread) {
    return stacks + thread.id * STACK_BYTES;
}

void fibers_open() {
    if (stacks != nullptr) {
        return;
    }
    void *memory = mmap(nullptr, STACK_BYTES * THREADS_MAX, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        abort();
    }
    stacks = static_cast<uint8_t *>(memory);
    for (size_t i = 0; i < THREADS_MAX; i++) { /* below each stack: a page that faults */
        mprotect(stacks + i * STACK_BYTES, PAGE_BYTES, PROT_NONE);
    }
}

void fiber_prepare(Thread &thread, void (*entry)()) {
    uint8_t *stack = stack_of(thread);
#ifdef __SANITIZE_ADDRESS__
    /* Frames of leave_cta() never return; what ASan knows of them is dropped before reuse. */
    const size_t stack_top_bytes = 16 * 1024;
    ASAN_UNPOISON_MEMORY_REGION(stack + STACK_BYTES - stack_top_bytes, stack_top_bytes);
#endif
#ifdef __x86_64__
    /* Staggered by a cache line, or equal frames of all threads would share cache sets. */
    auto *top = reinterpret_cast<uint64_t *>(stack + STACK_BYTES - 64 - thread.id % 64 * 64);
    *--top = 0;
    *--top = uint64_t(reinterpret_cast<uintptr_t>(entry));
    for (int saved = 0; saved < 6; saved++) {
        *--top = 0;
    }
    thread.stack_pointer = top;
#else
    ucontext_t *context = &contexts[thread.id];
    getcontext(context);
    context->uc_stack.ss_sp = stack + PAGE_BYTES;
    context->uc_stack.ss_size = STACK_BYTES - PAGE_BYTES;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
#endif
}

#ifdef __SANITIZE_ADDRESS__
static const void *host_stack;
static size_t host_stack_bytes;

static void asan_leave(Thread *to, void **fake) {
    if (to != nullptr) {
        __sanitizer_start_switch_fiber(fake, stack_of(*to) + PAGE_BYTES, STACK_BYTES - PAGE_BYTES);
    } else {
        __sanitizer_start_switch_fiber(fake, host_stack, host_stack_bytes);
    }
}

void fiber_entered() {
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (host_stack == nullptr) { /* the first fiber is always entered from the host */
        host_stack = bottom;
        host_stack_bytes = bytes;
    }
}

void fibers_forget() {
    ASAN_UNPOISON_MEMORY_REGION(stacks, STACK_BYTES * THREADS_MAX);
}
#else
void fiber_entered() {
}
void fibers_forget() {
}
#endif

void fiber_switch(Thread *from, Thread *to) {
#ifdef __SANITIZE_ADDRESS__
    void *fake = nullptr;
    asan_leave(to, &fake);
#endif
#ifdef __x86_64__
    pk_emu_switch(from ? &from->stack_pointer : &host_stack_pointer,
                  to ? to->stack_pointer : host_stack_pointer);
#else
    (void)host_stack_pointer;
    swapcontext(from ? &contexts[from->id] : &host_context, to ? &contexts[to->id] : &host_context);
#endif
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

} // namespace emu
