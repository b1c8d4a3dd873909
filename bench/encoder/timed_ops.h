/* An ops table that times each operation and hands it on. One device at a time, one thread. */
#ifndef PITH_BENCH_TIMED_OPS_H
#define PITH_BENCH_TIMED_OPS_H

#include "runtime/ops.h"

#include <stdio.h>

/* The same context works with both tables. */
const pith_ops *bench_timed_ops(const pith_ops *inner);

/* One line: each operation's share of the time since the last call. */
void bench_timed_print(FILE *out);

#endif
