#include "runtime/text/tabular.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* One character per line: '1' protected, '0' not. */
static void check(const char *text, pith_profile profile, const char *expected) {
    bool rows[32];
    size_t n = strlen(expected);
    assert_true(n < sizeof rows);
    memset(rows, 2, sizeof rows);
    pith_tabular_mark(text, strlen(text), profile, rows);
    for (size_t i = 0; i < n; i++) {
        if (rows[i] != (expected[i] == '1')) {
            fail_msg("line %zu of [%s] should be %c", i, text, expected[i]);
        }
    }
}

static void three_like_rows_are_a_table(void **state) {
    check("a  b  c\nd  e  f\ng  h  i", PITH_PROFILE_KOMPRESS, "111");
    check("x\na  b  c\nd  e  f\ng  h  i\ny", PITH_PROFILE_KOMPRESS, "01110");
    check("a  b  c\nd  e  f\ng  h  i\n", PITH_PROFILE_FAITHFUL, "1110");
}

static void two_rows_two_cells_or_unlike_rows_are_none(void **state) {
    check("a  b  c\nd  e  f", PITH_PROFILE_KOMPRESS, "00");
    check("a  b\nd  e\ng  h", PITH_PROFILE_KOMPRESS, "000");
    check("a  b  c\nd  e  f  g\nh  i  j", PITH_PROFILE_KOMPRESS, "000");
    check("a  b  c\n\nd  e  f\nh  i  j", PITH_PROFILE_KOMPRESS, "0000");
    check("", PITH_PROFILE_KOMPRESS, "0");
}

static void indentation_and_trailing_space_are_no_cells(void **state) {
    check("    a  b\n    c  d\n    e  f", PITH_PROFILE_KOMPRESS, "000");
    check("    a  b  c   \n  c  d  e\ne  f  g\r", PITH_PROFILE_KOMPRESS, "111");
}

static void any_two_white_space_characters_part_cells(void **state) {
    check("a \tb\xC2\xA0 c\nd\x1C\x1F"
          "e \xE3\x80\x80"
          "f\ng  h  i",
          PITH_PROFILE_KOMPRESS, "111");
}

static void one_tab_parts_cells_in_faithful_only(void **state) {
    check("a\tb\tc\nd\te\tf\ng\th\ti", PITH_PROFILE_KOMPRESS, "000");
    check("a\tb\tc\nd\te\tf\ng\th\ti", PITH_PROFILE_FAITHFUL, "111");
}

static void markdown_rows_are_a_table_in_faithful_only(void **state) {
    const char *text = "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |\nend";
    check(text, PITH_PROFILE_KOMPRESS, "0000");
    check(text, PITH_PROFILE_FAITHFUL, "1110");
    check("|\n|\n|", PITH_PROFILE_FAITHFUL, "000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_like_rows_are_a_table),
        cmocka_unit_test(two_rows_two_cells_or_unlike_rows_are_none),
        cmocka_unit_test(indentation_and_trailing_space_are_no_cells),
        cmocka_unit_test(any_two_white_space_characters_part_cells),
        cmocka_unit_test(one_tab_parts_cells_in_faithful_only),
        cmocka_unit_test(markdown_rows_are_a_table_in_faithful_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
