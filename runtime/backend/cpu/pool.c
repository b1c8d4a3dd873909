#include "runtime/backend/cpu/pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* Turns of `pause` before a thread sleeps: about 20 us, longer than the gap between two operations
 * and short against waking from sleep twice. */
enum { SPIN_TURNS = 1000 };

typedef struct worker {
    pith_pool *pool;
    size_t index;
    pthread_t thread;
} worker;

struct pith_pool {
    uint32_t n_threads;
    worker *workers; /* [n_threads - 1], indices 1 .. */
    uint32_t n_started;
    pthread_mutex_t lock;
    pthread_cond_t start;
    pthread_cond_t finish;
    bool quit; /* under the lock, before a new round */

    /* One round: written by the caller before `round` moves on, read by workers after. */
    pith_pool_fn fn;
    void *arg;
    size_t n_tasks;
    atomic_size_t next;
    atomic_uint active; /* workers that have not finished the round */
    atomic_uint round;
};

static void run_tasks(pith_pool *pool, size_t index) {
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->n_tasks) {
            return;
        }
        pool->fn(pool->arg, task, index);
    }
}

/* Waits until the round differs from `seen`. */
static unsigned next_round(pith_pool *pool, unsigned seen) {
    for (int turn = 0; turn < SPIN_TURNS; turn++) {
        unsigned now = atomic_load_explicit(&pool->round, memory_order_acquire);
        if (now != seen) {
            return now;
        }
        _mm_pause();
    }
    (void)pthread_mutex_lock(&pool->lock);
    while (atomic_load_explicit(&pool->round, memory_order_acquire) == seen) {
        (void)pthread_cond_wait(&pool->start, &pool->lock);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return atomic_load_explicit(&pool->round, memory_order_acquire);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    pith_pool *pool = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = next_round(pool, seen);
        if (pool->quit) {
            return NULL;
        }
        run_tasks(pool, w->index);
        if (atomic_fetch_sub_explicit(&pool->active, 1, memory_order_acq_rel) == 1) {
            (void)pthread_mutex_lock(&pool->lock);
            (void)pthread_cond_signal(&pool->finish);
            (void)pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void begin_round(pith_pool *pool) {
    (void)pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
    (void)pthread_cond_broadcast(&pool->start);
    (void)pthread_mutex_unlock(&pool->lock);
}

static void await_workers(pith_pool *pool) {
    for (int turn = 0; turn < SPIN_TURNS; turn++) {
        if (atomic_load_explicit(&pool->active, memory_order_acquire) == 0) {
            return;
        }
        _mm_pause();
    }
    (void)pthread_mutex_lock(&pool->lock);
    while (atomic_load_explicit(&pool->active, memory_order_acquire) != 0) {
        (void)pthread_cond_wait(&pool->finish, &pool->lock);
    }
    (void)pthread_mutex_unlock(&pool->lock);
}

void pith_pool_run(pith_pool *pool, pith_pool_fn fn, void *arg, size_t n_tasks) {
    pool->fn = fn;
    pool->arg = arg;
    pool->n_tasks = n_tasks;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    if (pool->n_started == 0 || n_tasks < 2) {
        run_tasks(pool, 0);
        return;
    }
    atomic_store_explicit(&pool->active, pool->n_started, memory_order_relaxed);
    begin_round(pool);
    run_tasks(pool, 0);
    await_workers(pool);
}

pith_status pith_pool_open(pith_pool **pool, uint32_t n_threads, pith_err *err) {
    *pool = NULL;
    pith_pool *p = calloc(1, sizeof *p);
    worker *workers = calloc(n_threads, sizeof *workers);
    if (p == NULL || workers == NULL) {
        free(p);
        free(workers);
        return pith_fail(err, PITH_NO_MEMORY, "a pool of %u threads cannot be allocated",
                         n_threads);
    }
    p->n_threads = n_threads;
    p->workers = workers;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->start, NULL);
    (void)pthread_cond_init(&p->finish, NULL);
    for (uint32_t i = 0; i + 1 < n_threads; i++) {
        workers[i] = (worker){.pool = p, .index = i + 1};
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0) {
            pith_pool_close(p);
            return pith_fail(err, PITH_NO_MEMORY, "compute thread %u of %u cannot be started",
                             i + 2, n_threads);
        }
        p->n_started++;
    }
    *pool = p;
    return PITH_OK;
}

void pith_pool_close(pith_pool *pool) {
    if (pool == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    (void)pthread_mutex_unlock(&pool->lock);
    begin_round(pool);
    for (uint32_t i = 0; i < pool->n_started; i++) {
        (void)pthread_join(pool->workers[i].thread, NULL);
    }
    (void)pthread_cond_destroy(&pool->start);
    (void)pthread_cond_destroy(&pool->finish);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}
