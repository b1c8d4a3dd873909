/* Texts of which a deadline left the end unscored: that end is kept as it is, the rest is decided
 * as ever. */
#include "tests/runtime/decide/fixture.h"

static fixture f;
static char text[16384];

static int open_all(void **state) {
    fixture_open(&f, fixture_golden("tokenizer.json"));
    f.opts.window_tokens = 128;
    f.opts.halo_tokens = 16;
    size_t len = 0;
    for (int i = 0; i < 400; i++) {
        static const char *const words[] = {"alpha", "river", "stone", "paper", "cloud"};
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s%s", words[i * 7 % 5],
                                i % 31 == 30 ? " 404" : "", i % 9 == 8 ? "\n" : " ");
    }
    return 0;
}

static int close_all(void **state) {
    fixture_close(&f);
    return 0;
}

static pith_compress_request request_of(pith_budget budget, double value, pith_profile profile) {
    return (pith_compress_request){.text = text,
                                   .text_len = strlen(text),
                                   .domain = PITH_DOMAIN_PROSE,
                                   .budget = budget,
                                   .budget_value = value,
                                   .profile = profile,
                                   .explain = true};
}

/* Scores everything and forgets all but the first `keep` windows. */
static void compress_first(const pith_compress_request *request, uint32_t keep) {
    fixture_rule rule = {3, 0, 1.0};
    fixture_score_text(&f, request, &rule);
    assert_true(f.doc.n_windows > keep);
    for (uint32_t u = f.doc.windows[keep].unit_begin; u < f.doc.n_units; u++) {
        f.scores[u] = 0.0F;
    }
    f.doc.n_windows = keep;
    f.doc.cut_short = true;
    if (fixture_finish(&f, request) != PITH_OK) {
        fail_msg("%s", f.err.text);
    }
}

static uint32_t words_behind(uint32_t keep) {
    uint32_t first = f.doc.windows[keep - 1].unit_end;
    return f.doc.n_words - f.doc.units[first].word;
}

static void the_unscored_end_is_kept_word_for_word(void **state) {
    const pith_compress_request requests[] = {
        request_of(PITH_BUDGET_THRESHOLD, 0.5, PITH_PROFILE_FAITHFUL),
        request_of(PITH_BUDGET_TARGET_RATIO, 0.3, PITH_PROFILE_FAITHFUL),
        request_of(PITH_BUDGET_MAX_TOKENS, 60, PITH_PROFILE_FAITHFUL),
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        compress_first(&requests[i], 2);
        uint32_t first = f.doc.windows[1].unit_end;
        size_t start = f.doc.units[first].start;
        size_t tail = strlen(text) - start;
        assert_true(f.result.text_len > tail && f.result.text_len < strlen(text));
        assert_memory_equal(f.result.text + f.result.text_len - tail, text + start, tail);
        assert_int_equal(f.result.unscored_words, words_behind(2));
        assert_int_equal(f.result.critical_kept, f.result.critical_total);
        assert_int_equal(f.result.passthrough, PITH_PASS_NONE);
        for (uint32_t u = first; u < f.doc.n_units; u++) {
            assert_true(f.result.explanation.kept[u]);
            assert_true(f.result.explanation.score[u] >= 1.0F);
        }
    }
}

/* Without that, what was scored would pay for what was not and lose all but its critical spans. */
static void a_budget_is_for_the_scored_part_alone(void **state) {
    pith_compress_request request =
        request_of(PITH_BUDGET_TARGET_RATIO, 0.4, PITH_PROFILE_FAITHFUL);
    compress_first(&request, 2);
    uint32_t scored = 0;
    uint32_t kept = 0;
    for (uint32_t u = 0; u < f.doc.windows[1].unit_end; u++) {
        scored += f.doc.units[u].n_tok;
        kept += f.result.explanation.kept[u] ? f.doc.units[u].n_tok : 0;
    }
    assert_in_range(kept, scored * 35 / 100, scored * 40 / 100);
    assert_true(f.result.budget_missed);
    request = request_of(PITH_BUDGET_MAX_TOKENS, 100, PITH_PROFILE_FAITHFUL);
    compress_first(&request, 2);
    uint32_t all = f.doc.n_tok;
    kept = 0;
    for (uint32_t u = 0; u < f.doc.windows[1].unit_end; u++) {
        kept += f.result.explanation.kept[u] ? f.doc.units[u].n_tok : 0;
    }
    /* line ends have tokens too */
    assert_in_range(kept, scored * 100 / all / 2, scored * 100 / all + 8);
    assert_true(f.result.budget_missed);
}

static void kompress_keeps_unscored_chunks_too(void **state) {
    pith_compress_request request = request_of(PITH_BUDGET_THRESHOLD, 0.5, PITH_PROFILE_KOMPRESS);
    compress_first(&request, 1);
    uint32_t first = f.doc.windows[0].unit_end;
    assert_true(first < f.doc.n_units);
    assert_int_equal(f.result.unscored_words, f.doc.n_units - first);
    for (uint32_t u = first; u < f.doc.n_units; u++) {
        assert_true(f.result.explanation.kept[u]);
    }
    assert_true(f.result.text_len < strlen(text));
}

static void with_nothing_dropped_the_reason_is_the_deadline(void **state) {
    pith_compress_request request = request_of(PITH_BUDGET_THRESHOLD, 0.0, PITH_PROFILE_FAITHFUL);
    compress_first(&request, 2);
    assert_int_equal(f.result.passthrough, PITH_PASS_DEADLINE);
    assert_int_equal(f.result.unscored_words, words_behind(2));
    assert_ptr_equal(f.result.text, text);
}

static void a_text_scored_in_full_has_no_unscored_words(void **state) {
    pith_compress_request request =
        request_of(PITH_BUDGET_TARGET_RATIO, 0.4, PITH_PROFILE_FAITHFUL);
    fixture_rule rule = {3, 0, 1.0};
    fixture_compress(&f, &request, &rule);
    assert_int_equal(f.result.unscored_words, 0);
    assert_false(f.result.budget_missed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unscored_end_is_kept_word_for_word),
        cmocka_unit_test(a_budget_is_for_the_scored_part_alone),
        cmocka_unit_test(kompress_keeps_unscored_chunks_too),
        cmocka_unit_test(with_nothing_dropped_the_reason_is_the_deadline),
        cmocka_unit_test(a_text_scored_in_full_has_no_unscored_words),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
