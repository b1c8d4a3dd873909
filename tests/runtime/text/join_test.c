#include "runtime/text/join.h"

#include "runtime/text/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { UNITS_MAX = 64 };

typedef struct joining {
    pith_arena arena;
    pith_document doc;
    pith_joined joined;
    pith_unit units[UNITS_MAX];
    bool kept[UNITS_MAX];
} joining;

/* A document of whole words, without a tokenizer. */
static void begin(joining *j, const char *text) {
    *j = (joining){0};
    pith_arena_init(&j->arena, 1 << 20);
    j->doc = (pith_document){.text = text, .len = strlen(text), .units = j->units};
    pith_word_walk walk = {.text = text, .len = j->doc.len};
    while (pith_word_next(&walk)) {
        assert_true(j->doc.n_units < UNITS_MAX);
        j->units[j->doc.n_units] = (pith_unit){
            .start = walk.start, .end = walk.end, .word = j->doc.n_units, .line = walk.line};
        j->doc.n_units++;
    }
    assert_true(pith_joined_init(&j->joined, &j->doc, &j->arena));
}

/* keep: '1' for a kept unit. */
static void check(const char *text, const char *keep, pith_profile profile, const char *expected) {
    joining j;
    begin(&j, text);
    assert_int_equal(strlen(keep), j.doc.n_units);
    for (size_t i = 0; keep[i] != '\0'; i++) {
        j.kept[i] = keep[i] == '1';
    }
    pith_join(&j.doc, profile, j.kept, &j.joined);
    if (j.joined.len != strlen(expected) || memcmp(j.joined.text, expected, j.joined.len) != 0) {
        fail_msg("[%s] with %s is [%.*s], expected [%s]", text, keep, (int)j.joined.len,
                 j.joined.text, expected);
    }
    for (uint32_t u = 0; u < j.doc.n_units; u++) {
        if (j.kept[u]) {
            assert_memory_equal(j.joined.text + j.joined.unit_out[u], text + j.units[u].start,
                                j.units[u].end - j.units[u].start);
        }
    }
    pith_arena_reset(&j.arena);
}

static void faithful(const char *text, const char *keep, const char *expected) {
    check(text, keep, PITH_PROFILE_FAITHFUL, expected);
}

static void with_every_unit_kept_the_output_is_the_input(void **state) {
    faithful("  a  b\t\tc \r\n\r\n\n   d\n \n", "1111", "  a  b\t\tc \r\n\r\n\n   d\n \n");
    faithful("a", "1", "a");
}

static void space_between_kept_neighbours_is_copied(void **state) {
    faithful("a  b   c    d", "1101", "a  b d");
    faithful("a\t b c", "110", "a\t b");
}

static void a_dropped_word_leaves_one_space(void **state) {
    faithful("a   b   c", "101", "a c");
    faithful("a b c d e", "10001", "a e");
}

static void a_kept_word_stays_on_its_line_with_its_indentation(void **state) {
    faithful("x y\n    p q\nz", "11011", "x y\n    q\nz");
    faithful("x y\n    p q\nz", "01101", "y\n    p\nz");
    faithful("    p q r\n", "010", "    q\n");
}

static void a_line_that_loses_every_word_goes(void **state) {
    faithful("a b\nc d\ne f\n", "110011", "a b\ne f\n");
    faithful("a b\nc d\ne f\n", "001100", "c d\n");
}

static void blank_lines_before_a_kept_line_stay(void **state) {
    faithful("a b\n\n\nc d", "1011", "a\n\n\nc d");
    faithful("a b\n\n\nc d", "1001", "a\n\n\nd");
}

static void a_blank_line_dropped_on_the_way_becomes_one(void **state) {
    faithful("a\n\nb\nc\n", "101", "a\n\nc\n");
    faithful("a\n\n\n\nb\n\nc\nd", "1001", "a\n\nd");
}

