/* Repeated lines: which stay, what the reply counts, time and collisions. */
#include "runtime/decide/fold.h"
#include "runtime/decide/table.h"

#include "tests/runtime/decide/fixture_group.h"

#include <time.h>

enum { TEXT_BYTES = 1 << 16 };

static char text[TEXT_BYTES];

static pith_compress_request request_for(const char *input) {
    return (pith_compress_request){.text = input,
                                   .text_len = strlen(input),
                                   .domain = PITH_DOMAIN_LOG,
                                   .explain = true,
                                   .fold_repeats = true};
}

/* Decides with every unit scored `score`. */
static void compress(const pith_compress_request *request, float score) {
    fixture_rule rule = {1, 0, 1.0};
    fixture_score_text(&f, request, &rule);
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        f.scores[u] = score;
    }
    if (fixture_finish(&f, request) != PITH_OK) {
        fail_msg("%s", f.err.text);
    }
}

static void check_text(const char *expected) {
    if (f.result.text_len != strlen(expected) ||
        memcmp(f.result.text, expected, f.result.text_len) != 0) {
        fail_msg("[%.*s], expected [%s]", (int)f.result.text_len, f.result.text, expected);
    }
}

/* With every score above the threshold all that goes is folded. */
static void check_fold(const char *input, const char *expected, uint32_t n_folded) {
    pith_compress_request request = request_for(input);
    compress(&request, 0.9F);
    check_text(expected);
    assert_int_equal(f.result.folded_lines, n_folded);
}

static void the_first_and_the_last_of_a_kind_stay(void **state) {
    check_fold("tick 1 ok\ntick 2 ok\ntick 3 ok\ntick 4 ok\n", "tick 1 ok\ntick 4 ok\n", 2);
    check_fold("tick 1 ok\ntick 2 ok\n", "tick 1 ok\ntick 2 ok\n", 0);
    /* occurrences far apart are one kind, and the order of what stays is that of the text */
    check_fold("a 1\nb 1\na 2\nb 2\na 3\nb 3\nc 1\n", "a 1\nb 1\na 3\nb 3\nc 1\n", 2);
    check_fold("same line\nsame line\nsame line", "same line\nsame line", 1);
}

static void more_lines_stay_when_folding_begins_later(void **state) {
    f.config.fold_after = 3;
    check_fold("t 1\nt 2\nt 3\nt 4\nt 5\nt 6\n", "t 1\nt 2\nt 3\nt 6\n", 2);
    f.config.fold_after = 0;
}

static void lines_with_signs_of_errors_stay_and_count_for_nothing(void **state) {
    check_fold("put 'a'\nput 'error'\nput 'b'\nput 'c'\n", "put 'a'\nput 'error'\nput 'c'\n", 1);
    /* a first line that failed does not stand for those that did not */
    check_fold("got HTTP/1 500\ngot HTTP/1 200\ngot HTTP/1 201\ngot HTTP/1 202\ngot HTTP/1 500\n",
               "got HTTP/1 500\ngot HTTP/1 200\ngot HTTP/1 202\ngot HTTP/1 500\n", 1);
    check_fold("refused 1\nrefused 2\nrefused 3\n", "refused 1\nrefused 2\nrefused 3\n", 0);
}

static void a_line_with_an_identifier_new_to_its_kind_stays(void **state) {
    check_fold("up node1 5\nup node1 6\nup node2 7\nup node2 8\nup node1 9\nup node1 9\n",
               "up node1 5\nup node2 7\nup node1 9\n", 3);
    check_fold("see CVE-2024-1\nsee CVE-2024-2\nsee CVE-2024-1\nsee CVE-2024-1\n",
               "see CVE-2024-1\nsee CVE-2024-2\nsee CVE-2024-1\n", 1);
    /* known to another kind is not known to this one */
    check_fold("up node1 5\ngo node2 5\nup node2 6\nup node2 7\n",
               "up node1 5\ngo node2 5\nup node2 6\nup node2 7\n", 0);
}

static void words_that_differ_make_different_kinds(void **state) {
    check_fold("user alice in\nuser bob in\nuser carol in\nuser dave in\n",
               "user alice in\nuser bob in\nuser carol in\nuser dave in\n", 0);
}

