/* The price of long units and of repeated ones: odds divided by powers. */
#include "runtime/decide/table.h"
#include "tests/runtime/decide/fixture_group.h"

#include <math.h>

enum { LONGER = 10, COLLIDING = 200 };

static const char text[] = "a plain word internationalization misunderstandings of it";

static pith_compress_request request_of(pith_profile profile, const char *of) {
    return (pith_compress_request){.text = of,
                                   .text_len = strlen(of),
                                   .explain = true,
                                   .profile = profile,
                                   .domain = PITH_DOMAIN_PROSE};
}

static const fixture_rule rule = {.seed = 7, .scale = 1.0};

static void odds_of_a_unit_are_divided_by_the_root_of_its_tokens(void **state) {
    pith_compress_request request = request_of(PITH_PROFILE_FAITHFUL, text);
    f.config.length_exponent = 0.5;
    f.config.repeat_exponent = 0.0;
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

static void check_uses(const pith_compress_request *request, const uint32_t *uses, uint32_t n) {
    f.config.length_exponent = 0.0;
    f.config.repeat_exponent = 0.5;
    fixture_compress(&f, request, &rule);
    assert_int_equal(f.doc.n_units, n);
    for (uint32_t u = 0; u < n; u++) {
        double p = (double)f.scores[u];
        double odds = p / (1.0 - p) / sqrt((double)uses[u]);
        assert_true(fabs((double)f.result.explanation.score[u] - odds / (1.0 + odds)) < 1e-6);
    }
}

static void odds_of_the_nth_use_of_a_word_are_divided_by_the_root_of_n(void **state) {
    pith_compress_request request =
        request_of(PITH_PROFILE_FAITHFUL, "Timeout, again: (timeout) TIMEOUT timeouts again -- -- "
                                          "\xC3\x84rger \xC3\xA4rger \xC3\x84rger");
    /* Case is ASCII's alone; punctuation is no word. */
    static const uint32_t uses[] = {1, 1, 2, 3, 1, 2, 1, 1, 1, 1, 2};
    check_uses(&request, uses, sizeof uses / sizeof uses[0]);
}

static uint32_t hash_of(const char *word) {
    uint64_t hash = PITH_HASH_START;
    for (; *word != '\0'; word++) {
        hash = pith_hash_add(hash, (unsigned char)*word);
    }
    return pith_hash_end(hash);
}

/* Every word once, then every word again: those that found no place count as new. */
static void words_that_share_a_place_cost_a_bounded_search(void **state) {
    char *longer = calloc(2 * COLLIDING, 16);
    assert_non_null(longer);
    size_t len = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; found < COLLIDING; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "w%x", i);
        if ((hash_of(word) & 0x3FF) == 7) { /* 2 * COLLIDING units: 1,024 places */
            len += (size_t)snprintf(longer + len, 16, "%s ", word);
            found++;
        }
    }
    memcpy(longer + len, longer, len);
    pith_compress_request request = request_of(PITH_PROFILE_FAITHFUL, longer);
    uint32_t uses[2 * COLLIDING];
    for (uint32_t u = 0; u < 2 * COLLIDING; u++) {
        uses[u] = u >= COLLIDING && u - COLLIDING < PITH_TABLE_PROBES_MAX ? 2 : 1;
    }
    check_uses(&request, uses, 2 * COLLIDING);
    free(longer);
}

static void scores_of_0_and_1_stay_what_they_are(void **state) {
    pith_compress_request request = request_of(PITH_PROFILE_FAITHFUL, text);
    f.config.length_exponent = f.config.repeat_exponent = 2.0;
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
    pith_compress_request request = request_of(PITH_PROFILE_FAITHFUL, text);
    f.config.length_exponent = f.config.repeat_exponent = 0.0;
    fixture_compress(&f, &request, &rule);
    assert_memory_equal(f.result.explanation.score, f.scores, f.doc.n_units * sizeof(float));
    char longer[LONGER * sizeof text] = ""; /* kompress scores no text under 64 words */
    for (int i = 0; i < LONGER; i++) {
        size_t used = strlen(longer);
        (void)snprintf(longer + used, sizeof longer - used, "%s%s", i == 0 ? "" : " ", text);
    }
    request = request_of(PITH_PROFILE_KOMPRESS, longer);
    f.config.length_exponent = 0.5;
    f.config.repeat_exponent = 0.5;
    fixture_compress(&f, &request, &rule);
    assert_memory_equal(f.result.explanation.score, f.scores, f.doc.n_units * sizeof(float));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odds_of_a_unit_are_divided_by_the_root_of_its_tokens),
        cmocka_unit_test(odds_of_the_nth_use_of_a_word_are_divided_by_the_root_of_n),
        cmocka_unit_test(words_that_share_a_place_cost_a_bounded_search),
        cmocka_unit_test(scores_of_0_and_1_stay_what_they_are),
        cmocka_unit_test(without_an_exponent_and_in_kompress_scores_are_the_models),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
