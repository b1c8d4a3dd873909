/* Budgets are exact: what is kept fits, and the next-ranked item would not. */
#include "runtime/decide/decision.h"
#include "runtime/text/tabular.h"
#include "tests/runtime/decide/fixture_group.h"
#include "tests/runtime/decide/generate.h"

enum { TEXT_BYTES_MAX = 1 << 16, N_TEXTS = 900, LINES_MAX = 1 << 13 };

static char text[TEXT_BYTES_MAX];
static bool rows[LINES_MAX];

static pith_compress_request make_request(uint32_t n, fixture_rule *rule) {
    generator g = {n * 104729 + 3};
    *rule = (fixture_rule){n + 1, n % 2 == 0 ? 8.0 : 0.0, 1.0};
    pith_compress_request request = {.text = text, .explain = true, .domain = PITH_DOMAIN_PROSE};
    request.text_len = gen_text(&g, 1 + gen_below(&g, 150), text, sizeof text);
    f.opts.word_mode = n % 3 == 0 ? PITH_WORDS_SPLIT : PITH_WORDS_RAW;
    return request;
}

static uint32_t count_output(void) {
    pith_token_list list = {0};
    pith_err err;
    assert_int_equal(pith_tokenizer_encode(f.tokenizer, PITH_ADDED_PLAIN, f.result.text,
                                           f.result.text_len, &list, &err),
                     PITH_OK);
    uint32_t n = (uint32_t)list.len;
    pith_token_list_free(&list);
    return n;
}

/* Units that go with unit u: its row of a table, else itself. */
static void item_of(uint32_t u, uint32_t *begin, uint32_t *end) {
    *begin = u;
    *end = u + 1;
    if (!rows[f.doc.units[u].line]) {
        return;
    }
    while (*begin > 0 && f.doc.units[*begin - 1].line == f.doc.units[u].line) {
        --*begin;
    }
    while (*end < f.doc.n_units && f.doc.units[*end].line == f.doc.units[u].line) {
        ++*end;
    }
}

static float item_score(uint32_t begin, uint32_t end) {
    float best = f.scores[begin];
    for (uint32_t u = begin; u < end; u++) {
        best = f.scores[u] > best ? f.scores[u] : best;
    }
    return best;
}

/* The dropped item with the best score, the earliest of equals; false when nothing was dropped. */
static bool best_dropped(uint32_t *begin, uint32_t *end) {
    bool any = false;
    float best = 0;
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        uint32_t b;
        uint32_t e;
        item_of(u, &b, &e);
        if (!f.result.explanation.kept[u] && (!any || item_score(b, e) > best)) {
            any = true;
            best = item_score(b, e);
            *begin = b;
            *end = e;
        }
    }
    return any;
}

/* Ranking: whatever was kept without being critical scores at least as the best dropped item, and
 * stands before it where they tie. */
static void check_ranking(uint32_t begin, uint32_t end) {
    float best = item_score(begin, end);
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        uint32_t b;
        uint32_t e;
        item_of(u, &b, &e);
        bool forced = false;
        for (uint32_t v = b; v < e; v++) {
            forced = forced || f.result.explanation.critical[v];
        }
        if (f.result.explanation.kept[u] && !forced) {
            float score = item_score(b, e);
            assert_true(score > best || (!(score < best) && b < begin));
        }
    }
}

static void check_rows_are_whole(void) {
    for (uint32_t u = 1; u < f.doc.n_units; u++) {
        if (f.doc.units[u].line == f.doc.units[u - 1].line && rows[f.doc.units[u].line]) {
            assert_int_equal(f.result.explanation.kept[u], f.result.explanation.kept[u - 1]);
        }
    }
}

static void run(const pith_compress_request *request, const fixture_rule *rule) {
    fixture_compress(&f, request, rule);
    assert_true(f.doc.n_lines <= LINES_MAX);
    pith_tabular_mark(text, request->text_len, PITH_PROFILE_FAITHFUL, rows);
    check_rows_are_whole();
}

static bool only_one_item_kept(void) {
    uint32_t first = 0;
    while (!f.result.explanation.kept[first]) {
        first++;
    }
    uint32_t begin;
    uint32_t end;
    item_of(first, &begin, &end);
    for (uint32_t u = end; u < f.doc.n_units; u++) {
        if (f.result.explanation.kept[u]) {
            return false;
        }
    }
    return true;
}

