#include "runtime/text/words.h"

#include "runtime/base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Code points c with chr(c).isspace() in Python 3.11, all 29. */
static const uint32_t spaces[] = {0x9,    0xA,    0xB,    0xC,    0xD,    0x1C,   0x1D,   0x1E,
                                  0x1F,   0x20,   0x85,   0xA0,   0x1680, 0x2000, 0x2001, 0x2002,
                                  0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200A,
                                  0x2028, 0x2029, 0x202F, 0x205F, 0x3000};

static bool listed(uint32_t code) {
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        if (spaces[i] == code) {
            return true;
        }
    }
    return false;
}

static void white_space_is_that_of_python_for_every_code_point(void **state) {
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code <= 0xDFFF) {
            continue;
        }
        char text[4];
        size_t len = pith_utf8_encode(code, text);
        size_t found = pith_space_len(text, len, 0);
        if (found != (listed(code) ? len : 0)) {
            fail_msg("U+%04X: %zu", code, found);
        }
    }
}

static void a_character_cut_short_is_no_white_space(void **state) {
    assert_int_equal(pith_space_len("\xC2", 1, 0), 0);
    assert_int_equal(pith_space_len("\xE2\x80", 2, 0), 0);
    assert_int_equal(pith_space_len("\xE3\x80", 2, 0), 0);
}

static void words_and_lines_are_found_in_order(void **state) {
    static const char text[] = "\n one\xC2\xA0two\r\n\n\xE3\x80\x80three\x1C"
                               "four\xE2\x80\xA9";
    static const struct {
        const char *word;
        uint32_t line;
    } expected[] = {{"one", 1}, {"two", 1}, {"three", 3}, {"four", 3}};
    pith_word_walk walk = {.text = text, .len = sizeof text - 1};
    for (size_t i = 0; i < 4; i++) {
        assert_true(pith_word_next(&walk));
        assert_int_equal(walk.line, expected[i].line);
        assert_int_equal(walk.end - walk.start, strlen(expected[i].word));
        assert_memory_equal(text + walk.start, expected[i].word, walk.end - walk.start);
    }
    assert_false(pith_word_next(&walk));
    assert_false(pith_word_next(&walk));
}

static void nul_bytes_are_word_characters(void **state) {
    pith_word_walk walk = {.text = "a\0b c", .len = 5};
    assert_true(pith_word_next(&walk));
    assert_int_equal(walk.end, 3);
}

static void strip_takes_white_space_of_any_width_from_both_ends(void **state) {
    static const char text[] = " \xE2\x80\x83x \xC3\xA9\xC2\x85\xE3\x80\x80\t";
    size_t start = 0;
    size_t end = sizeof text - 1;
    pith_space_strip(text, &start, &end);
    assert_int_equal(start, 4);
    assert_int_equal(end - start, 4);
    start = 0;
    end = 4;
    pith_space_strip(" \xE2\x80\x83", &start, &end);
    assert_int_equal(start, end);
}

static void a_megabyte_of_newlines_between_two_words_is_walked_once(void **state) {
    size_t len = (1 << 20) + 2;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, '\n', len);
    text[0] = 'a';
    text[len - 1] = 'b';
    pith_word_walk walk = {.text = text, .len = len};
    assert_true(pith_word_next(&walk));
    assert_true(pith_word_next(&walk));
    assert_int_equal(walk.line, 1 << 20);
    assert_false(pith_word_next(&walk));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_is_that_of_python_for_every_code_point),
        cmocka_unit_test(a_character_cut_short_is_no_white_space),
        cmocka_unit_test(words_and_lines_are_found_in_order),
        cmocka_unit_test(nul_bytes_are_word_characters),
        cmocka_unit_test(strip_takes_white_space_of_any_width_from_both_ends),
        cmocka_unit_test(a_megabyte_of_newlines_between_two_words_is_walked_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