static void lines_that_are_nothing_but_masks_stay(void **state) {
    check_fold("/a/x.c\n/a/y.c\n/a/z.c\n\"q\",\n\"r\",\n\"s\",\n12\n13\n14\n",
               "/a/x.c\n/a/y.c\n/a/z.c\n\"q\",\n\"r\",\n\"s\",\n12\n13\n14\n", 0);
}

static void keep_ranges_prevent_folding(void **state) {
    const char *input = "tick 1 ok\ntick 2 ok\ntick 3 ok\ntick 4 ok\n";
    pith_range keep[] = {{15, 16}, {29, 29}}; /* the "2"; nothing */
    pith_compress_request request = request_for(input);
    request.keep = keep;
    request.n_keep = 2;
    compress(&request, 0.9F);
    check_text("tick 1 ok\ntick 2 ok\ntick 4 ok\n");
    keep[0] = (pith_range){19, 20}; /* a line's end touches no line */
    compress(&request, 0.9F);
    check_text("tick 1 ok\ntick 4 ok\n");
}

static void code_diffs_and_kompress_do_not_fold(void **state) {
    const char *input = "tick 1 ok\ntick 2 ok\ntick 3 ok\ntick 4 ok\n";
    static const pith_domain domains[] = {PITH_DOMAIN_CODE, PITH_DOMAIN_DIFF};
    for (size_t i = 0; i < 2; i++) {
        pith_compress_request request = request_for(input);
        request.domain = domains[i];
        compress(&request, 0.9F);
        assert_int_equal(f.result.folded_lines, 0);
        check_text(input);
    }
    pith_compress_request request = request_for(input);
    request.profile = PITH_PROFILE_KOMPRESS;
    compress(&request, 0.9F);
    assert_int_equal(f.result.folded_lines, 0);
    check_text(input);
}

static void members_of_a_record_stay_together(void **state) {
    const char *input = "[\n"
                        "  {\n    \"id\": 1,\n    \"state\": \"up\"\n  },\n"
                        "  {\n    \"id\": 2,\n    \"state\": \"up\"\n  },\n"
                        "  {\n    \"id\": 3,\n    \"state\": \"failed\"\n  },\n"
                        "  {\n    \"id\": 4,\n    \"state\": \"up\"\n  },\n"
                        "  {\n    \"id\": 5,\n    \"state\": \"up\"\n  }\n"
                        "]\n";
    pith_compress_request request = request_for(input);
    request.domain = PITH_DOMAIN_JSON;
    compress(&request, 0.9F);
    check_text("[\n"
               "  {\n    \"id\": 1,\n    \"state\": \"up\"\n  },\n"
               "  {\n    \"id\": 3,\n    \"state\": \"failed\"\n  },\n"
               "  {\n    \"id\": 5,\n    \"state\": \"up\"\n  }\n"
               "]\n");
    request.domain = PITH_DOMAIN_LOG; /* here lines are lines: the failed one stays alone */
    compress(&request, 0.9F);
    assert_null(memmem(f.result.text, f.result.text_len, "\"id\": 3", 7));
    assert_non_null(memmem(f.result.text, f.result.text_len, "failed", 6));
}

static uint32_t units_kept(void) {
    uint32_t n = 0;
    for (size_t i = 0; i < f.result.explanation.n; i++) {
        n += f.result.explanation.kept[i];
    }
    return n;
}

/* What the floor alone keeps: numbers; and the sign of an error, though no critical span. */
static void counts_ranges_and_explanation_follow(void **state) {
    const char *input = "tick 1 ok\ntick 2 ok\ntick 3 ok\npeer refused us\ntick 4 ok\n";
    pith_compress_request request = request_for(input);
    compress(&request, 0.1F);
    check_text("1\nrefused\n4\n");
    const pith_compress_result *r = &f.result;
    assert_int_equal(r->folded_lines, 2);
    assert_int_equal(r->folded_critical, 2);
    assert_int_equal(r->critical_total, 2);
    assert_int_equal(r->critical_kept, 2);
    assert_int_equal(r->input_words, 15);
    assert_int_equal(r->kept_words, 3);
    assert_int_equal(units_kept(), 3);
    assert_int_equal(r->n_kept_ranges, 3);
    assert_int_equal(r->kept_ranges[1].start, 35);
    for (size_t i = 0; i < r->explanation.n; i++) {
        assert_true(r->explanation.kept[i] || !r->explanation.critical[i]);
    }
    request.fold_repeats = false;
    compress(&request, 0.1F);
    check_text("1\n2\n3\n4\n");
    assert_int_equal(f.result.critical_total, 4);
    assert_int_equal(f.result.folded_lines + f.result.folded_critical, 0);
}

