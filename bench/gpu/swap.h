/* One operation of the backend on the fast kernels and all others on the safe ones: what is off in
 * a whole forward pass is then known. The operations are wrapped by the linker (--wrap). */
#ifndef PITH_BENCH_GPU_SWAP_H
#define PITH_BENCH_GPU_SWAP_H

/* qkv, geglu, linear, attn or heads: that operation alone is fast from now on, and "auto" is what
 * the device is opened with; any other name stands for itself and changes nothing. */
const char *bench_swap(const char *kernels);

#endif
