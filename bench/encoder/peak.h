/* Peaks of this CPU, measured: independent chains of the widest multiply-add, one thread each. */
#ifndef PITH_BENCH_PEAK_H
#define PITH_BENCH_PEAK_H

#include <stdint.h>

/* GFLOP/s over `n_threads`; 0 where the CPU has no such instruction. */
double bench_peak_f32(uint32_t n_threads);  /* 256-bit or 512-bit FMA, the faster */
double bench_peak_bf16(uint32_t n_threads); /* 512-bit vdpbf16ps */

#endif
