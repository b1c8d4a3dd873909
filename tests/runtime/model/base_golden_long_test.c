/* The full shape on all seven sequences, 1,500 tokens. */
#include "tests/runtime/model/base_golden_cases.h"

static void
the_full_shape_matches_transformers_on_1500_tokens_and_bf16_decides_alike(void **state) {
    check_base_from(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_full_shape_matches_transformers_on_1500_tokens_and_bf16_decides_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
