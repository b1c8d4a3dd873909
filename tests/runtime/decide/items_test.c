/* Ranking: best score first, ties to the earlier, however many there are. */
#include "runtime/decide/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void check_ranking(uint32_t n, uint32_t levels) {
    pith_item *items = calloc(n, sizeof *items);
    uint64_t *keys = malloc(2 * (size_t)n * sizeof *keys);
    uint32_t *order = malloc(n * sizeof *order);
    bool *seen = calloc(n, sizeof *seen);
    uint32_t n_free = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t x = (i + 1) * UINT32_C(2654435761);
        items[i].forced = x >> 29 == 5;
        items[i].score = levels > 0 ? (float)((x >> 8) % levels) / (float)levels
                                    : (float)(x >> 8) / (float)(1 << 24);
        n_free += !items[i].forced;
    }
    assert_int_equal(pith_items_rank(items, n, keys, order), n_free);
    for (uint32_t k = 0; k < n_free; k++) {
        assert_in_range(order[k], 0, n - 1);
        assert_false(seen[order[k]] || items[order[k]].forced);
        seen[order[k]] = true;
        if (k > 0) {
            float before = items[order[k - 1]].score;
            float here = items[order[k]].score;
            assert_true(before > here || (before >= here && order[k - 1] < order[k]));
        }
    }
    free(items);
    free(keys);
    free(order);
    free(seen);
}

static void items_are_ranked_by_score_and_then_by_place(void **state) {
    static const uint32_t sizes[] = {1, 2, 350, 8192, 8193, 20000, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_ranking(sizes[i], 0);
        check_ranking(sizes[i], 1); /* all alike */
        check_ranking(sizes[i], 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_ranked_by_score_and_then_by_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
