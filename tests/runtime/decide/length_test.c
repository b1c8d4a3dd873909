/* The price of long units: odds divided by a power of their tokens. */
#include "tests/runtime/decide/fixture.h"

#include <math.h>

enum { LONGER = 10 };

static fixture f;
static const char text[] = "a plain word internationalization misunderstandings of it";

static int open_all(void **state) {
    fixture_open(&f, fixture_golden("tokenizer.json"));
    return 0;
}

static int close_all(void **state) {
    fixture_close(&f);
    return 0;
}

static pith_compress_request request_of(pith_profile profile) {
    return (pith_compress_request){.text = text,
                                   .text_len = sizeof text - 1,
                                   .explain = true,
                                   .profile = profile,
                                   .domain = PITH_DOMAIN_PROSE};
}

static const fixture_rule rule = {.seed = 7, .scale = 1.0};

static void odds_of_a_unit_are_divided_by_the_root_of_its_tokens(void **state) {
    pith_compress_request request = request_of(PITH_PROFILE_FAITHFUL);
    f.config.length_exponent = 0.5;
    fixture_compress(&f, &request, &rule);
    uint32_t longest = 0;
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        double p = (double)f.scores[u];
        double odds = p / (1.0 - p) / sqrt((double)f.doc.units[u].n_tok);
        assert_true(fabs((double)f.result.explanation.score[u] - odds / (1.0 + odds)) < 1e-6);
        longest = f.doc.units[u].n_tok > longest ? f.doc.units[u].n_tok : longest;
    }
    assert_true(longest > 2);
}

static void scores_of_0_and_1_stay_what_they_are(void **state) {
    pith_compress_request request = request_of(PITH_PROFILE_FAITHFUL);
    f.config.length_exponent = 2.0;
    fixture_score_text(&f, &request, &rule);
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        f.scores[u] = (float)(u % 2);
    }
    assert_int_equal(fixture_finish(&f, &request), PITH_OK);
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        assert_true(f.result.explanation.score[u] == (float)(u % 2));
    }
}

static void without_an_exponent_and_in_kompress_scores_are_the_models(void **state) {
    pith_compress_request request = request_of(PITH_PROFILE_FAITHFUL);
    f.config.length_exponent = 0.0;
    fixture_compress(&f, &request, &rule);
    assert_memory_equal(f.result.explanation.score, f.scores, f.doc.n_units * sizeof(float));
    char longer[LONGER * sizeof text] = ""; /* kompress scores no text under 64 words */
    for (int i = 0; i < LONGER; i++) {
        size_t used = strlen(longer);
        (void)snprintf(longer + used, sizeof longer - used, "%s%s", i == 0 ? "" : " ", text);
    }
    request = request_of(PITH_PROFILE_KOMPRESS);
    request.text = longer;
    request.text_len = strlen(longer);
    f.config.length_exponent = 0.5;
    fixture_compress(&f, &request, &rule);
    assert_memory_equal(f.result.explanation.score, f.scores, f.doc.n_units * sizeof(float));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odds_of_a_unit_are_divided_by_the_root_of_its_tokens),
        cmocka_unit_test(scores_of_0_and_1_stay_what_they_are),
        cmocka_unit_test(without_an_exponent_and_in_kompress_scores_are_the_models),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
