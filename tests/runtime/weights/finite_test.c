/* The NaN and infinity scan: every exponent, every position, every dtype. */
#include "runtime/weights/finite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 5000 }; /* several blocks of the scan and a rest */

static void halves_are_finite_exactly_when_their_exponent_is_not_all_ones(void **state) {
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        uint16_t value = (uint16_t)bits;
        bool bf16 = (bits & 0x7f80u) != 0x7f80u;
        bool f16 = (bits & 0x7c00u) != 0x7c00u;
        assert_int_equal(pith_finite_prefix(&value, PITH_BF16, 1), bf16 ? 1 : 0);
        assert_int_equal(pith_finite_prefix(&value, PITH_F16, 1), f16 ? 1 : 0);
    }
}

static void the_first_bad_element_is_found_wherever_it_is(void **state) {
    static float words[COUNT];
    static uint16_t halves[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        words[i] = -3.4e38f; /* the largest finite exponent, sign set */
        halves[i] = 0xff7f;  /* the same in bf16 */
    }
    for (size_t at = 0; at < COUNT; at += 37) {
        const uint32_t infinity = 0xff800000u;
        float saved = words[at];
        memcpy(&words[at], &infinity, sizeof infinity);
        halves[at] = 0x7fc0;
        assert_int_equal(pith_finite_prefix(words, PITH_F32, COUNT), at);
        assert_int_equal(pith_finite_prefix(halves, PITH_BF16, COUNT), at);
        words[at] = saved;
        halves[at] = 0xff7f;
    }
    assert_int_equal(pith_finite_prefix(words, PITH_F32, COUNT), COUNT);
    assert_int_equal(pith_finite_prefix(halves, PITH_BF16, COUNT), COUNT);
    assert_int_equal(pith_finite_prefix(words, PITH_F32, 0), 0);
}

static void unaligned_data_is_scanned_alike(void **state) {
    static unsigned char bytes[COUNT * 2 + 1];
    bytes[1 + 2 * 4444] = 0x80;
    bytes[2 + 2 * 4444] = 0x7f;
    assert_int_equal(pith_finite_prefix(bytes + 1, PITH_BF16, COUNT), 4444);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_are_finite_exactly_when_their_exponent_is_not_all_ones),
        cmocka_unit_test(the_first_bad_element_is_found_wherever_it_is),
        cmocka_unit_test(unaligned_data_is_scanned_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
