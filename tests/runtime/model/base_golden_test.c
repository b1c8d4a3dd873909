/* The full shape on its last two sequences, 95 tokens; the rest takes minutes under sanitizers and
 * is in base_golden_long_test.c. */
#include "tests/runtime/model/base_golden_cases.h"

static void the_full_shape_matches_transformers_and_bf16_decides_alike(void **state) {
    check_base_from(5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_full_shape_matches_transformers_and_bf16_decides_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
