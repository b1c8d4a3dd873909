/* The floor as the recipe is given it: the same code as in a reply, copied out. */
#include "models/recipe/floor/floor.h"

#include "runtime/text/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pith_recipe_floor *recipe_floor;
static pith_err err;

static int open_all(void **state) {
    return pith_recipe_floor_open(&recipe_floor, &err) == PITH_OK ? 0 : -1;
}

static int close_all(void **state) {
    pith_recipe_floor_close(recipe_floor);
    return 0;
}

static void look_at(const char *text, const char *domain, pith_recipe_look *look) {
    if (pith_recipe_floor_look(recipe_floor, text, strlen(text), domain, look, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
}

static uint64_t class_bit(const char *name) {
    for (uint32_t i = 0; pith_recipe_class_name(i) != NULL; i++) {
        if (strcmp(pith_recipe_class_name(i), name) == 0) {
            return UINT64_C(1) << i;
        }
    }
    fail_msg("no class %s", name);
    return 0;
}

static void words_spans_and_classes_are_copied_out(void **state) {
    pith_recipe_look look;
    look_at("port 8080\nin  use", "log", &look);
    assert_int_equal(look.n_words, 4);
    assert_int_equal(look.domain, PITH_DOMAIN_LOG);
    assert_int_equal(look.words[1].start, 5);
    assert_int_equal(look.words[1].end, 9);
    assert_int_equal(look.words[2].line, 1);
    assert_true(look.words[1].critical && look.words[1].forced);
    assert_false(look.words[0].critical || look.words[0].forced);
    assert_int_equal(look.n_spans, 1);
    assert_int_equal(look.spans[0].start, 5);
    assert_true((look.spans[0].classes & class_bit("number")) != 0);
    assert_int_equal(look.words[1].classes, look.spans[0].classes);
    pith_recipe_look_free(&look);
}

static void one_counted_span_carries_every_class_that_matches_in_it(void **state) {
    pith_recipe_look look;
    look_at("see /usr/lib/v1.2.3 now", "prose", &look);
    assert_int_equal(look.n_spans, 1);
    uint64_t wanted = class_bit("path") | class_bit("mixed_path") | class_bit("version");
    assert_int_equal(look.spans[0].classes & wanted, wanted);
    pith_recipe_look_free(&look);
}

static void rows_of_tables_are_forced_whole(void **state) {
    pith_recipe_look look;
    look_at("a  b  1\nc  d  2\ne  f  3\n", "log", &look);
    assert_int_equal(look.n_words, 9);
    for (uint32_t i = 0; i < look.n_words; i++) {
        assert_true(look.words[i].forced);
        assert_int_equal(look.words[i].critical, i % 3 == 2);
    }
    pith_recipe_look_free(&look);
}

static void nothing_is_found_in_an_empty_text(void **state) {
    pith_recipe_look look;
    look_at(" \n ", "auto", &look);
    assert_int_equal(look.n_words, 0);
    assert_int_equal(look.n_spans, 0);
    assert_int_equal(look.domain, PITH_DOMAIN_PROSE);
    pith_recipe_look_free(&look);
}

static void bad_bytes_and_unknown_domains_are_refused(void **state) {
    pith_recipe_look look;
    assert_int_equal(pith_recipe_floor_look(recipe_floor, "a\xFF", 2, "auto", &look, &err),
                     PITH_INVALID);
    assert_int_equal(pith_recipe_floor_look(recipe_floor, "a", 1, "poetry", &look, &err),
                     PITH_INVALID);
    assert_null(look.words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_spans_and_classes_are_copied_out),
        cmocka_unit_test(one_counted_span_carries_every_class_that_matches_in_it),
        cmocka_unit_test(rows_of_tables_are_forced_whole),
        cmocka_unit_test(nothing_is_found_in_an_empty_text),
        cmocka_unit_test(bad_bytes_and_unknown_domains_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
