/* Sets of eight bytes hold what they say, byte for byte. */
#include "runtime/text/eight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool no_letter(unsigned c) {
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
}

static bool no_mark(unsigned c) {
    return c <= ' ' || c >= 0x80;
}

/* Each byte at each place, beside neighbours from one end of the range to the other. */
static void check(uint64_t (*set)(uint64_t), bool (*holds)(unsigned)) {
    static const unsigned char around[] = {0x00, 0x20, 'A', 'Z', '[', '`', 'a', 'z', 0x7F, 0xFF};
    for (size_t a = 0; a < sizeof around; a++) {
        for (unsigned c = 0; c < 256; c++) {
            for (size_t at = 0; at < 8; at++) {
                char text[8];
                memset(text, around[a], sizeof text);
                text[at] = (char)c;
                uint64_t found = set(pith_eight_at(text));
                for (size_t i = 0; i < 8; i++) {
                    bool in = (found >> (8 * i) & 0xFF) == 0x80;
                    assert_true((found >> (8 * i) & 0x7F) == 0);
                    assert_int_equal(in, holds((unsigned char)text[i]));
                }
            }
        }
    }
}

static void letters_are_the_ascii_letters(void **state) {
    check(pith_eight_no_letter, no_letter);
}

static void marks_are_what_is_printed_in_ascii(void **state) {
    check(pith_eight_no_mark, no_mark);
}

static uint64_t tabs(uint64_t bytes) {
    return pith_eight_equal(bytes, '\t');
}

static bool is_tab(unsigned c) {
    return c == '\t';
}

static void a_byte_is_found_where_it_stands(void **state) {
    check(tabs, is_tab);
}

static void a_set_is_counted(void **state) {
    for (unsigned places = 0; places < 256; places++) {
        uint64_t set = 0;
        for (unsigned i = 0; i < 8; i++) {
            set |= (uint64_t)(places >> i & 1) << (8 * i + 7);
        }
        assert_int_equal(pith_eight_count(set), __builtin_popcount(places));
    }
}

static void the_first_of_a_set_comes_first_in_the_text(void **state) {
    assert_int_equal(pith_eight_first(0), 8);
    for (size_t i = 0; i < 8; i++) {
        char text[8] = {'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'};
        memset(text + i, ' ', 8 - i);
        assert_int_equal(pith_eight_first(pith_eight_no_letter(pith_eight_at(text))), i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_are_the_ascii_letters),
        cmocka_unit_test(marks_are_what_is_printed_in_ascii),
        cmocka_unit_test(a_byte_is_found_where_it_stands),
        cmocka_unit_test(a_set_is_counted),
        cmocka_unit_test(the_first_of_a_set_comes_first_in_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
