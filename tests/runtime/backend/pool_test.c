/* The worker pool: every task once, results visible, any number of threads and rounds. */
#include "runtime/backend/cpu/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { TASKS = 300, ROUNDS = 200 };

typedef struct tally {
    uint32_t counts[TASKS]; /* written by whichever thread ran the task, read after the round */
    size_t workers_max;
} tally;

static void count_task(void *arg, size_t task, size_t worker) {
    tally *t = arg;
    t->counts[task] += worker < t->workers_max ? 1 : 1000;
}

static void every_task_runs_once_per_round(void **state) {
    for (uint32_t threads = 1; threads <= 5; threads++) {
        pith_pool *pool;
        pith_err err;
        tally t = {.workers_max = threads};
        assert_int_equal(pith_pool_open(&pool, threads, &err), PITH_OK);
        for (size_t round = 0; round < ROUNDS; round++) {
            pith_pool_run(pool, count_task, &t, round % TASKS);
        }
        for (size_t i = 0; i < TASKS; i++) {
            assert_int_equal(t.counts[i], i < ROUNDS ? ROUNDS - 1 - i : 0);
        }
        pith_pool_close(pool);
    }
}

static void a_pool_that_never_ran_closes(void **state) {
    pith_pool *pool;
    pith_err err;
    assert_int_equal(pith_pool_open(&pool, 4, &err), PITH_OK);
    pith_pool_close(pool);
    pith_pool_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once_per_round),
        cmocka_unit_test(a_pool_that_never_ran_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