/* Without a critical span in them, lines that stand for others could vanish by their scores. */
static void a_kind_of_which_lines_fold_leaves_a_word_of_each_that_stays(void **state) {
    const char *input = "waiting for peers\nwaiting for peers\nwaiting for peers\nall quiet\n";
    pith_compress_request request = request_for(input);
    fixture_rule rule = {1, 0, 1.0};
    fixture_score_text(&f, &request, &rule);
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        f.scores[u] = u % 3 == 2 ? 0.2F : 0.1F; /* "peers" */
    }
    assert_int_equal(fixture_finish(&f, &request), PITH_OK);
    check_text("peers\npeers\n");
}

static void budgets_are_shares_of_the_whole_input(void **state) {
    size_t n = 0;
    for (int i = 0; i < 100; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "plain words repeat here\n");
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "another line of words that stands alone\n");
    pith_compress_request request = request_for(text);
    request.budget = PITH_BUDGET_TARGET_RATIO;
    request.budget_value = 0.25;
    compress(&request, 0.1F);
    check_text("plain words repeat here\nplain words repeat here\n"
               "another line of words that stands alone\n");
    assert_false(f.result.budget_missed);
    request.budget = PITH_BUDGET_MAX_TOKENS;
    request.budget_value = 12;
    compress(&request, 0.1F);
    assert_true(f.result.kept_tokens <= 12 && !f.result.budget_missed);
    assert_int_equal(f.result.folded_lines, 98);
}

static void a_score_that_is_not_finite_folds_nothing(void **state) {
    const char *input = "tick 1 ok\ntick 2 ok\ntick 3 ok\n";
    pith_compress_request request = request_for(input);
    compress(&request, 0.0F / 0.0F);
    assert_int_equal(f.result.passthrough, PITH_PASS_NONFINITE_SCORE);
    assert_int_equal(f.result.folded_lines, 0);
    assert_int_equal(f.result.critical_total, 3);
}

static uint32_t n_folded_with(const char *input, uint32_t hash_bits) {
    pith_compress_request request = request_for(input);
    fixture_rule rule = {1, 0, 1.0};
    fixture_score_text(&f, &request, &rule);
    bool held[64] = {false};
    assert_true(f.doc.n_units <= 64);
    pith_fold fold;
    pith_fold_opts opts = {.hash_bits = hash_bits};
    assert_int_equal(pith_fold_find(&f.doc, &opts, held, &f.arena, &fold, &f.err), PITH_OK);
    return fold.n_folded;
}

static void identifiers_of_another_kind_are_new_even_when_they_collide(void **state) {
    const char *input = "up node1 5\ngo node2 5\nup node2 6\nup node2 7\nup node2 8\n";
    assert_int_equal(n_folded_with(input, 0), 1);
    assert_int_equal(n_folded_with(input, 1), 1);
}

/* Collisions on purpose: one bit of the hash is left. Bytes decide, and the lines are the same as
 * with the whole hash; where too many kinds share a place the others stay. */
static void kinds_and_identifiers_that_collide_are_told_apart(void **state) {
    static const uint32_t n_kinds[] = {20, 200};
    for (size_t c = 0; c < 2; c++) {
        size_t n = 0;
        for (uint32_t i = 0; i < 3 * n_kinds[c]; i++) {
            uint32_t k = i % n_kinds[c];
            n += (size_t)snprintf(text + n, sizeof text - n, "k%c%c x%u on %u\n", 'a' + (int)k / 26,
                                  'a' + (int)k % 26, k % 7, i);
        }
        pith_compress_request request = request_for(text);
        fixture_rule rule = {1, 0, 1.0};
        fixture_score_text(&f, &request, &rule);
        bool *held = calloc(f.doc.n_units, sizeof *held);
        pith_fold folds[2];
        for (uint32_t bits = 0; bits < 2; bits++) {
            pith_fold_opts opts = {.hash_bits = bits};
            assert_int_equal(pith_fold_find(&f.doc, &opts, held, &f.arena, &folds[bits], &f.err),
                             PITH_OK);
        }
        free(held);
        assert_int_equal(folds[0].n_folded, n_kinds[c]);
        uint32_t least = c == 0 ? n_kinds[c] : PITH_TABLE_PROBES_MAX / 2;
        assert_in_range(folds[1].n_folded, least, c == 0 ? least : PITH_TABLE_PROBES_MAX + 1);
        for (uint32_t i = 0; i < folds[1].n_lines; i++) {
            assert_true(folds[0].lines[i].folded || !folds[1].lines[i].folded);
        }
    }
}

