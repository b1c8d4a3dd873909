/* Worker threads that stay: run(n tasks) on all of them, the caller included.
 *
 * Owns its threads. One caller at a time. Tasks are handed out in order by a counter, so which
 * thread runs a task varies and results must not depend on it. */
#ifndef PITH_BACKEND_CPU_POOL_H
#define PITH_BACKEND_CPU_POOL_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pith_pool pith_pool;

/* worker: 0 .. n_threads - 1, for scratch of one's own. */
typedef void (*pith_pool_fn)(void *arg, size_t task, size_t worker);

PITH_MUST_USE pith_status pith_pool_open(pith_pool **pool, uint32_t n_threads, pith_err *err);
void pith_pool_close(pith_pool *pool);

/* Returns when every task has run; what they wrote is visible to the caller. */
void pith_pool_run(pith_pool *pool, pith_pool_fn fn, void *arg, size_t n_tasks);

#endif
