/* Replies to single texts: reasons, errors, domains, tables. */
#include "tests/runtime/decide/fixture_group.h"

#include <math.h>

static pith_compress_request request_for(const char *text) {
    return (pith_compress_request){
        .text = text, .text_len = strlen(text), .domain = PITH_DOMAIN_PROSE, .explain = true};
}

/* Prepares a text and gives every unit `score`. */
static void prepare(const pith_compress_request *request, float score) {
    fixture_rule rule = {1, 0, 1.0};
    fixture_score_text(&f, request, &rule);
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        f.scores[u] = score;
    }
}

static void finish(const pith_compress_request *request) {
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

static void check_passed(const pith_compress_request *request, pith_passthrough reason) {
    assert_int_equal(f.result.passthrough, reason);
    assert_ptr_equal(f.result.text, request->text);
    assert_int_equal(f.result.text_len, request->text_len);
    assert_int_equal(f.result.kept_words, f.result.input_words);
    assert_int_equal(f.result.kept_tokens, f.result.input_tokens);
    assert_int_equal(f.result.critical_kept, f.result.critical_total);
    assert_int_equal(f.result.n_kept_ranges, request->text_len > 0 ? 1 : 0);
}

static void empty_text_passes_as_empty(void **state) {
    static const char *const texts[] = {"", " \n\t ", "\xE3\x80\x80"};
    for (size_t i = 0; i < 3; i++) {
        pith_compress_request request = request_for(texts[i]);
        request.budget = PITH_BUDGET_MAX_TOKENS;
        request.budget_value = 1;
        prepare(&request, 0);
        assert_true(pith_compress_trivial(&request, &f.doc, &f.result, &f.arena));
        check_passed(&request, PITH_PASS_EMPTY);
        assert_false(f.result.budget_missed);
        finish(&request);
        check_passed(&request, PITH_PASS_EMPTY);
    }
}

static void kompress_passes_short_texts_and_counts_their_critical_spans(void **state) {
    pith_compress_request request = request_for("under 64 words, with v1.2.3 in it");
    request.profile = PITH_PROFILE_KOMPRESS;
    prepare(&request, 0);
    assert_false(pith_compress_trivial(&request, &f.doc, &f.result, &f.arena));
    assert_int_equal(f.doc.n_windows, 0);
    finish(&request);
    check_passed(&request, PITH_PASS_TOO_SHORT);
    assert_int_equal(f.result.critical_total, 2);
    assert_int_equal(f.result.unscored_words, f.result.input_words);
}

static void nothing_dropped_and_nothing_kept_say_so(void **state) {
    pith_compress_request request = request_for("plain words here\nwith lines\n");
    prepare(&request, 0.9F);
    finish(&request);
    check_passed(&request, PITH_PASS_NOTHING_DROPPED);
    prepare(&request, 0.1F);
    finish(&request);
    check_passed(&request, PITH_PASS_NOTHING_KEPT);
}

static void a_score_that_is_not_finite_passes_the_text_through(void **state) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        pith_compress_request request = request_for("plain words and 42 here");
        prepare(&request, 0.1F);
        f.scores[2] = bad[i];
        finish(&request);
        check_passed(&request, PITH_PASS_NONFINITE_SCORE);
        assert_true(isfinite(f.result.explanation.score[2]));
    }
}

static void a_late_text_passes_with_its_counts(void **state) {
    pith_compress_request request = request_for("plain words and 42 here");
    request.budget = PITH_BUDGET_MAX_TOKENS;
    request.budget_value = 2;
    prepare(&request, 0.1F);
    pith_compress_pass(&f.config, &request, &f.doc, PITH_PASS_DEADLINE, &f.result, &f.arena);
    check_passed(&request, PITH_PASS_DEADLINE);
    assert_int_equal(f.result.critical_total, 2); /* "and" and "42" */
    assert_true(f.result.budget_missed);
    assert_int_equal(f.result.unscored_words, 5);
    pith_compress_pass(NULL, &request, &f.doc, PITH_PASS_DEADLINE, &f.result, &f.arena);
    check_passed(&request, PITH_PASS_DEADLINE);
}