/* Lines whose templates differ in one byte at a time, or not at all. */
static void a_hundred_thousand_lines_take_linear_time(void **state) {
    enum { LINES = 100000, LINE_BYTES = 48 };
    char *many = malloc((size_t)LINES * LINE_BYTES);
    assert_non_null(many);
    for (int form = 0; form < 3; form++) {
        size_t n = 0;
        for (int i = 0; i < LINES; i++) {
            static const char *const forms[] = {"tick %d of node%d\n", "{\n%*d", "w%x ab%dc\n"};
            n += (size_t)snprintf(many + n, LINE_BYTES, forms[form], form == 1 ? i % 40 : i, i);
        }
        fixture_rule rule = {1, 0, 1.0};
        pith_compress_request request = {.text = many, .text_len = n};
        fixture_score_text(&f, &request, &rule);
        bool *held = calloc(f.doc.n_units, sizeof *held);
        pith_fold fold;
        pith_fold_opts opts = {.records = true};
        clock_t began = clock();
        assert_int_equal(pith_fold_find(&f.doc, &opts, held, &f.arena, &fold, &f.err), PITH_OK);
        double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
        free(held);
        if (!(seconds < 5.0)) { /* quadratic: many minutes; linear: 0.1 s, sanitizers 1 s */
            fail_msg("form %d: %.1f s", form, seconds);
        }
    }
    free(many);
}

static void a_small_arena_is_exhausted_not_overrun(void **state) {
    const char *input = "tick 1 ok node1\ntick 2 ok node2\n  tick 3 ok\ntick 4 ok\n";
    pith_compress_request request = request_for(input);
    request.domain = PITH_DOMAIN_JSON;
    compress(&request, 0.9F);
    pith_status status = PITH_EXHAUSTED;
    for (size_t bound = 0; status != PITH_OK; bound += 64) {
        pith_arena small;
        pith_arena_init(&small, bound);
        status = pith_compress_finish(&f.config, &request, &f.doc, f.tokenizer, f.scores, &f.list,
                                      &small, &f.result, &f.err);
        assert_true(status == PITH_OK || status == PITH_EXHAUSTED);
        pith_arena_reset(&small);
        assert_true(bound < 1 << 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_and_the_last_of_a_kind_stay),
        cmocka_unit_test(more_lines_stay_when_folding_begins_later),
        cmocka_unit_test(lines_with_signs_of_errors_stay_and_count_for_nothing),
        cmocka_unit_test(a_line_with_an_identifier_new_to_its_kind_stays),
        cmocka_unit_test(words_that_differ_make_different_kinds),
        cmocka_unit_test(lines_that_are_nothing_but_masks_stay),
        cmocka_unit_test(keep_ranges_prevent_folding),
        cmocka_unit_test(code_diffs_and_kompress_do_not_fold),
        cmocka_unit_test(members_of_a_record_stay_together),
        cmocka_unit_test(counts_ranges_and_explanation_follow),
        cmocka_unit_test(a_kind_of_which_lines_fold_leaves_a_word_of_each_that_stays),
        cmocka_unit_test(budgets_are_shares_of_the_whole_input),
        cmocka_unit_test(a_score_that_is_not_finite_folds_nothing),
        cmocka_unit_test(kinds_and_identifiers_that_collide_are_told_apart),
        cmocka_unit_test(identifiers_of_another_kind_are_new_even_when_they_collide),
        cmocka_unit_test(a_hundred_thousand_lines_take_linear_time),
        cmocka_unit_test(a_small_arena_is_exhausted_not_overrun),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