static void the_lines_own_end_is_used(void **state) {
    faithful("a b\r\nc d\r\ne\r\n", "10101", "a\r\nc\r\ne\r\n");
    faithful("a b\r\n\r\nc\r\nd e\r\n", "10010", "a\r\n\r\nd\r\n");
}

static void the_final_line_end_stays(void **state) {
    faithful("a b\n", "10", "a\n");
    faithful("a b", "10", "a");
    faithful("a b\n\n\n", "01", "b\n\n\n");
}

static void text_before_the_first_unit_goes_with_it(void **state) {
    faithful("\n\n  a b", "10", "\n\n  a");
    faithful("\n\n  a b", "01", "  b");
}

static void nothing_kept_is_nothing(void **state) {
    faithful("a b\n", "00", "");
}

static void kompress_joins_by_one_space_or_one_newline(void **state) {
    check("  a   b\n\n\tc  d\n", "1111", PITH_PROFILE_KOMPRESS, "a b\nc d");
    check("  a   b\n\n\tc  d\n", "0101", PITH_PROFILE_KOMPRESS, "b\nd");
}

static void pieces_of_one_word_join_without_space(void **state) {
    pith_unit units[] = {{0, 2, 0, 0, 1}, {2, 4, 0, 0, 1}, {4, 6, 0, 0, 1}};
    pith_document doc = {.text = "aabbcc", .len = 6, .units = units, .n_units = 3};
    pith_arena arena;
    pith_arena_init(&arena, 1 << 16);
    pith_joined joined;
    assert_true(pith_joined_init(&joined, &doc, &arena));
    pith_join(&doc, PITH_PROFILE_FAITHFUL, (bool[]){true, true, false}, &joined);
    assert_int_equal(joined.len, 4);
    assert_memory_equal(joined.text, "aabb", 4);
    pith_join(&doc, PITH_PROFILE_FAITHFUL, (bool[]){true, false, true}, &joined);
    assert_int_equal(joined.len, 5);
    assert_memory_equal(joined.text, "aa cc", 5);
    pith_arena_reset(&arena);
}

/* The room for the output is the input's length: every choice over every short text fits. */
static void the_output_is_never_longer_than_the_input(void **state) {
    static const char alphabet[] = "a \n\r";
    for (uint32_t n = 0; n < 4 * 4 * 4 * 4 * 4 * 4 * 4; n++) {
        char text[8] = {0};
        for (uint32_t i = 0, rest = n; i < 7; i++, rest /= 4) {
            text[i] = alphabet[rest % 4];
        }
        joining j;
        begin(&j, text);
        for (uint32_t mask = 0; mask < 1U << j.doc.n_units; mask++) {
            for (uint32_t u = 0; u < j.doc.n_units; u++) {
                j.kept[u] = (mask >> u & 1) != 0;
            }
            pith_join(&j.doc, PITH_PROFILE_FAITHFUL, j.kept, &j.joined);
            assert_true(j.joined.len <= j.doc.len);
        }
        pith_arena_reset(&j.arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_every_unit_kept_the_output_is_the_input),
        cmocka_unit_test(space_between_kept_neighbours_is_copied),
        cmocka_unit_test(a_dropped_word_leaves_one_space),
        cmocka_unit_test(a_kept_word_stays_on_its_line_with_its_indentation),
        cmocka_unit_test(a_line_that_loses_every_word_goes),
        cmocka_unit_test(blank_lines_before_a_kept_line_stay),
        cmocka_unit_test(a_blank_line_dropped_on_the_way_becomes_one),
        cmocka_unit_test(the_lines_own_end_is_used),
        cmocka_unit_test(the_final_line_end_stays),
        cmocka_unit_test(text_before_the_first_unit_goes_with_it),
        cmocka_unit_test(nothing_kept_is_nothing),
        cmocka_unit_test(kompress_joins_by_one_space_or_one_newline),
        cmocka_unit_test(pieces_of_one_word_join_without_space),
        cmocka_unit_test(the_output_is_never_longer_than_the_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
