/* Linked into bench/gpu's programs where they run under emulation: their device is a Hopper. */
#include "runtime/backend/cuda/emulated.h"

__attribute__((constructor)) static void be_a_hopper(void) {
    pith_emulated_capability(9, 0);
}