static void thresholds_go_by_domain(void **state) {
    pith_compress_request request = request_for("plain words here");
    f.config.thresholds[PITH_DOMAIN_LOG] = 0.2;
    prepare(&request, 0.3F);
    request.domain = PITH_DOMAIN_LOG;
    finish(&request);
    assert_int_equal(f.result.passthrough, PITH_PASS_NOTHING_DROPPED);
    assert_int_equal(f.result.domain, PITH_DOMAIN_LOG);
    request.domain = PITH_DOMAIN_AUTO;
    finish(&request);
    assert_int_equal(f.result.domain, PITH_DOMAIN_PROSE);
    assert_int_equal(f.result.passthrough, PITH_PASS_NOTHING_KEPT);
    f.config.thresholds[PITH_DOMAIN_LOG] = 0.5;
}

static void a_score_at_the_threshold_is_dropped(void **state) {
    pith_compress_request request = request_for("plain words here");
    prepare(&request, 0.5F);
    f.scores[1] = 0.5000001F;
    finish(&request);
    check_text("words");
}

static void table_rows_are_kept_or_dropped_whole(void **state) {
    pith_compress_request request =
        request_for("head line\nname   size   kind\nalpha   beta   gamma\ndelta   zeta   theta\n");
    prepare(&request, 0.1F);
    f.scores[6] = 0.9F; /* beta */
    f.scores[1] = 0.8F; /* line: no table */
    finish(&request);
    check_text("line\nalpha   beta   gamma\n");
}

static void a_critical_cell_keeps_its_row(void **state) {
    pith_compress_request request =
        request_for("name   size   kind\nalpha   42   gamma\ndelta   zeta   theta\n");
    prepare(&request, 0.1F);
    finish(&request);
    check_text("alpha   42   gamma\n");
}

static void keep_ranges_force_what_they_touch(void **state) {
    pith_compress_request request = request_for("plain words here now");
    pith_range keep[] = {{8, 9}, {0, 0}, {16, 18}}; /* "words", nothing, "now" */
    request.keep = keep;
    request.n_keep = 3;
    prepare(&request, 0.1F);
    finish(&request);
    check_text("words now");
    assert_int_equal(f.result.n_kept_ranges, 2);
}

static void bad_keep_ranges_are_refused(void **state) {
    static const pith_range bad[] = {{2, 1}, {0, 99}, {1, 2}};
    pith_compress_request request = request_for("\xC3\xA9t\xC3\xA9 word");
    for (size_t i = 0; i < 3; i++) {
        request.keep = &bad[i];
        request.n_keep = 1;
        prepare(&request, 0.1F);
        assert_int_equal(fixture_finish(&f, &request), PITH_INVALID);
        assert_non_null(strstr(f.err.text, "keep[0]"));
    }
}

static void many_overlapping_keep_ranges_take_linear_time(void **state) {
    enum { N = 50000 };
    char *text = malloc(2 * N);
    pith_range *keep = malloc(N * sizeof *keep);
    assert_true(text != NULL && keep != NULL);
    for (uint32_t i = 0; i < N; i++) {
        text[2 * i] = 'a';
        text[2 * i + 1] = ' ';
        keep[i] = (pith_range){i % 100, 2 * N - i % 100};
    }
    pith_compress_request request = {
        .text = text, .text_len = 2 * N, .keep = keep, .n_keep = N, .domain = PITH_DOMAIN_PROSE};
    prepare(&request, 0.1F);
    finish(&request);
    assert_int_equal(f.result.passthrough, PITH_PASS_NOTHING_DROPPED);
    free(text);
    free(keep);
}

static void explaining_too_many_words_is_refused(void **state) {
    size_t len = 2 * (size_t)(PITH_EXPLAIN_WORDS_MAX + 1);
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i += 2) {
        text[i] = 'a';
        text[i + 1] = ' ';
    }
    pith_compress_request request = {
        .text = text, .text_len = len, .explain = true, .domain = PITH_DOMAIN_PROSE};
    prepare(&request, 0.1F);
    assert_int_equal(fixture_finish(&f, &request), PITH_INVALID);
    request.explain = false;
    finish(&request);
    free(text);
}