static void check_ratio(double ratio) {
    uint64_t total = 0;
    uint64_t kept = 0;
    bool floor = false;
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        total += f.doc.units[u].n_tok;
        kept += f.result.explanation.kept[u] ? f.doc.units[u].n_tok : 0;
        floor = floor || f.result.explanation.critical[u];
    }
    double limit = ratio * (double)total;
    assert_int_equal(f.result.budget_missed, (double)kept > limit);
    if (f.result.budget_missed && !floor) {
        assert_true(only_one_item_kept());
    }
    uint32_t begin;
    uint32_t end;
    if (!best_dropped(&begin, &end)) {
        return;
    }
    check_ranking(begin, end);
    for (uint32_t u = begin; u < end; u++) {
        kept += f.doc.units[u].n_tok;
    }
    assert_true((double)kept > limit);
}

static void a_ratio_is_exact(void **state) {
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        fixture_rule rule;
        pith_compress_request request = make_request(n, &rule);
        request.budget = PITH_BUDGET_TARGET_RATIO;
        request.budget_value = (1 + n % 100) / 100.0;
        run(&request, &rule);
        check_ratio(request.budget_value);
    }
}

static void max_tokens_is_exact(void **state) {
    uint32_t n_missed = 0;
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        fixture_rule rule;
        pith_compress_request request = make_request(n, &rule);
        request.budget = PITH_BUDGET_MAX_TOKENS;
        request.budget_value = 1 + (n * 37) % 400;
        run(&request, &rule);
        uint32_t limit = (uint32_t)request.budget_value;
        uint32_t count = count_output();
        assert_int_equal(count, f.result.kept_tokens);
        assert_int_equal(f.result.budget_missed, count > limit);
        n_missed += f.result.budget_missed;
        uint32_t begin;
        uint32_t end;
        if (!best_dropped(&begin, &end)) {
            continue;
        }
        check_ranking(begin, end);
        /* The next-ranked item would exceed the budget. */
        bool *kept = pith_arena_alloc(&f.arena, f.doc.n_units, sizeof *kept);
        assert_non_null(kept);
        memcpy(kept, f.result.explanation.kept, f.doc.n_units * sizeof *kept);
        for (uint32_t u = begin; u < end; u++) {
            kept[u] = true;
        }
        pith_joined joined;
        assert_true(pith_joined_init(&joined, &f.doc, &f.arena));
        pith_join(&f.doc, PITH_PROFILE_FAITHFUL, kept, &joined);
        f.result.text = joined.text;
        f.result.text_len = joined.len;
        assert_true(count_output() > limit || f.result.budget_missed);
    }
    assert_true(n_missed > 20 && n_missed < N_TEXTS / 2);
}

static void an_output_that_fits_its_budget_passes_through_unchanged(void **state) {
    uint32_t n_again = 0;
    for (uint32_t n = 0; n < N_TEXTS; n += 3) {
        fixture_rule rule;
        pith_compress_request request = make_request(n, &rule);
        request.budget = PITH_BUDGET_MAX_TOKENS;
        request.budget_value = 1 + (n * 37) % 400;
        run(&request, &rule);
        if (f.result.budget_missed || f.result.passthrough != PITH_PASS_NONE) {
            continue;
        }
        char *output = malloc(f.result.text_len);
        assert_non_null(output);
        memcpy(output, f.result.text, f.result.text_len);
        request.text = output;
        request.text_len = f.result.text_len;
        fixture_compress(&f, &request, &rule);
        assert_int_equal(f.result.passthrough, PITH_PASS_NOTHING_DROPPED);
        free(output);
        n_again++;
    }
    assert_true(n_again > 50);
}

static void a_threshold_keeps_what_is_above_it_and_nothing_else(void **state) {
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        fixture_rule rule;
        pith_compress_request request = make_request(n, &rule);
        request.budget = PITH_BUDGET_THRESHOLD;
        request.budget_value = (n % 9) / 8.0; /* ties with the levels of even trials */
        run(&request, &rule);
        assert_false(f.result.budget_missed);
        if (f.result.passthrough == PITH_PASS_NOTHING_KEPT) {
            continue;
        }
        for (uint32_t u = 0; u < f.doc.n_units; u++) {
            uint32_t begin;
            uint32_t end;
            item_of(u, &begin, &end);
            bool above = (double)item_score(begin, end) > request.budget_value;
            for (uint32_t v = begin; v < end; v++) {
                above = above || f.result.explanation.critical[v];
            }
            assert_int_equal(f.result.explanation.kept[u], above);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ratio_is_exact),
        cmocka_unit_test(max_tokens_is_exact),
        cmocka_unit_test(an_output_that_fits_its_budget_passes_through_unchanged),
        cmocka_unit_test(a_threshold_keeps_what_is_above_it_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
