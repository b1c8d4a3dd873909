#include "runtime/decide/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N_MAX = 3000 };

static uint64_t seed = 23;

static uint32_t random_below(uint32_t n) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((seed >> 33) % n);
}

static uint64_t cost[N_MAX + 1];
static uint32_t count[N_MAX + 1];

/* Runs the search over count[]; returns its answer and how many counts it took. */
static uint32_t search(uint32_t n, uint32_t limit, uint32_t *n_counts) {
    pith_prefix p;
    pith_prefix_init(&p, cost, n, limit, count[0], count[n]);
    *n_counts = 0;
    uint32_t k;
    while (pith_prefix_next(&p, &k)) {
        assert_true(k > 0 && k < n);
        pith_prefix_report(&p, k, count[k]);
        ++*n_counts;
    }
    return p.low;
}

/* Estimates that are off by up to `noise`, and counts that may shrink when `shrink`. */
static void fill(uint32_t n, uint32_t noise, bool shrink) {
    cost[0] = 0;
    count[0] = random_below(3);
    for (uint32_t k = 1; k <= n; k++) {
        uint32_t step = 1 + random_below(6);
        cost[k] = cost[k - 1] + step;
        count[k] = count[k - 1] + step / 2 + random_below(noise);
        if (shrink && random_below(5) == 0 && count[k] > 2) {
            count[k] -= random_below(3);
        }
    }
}

static void the_answer_fits_and_the_next_prefix_does_not(void **state) {
    for (int round = 0; round < 2000; round++) {
        uint32_t n = 1 + random_below(round < 1900 ? 60 : N_MAX);
        fill(n, 1 + random_below(5), round % 2 == 0);
        if (count[n] <= count[0]) {
            continue;
        }
        uint32_t limit = count[0] + random_below(count[n] - count[0]);
        uint32_t n_counts;
        uint32_t k = search(n, limit, &n_counts);
        assert_true(count[k] <= limit);
        assert_true(k + 1 <= n && count[k + 1] > limit);
    }
}

static void few_counts_are_taken(void **state) {
    for (int round = 0; round < 200; round++) {
        fill(N_MAX, 1 + random_below(4), false);
        uint32_t limit = count[0] + random_below(count[N_MAX] - count[0]);
        uint32_t n_counts;
        (void)search(N_MAX, limit, &n_counts);
        assert_true(n_counts <= 3 * 12); /* every third halves 3,000 */
    }
}

static void estimates_that_say_nothing_still_end(void **state) {
    for (uint32_t k = 0; k <= N_MAX; k++) {
        cost[k] = 5;
        count[k] = k;
    }
    uint32_t n_counts;
    assert_int_equal(search(N_MAX, 1234, &n_counts), 1234);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_fits_and_the_next_prefix_does_not),
        cmocka_unit_test(few_counts_are_taken),
        cmocka_unit_test(estimates_that_say_nothing_still_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
