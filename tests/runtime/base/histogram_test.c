#include "runtime/base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_value_falls_into_the_first_bucket_that_holds_it(void **state) {
    pith_histogram histogram;
    pith_histogram_init(&histogram, &pith_histogram_powers);
    const uint64_t values[] = {0, 1, 2, 3, 4, 1 << 19, (1 << 19) + 1, UINT64_C(1) << 40};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        pith_histogram_add(&histogram, values[i]);
        sum += values[i];
    }
    pith_histogram_view view;
    pith_histogram_read(&histogram, &view);
    assert_int_equal(view.counts[0], 2); /* 0 and 1 */
    assert_int_equal(view.counts[1], 1); /* 2 */
    assert_int_equal(view.counts[2], 2); /* 3 and 4 */
    assert_int_equal(view.counts[19], 1);
    assert_int_equal(view.counts[20], 2); /* above every bound */
    assert_int_equal(view.count, 8);
    assert_int_equal(view.sum, sum);
}

static void bounds_ascend(void **state) {
    const pith_histogram_bounds *all[] = {&pith_histogram_seconds, &pith_histogram_powers};
    for (size_t k = 0; k < 2; k++) {
        assert_in_range(all[k]->n, 1, PITH_HISTOGRAM_BOUNDS_MAX);
        for (uint32_t i = 1; i < all[k]->n; i++) {
            assert_true(all[k]->upper[i] > all[k]->upper[i - 1]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_falls_into_the_first_bucket_that_holds_it),
        cmocka_unit_test(bounds_ascend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