static void without_explain_there_is_no_explanation(void **state) {
    pith_compress_request request = request_for("plain words here 42");
    request.explain = false;
    prepare(&request, 0.1F);
    finish(&request);
    assert_int_equal(f.result.explanation.n, 0);
    check_text("42");
}

static void a_text_is_never_compressed_to_nothing_by_a_budget(void **state) {
    pith_compress_request request = request_for("several plain words");
    prepare(&request, 0.1F);
    f.scores[1] = 0.2F;
    request.budget = PITH_BUDGET_TARGET_RATIO;
    request.budget_value = 0.001;
    finish(&request);
    check_text("plain");
    assert_true(f.result.budget_missed);
}

static void a_pattern_that_runs_away_keeps_its_unit_and_is_counted(void **state) {
    pith_critical *critical = NULL;
    assert_int_equal(pith_critical_open(&critical,
                                        "{\"classes\": {\"bad\": {\"pattern\":"
                                        " \"(?:a|aa|a.)+[!?]\"}}, \"only\": [\"bad\"]}",
                                        &f.err),
                     PITH_OK);
    f.config.critical = critical;
    pith_compress_request request =
        request_for("one aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab two");
    prepare(&request, 0.1F);
    finish(&request);
    assert_int_equal(f.result.pattern_limit_hits, 1);
    assert_int_equal(f.result.critical_total, 0);
    check_text("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    f.config.critical = f.critical;
    pith_critical_close(critical);
}

static void an_arena_over_its_bound_is_an_error_not_a_crash(void **state) {
    static char text[4000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = i % 5 == 4 ? ' ' : "42ab"[i % 5];
    }
    for (int profile = PITH_PROFILE_FAITHFUL; profile <= PITH_PROFILE_KOMPRESS; profile++) {
        for (int budget = PITH_BUDGET_DEFAULT; budget <= PITH_BUDGET_MAX_TOKENS; budget++) {
            pith_compress_request request = {.text = text,
                                             .text_len = sizeof text,
                                             .profile = (pith_profile)profile,
                                             .budget = (pith_budget)budget,
                                             .budget_value = budget == 3 ? 100 : 0.5,
                                             .explain = true};
            prepare(&request, 0.1F);
            pith_status status = PITH_EXHAUSTED;
            for (size_t bound = 0; status != PITH_OK; bound += 2048) {
                pith_arena small;
                pith_arena_init(&small, bound);
                status = pith_compress_finish(&f.config, &request, &f.doc, f.tokenizer, f.scores,
                                              &f.list, &small, &f.result, &f.err);
                assert_true(status == PITH_OK || status == PITH_EXHAUSTED);
                pith_arena_reset(&small);
                assert_true(bound < 4000000);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_text_passes_as_empty),
        cmocka_unit_test(kompress_passes_short_texts_and_counts_their_critical_spans),
        cmocka_unit_test(nothing_dropped_and_nothing_kept_say_so),
        cmocka_unit_test(a_score_that_is_not_finite_passes_the_text_through),
        cmocka_unit_test(a_late_text_passes_with_its_counts),
        cmocka_unit_test(thresholds_go_by_domain),
        cmocka_unit_test(a_score_at_the_threshold_is_dropped),
        cmocka_unit_test(table_rows_are_kept_or_dropped_whole),
        cmocka_unit_test(a_critical_cell_keeps_its_row),
        cmocka_unit_test(keep_ranges_force_what_they_touch),
        cmocka_unit_test(bad_keep_ranges_are_refused),
        cmocka_unit_test(many_overlapping_keep_ranges_take_linear_time),
        cmocka_unit_test(explaining_too_many_words_is_refused),
        cmocka_unit_test(without_explain_there_is_no_explanation),
        cmocka_unit_test(a_text_is_never_compressed_to_nothing_by_a_budget),
        cmocka_unit_test(a_pattern_that_runs_away_keeps_its_unit_and_is_counted),
        cmocka_unit_test(an_arena_over_its_bound_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
