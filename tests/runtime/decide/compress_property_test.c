/* Properties of decisions on generated texts with random scores. */
#include "runtime/decide/decision.h"
#include "tests/runtime/decide/fixture_group.h"
#include "tests/runtime/decide/generate.h"

enum { TEXT_BYTES_MAX = 1 << 16, N_TEXTS = 600 };

static char text[TEXT_BYTES_MAX];

typedef struct trial {
    pith_compress_request request;
    fixture_rule rule;
    pith_range keep[3];
} trial;

static uint32_t char_start(size_t pos) {
    while (pos > 0 && ((unsigned char)text[pos] & 0xC0) == 0x80) {
        pos--;
    }
    return (uint32_t)pos;
}

static void add_keep_ranges(generator *g, trial *t) {
    t->request.keep = t->keep;
    t->request.n_keep = t->request.text_len == 0 ? 0 : gen_below(g, 4);
    for (size_t i = 0; i < t->request.n_keep; i++) {
        uint32_t a = char_start(gen_below(g, (uint32_t)t->request.text_len));
        uint32_t b = char_start(gen_below(g, (uint32_t)t->request.text_len));
        t->keep[i] = (pith_range){a < b ? a : b, a < b ? b : a};
    }
}

/* Trial n: every profile, word mode and budget comes up. */
static void make_trial(uint32_t n, trial *t) {
    generator g = {n * 7919 + 1};
    uint32_t n_words = gen_below(&g, n % 10 == 0 ? 1200 : 120);
    *t = (trial){.request = {.text = text}};
    t->request.text_len = gen_text(&g, n_words, text, sizeof text);
    static const double scales[] = {1.0, 0.75, 0.55, 0.4};
    t->rule = (fixture_rule){n + 1, n % 3 == 0 ? 8.0 : 0.0, scales[gen_below(&g, 4)]};
    t->request.profile = n % 4 == 3 ? PITH_PROFILE_KOMPRESS : PITH_PROFILE_FAITHFUL;
    t->request.domain = (pith_domain)gen_below(&g, PITH_DOMAIN_COUNT);
    t->request.explain = true;
    f.opts.word_mode = n % 2 == 0 ? PITH_WORDS_RAW : PITH_WORDS_SPLIT;
    t->request.budget = (pith_budget)gen_below(&g, 4);
    if (t->request.budget == PITH_BUDGET_MAX_TOKENS) {
        t->request.budget_value = 1 + gen_below(&g, n_words * 3 + 1);
    } else {
        t->request.budget_value = (1 + gen_below(&g, 100)) / 100.0;
    }
    if (n % 3 == 0) {
        add_keep_ranges(&g, t);
    }
}

static uint32_t count_tokens(const char *bytes, size_t len) {
    pith_token_list list = {0};
    pith_err err;
    assert_int_equal(pith_tokenizer_encode(f.tokenizer, PITH_ADDED_PLAIN, bytes, len, &list, &err),
                     PITH_OK);
    uint32_t n = (uint32_t)list.len;
    pith_token_list_free(&list);
    return n;
}

/* Everything the reply counts, counted again from kept_ranges and the output alone. */
static void recount(const trial *t) {
    const pith_compress_result *r = &f.result;
    uint32_t kept_words = 0;
    uint32_t last_word = UINT32_MAX;
    size_t range = 0;
    for (uint32_t u = 0; u < f.doc.n_units; u++) {
        const pith_unit *unit = &f.doc.units[u];
        while (range < r->n_kept_ranges && r->kept_ranges[range].end <= unit->start) {
            range++;
        }
        bool in = range < r->n_kept_ranges && r->kept_ranges[range].start <= unit->start;
        if (in) { /* a range never ends inside a unit */
            assert_true(unit->end <= r->kept_ranges[range].end);
        }
        assert_int_equal(r->explanation.kept[u], in);
        kept_words += in && unit->word != last_word;
        last_word = in ? unit->word : last_word;
    }
    assert_int_equal(r->kept_words, kept_words);
    assert_int_equal(r->kept_tokens, count_tokens(r->text, r->text_len));
    assert_int_equal(r->input_tokens, count_tokens(text, t->request.text_len));
    assert_int_equal(r->input_words, f.doc.n_words);
}

static void check_ranges(const trial *t) {
    const pith_compress_result *r = &f.result;
    size_t sum = 0;
    for (size_t i = 0; i < r->n_kept_ranges; i++) {
        pith_range range = r->kept_ranges[i];
        assert_true(range.start < range.end && range.end <= t->request.text_len);
        assert_true(i == 0 || r->kept_ranges[i - 1].end <= range.start);
        sum += range.end - range.start;
        /* What a range holds stands in the output as it is. */
        assert_non_null(memmem(r->text, r->text_len, text + range.start, range.end - range.start));
    }
    assert_true(sum <= r->text_len);
}

static void counts_equal_a_recount_from_kept_ranges(void **state) {
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        trial t;
        make_trial(n, &t);
        fixture_compress(&f, &t.request, &t.rule);
        check_ranges(&t);
        if (f.doc.n_units > 0) {
            assert_int_equal(f.result.explanation.n, f.doc.n_units);
            recount(&t);
        }
    }
}

static void joined_kept_ranges_reproduce_the_input_when_all_is_kept(void **state) {
    uint32_t n_whole = 0;
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        trial t;
        make_trial(n, &t);
        t.request.profile = PITH_PROFILE_FAITHFUL;
        t.request.budget = PITH_BUDGET_TARGET_RATIO;
        t.request.budget_value = 1.0;
        fixture_compress(&f, &t.request, &t.rule);
        size_t at = 0;
        for (size_t i = 0; i < f.result.n_kept_ranges; i++) {
            assert_int_equal(f.result.kept_ranges[i].start, at);
            at = f.result.kept_ranges[i].end;
        }
        assert_int_equal(at, t.request.text_len);
        assert_int_equal(f.result.text_len, t.request.text_len);
        assert_memory_equal(f.result.text, text, t.request.text_len);
        n_whole += f.result.passthrough == PITH_PASS_NOTHING_DROPPED;
        assert_int_equal(f.result.passthrough,
                         f.doc.n_units > 0 ? PITH_PASS_NOTHING_DROPPED : PITH_PASS_EMPTY);
    }
    assert_true(n_whole > N_TEXTS / 2);
}

static void every_critical_span_survives_in_faithful(void **state) {
    uint64_t total = 0;
    uint64_t dropped = 0;
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        trial t;
        make_trial(n, &t);
        t.request.profile = PITH_PROFILE_FAITHFUL;
        fixture_compress(&f, &t.request, &t.rule);
        assert_int_equal(f.result.critical_kept, f.result.critical_total);
        total += f.result.critical_total;
        dropped += f.result.input_words - f.result.kept_words;
    }
    assert_true(total > N_TEXTS && dropped > N_TEXTS);
}

/* The text three times over, so that its lines repeat. */
static void triple(trial *t) {
    size_t len = t->request.text_len;
    if (3 * len <= sizeof text) {
        memcpy(text + len, text, len);
        memcpy(text + 2 * len, text, len);
        t->request.text_len = 3 * len;
    }
}

static void folding_keeps_the_counts_true_and_accounts_for_every_critical_span(void **state) {
    uint64_t n_folded = 0;
    uint64_t n_folded_critical = 0;
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        trial t;
        make_trial(n, &t);
        triple(&t);
        t.request.profile = PITH_PROFILE_FAITHFUL;
        fixture_compress(&f, &t.request, &t.rule);
        uint32_t total = f.result.critical_total;
        t.request.fold_repeats = true;
        fixture_compress(&f, &t.request, &t.rule);
        check_ranges(&t);
        if (f.doc.n_units > 0) {
            recount(&t);
        }
        assert_int_equal(f.result.critical_kept, f.result.critical_total);
        assert_int_equal(f.result.critical_total + f.result.folded_critical, total);
        for (size_t i = 0; i < t.request.n_keep; i++) { /* keep ranges survive folding */
            for (uint32_t u = 0; u < f.doc.n_units; u++) {
                bool touches =
                    t.keep[i].start < f.doc.units[u].end && f.doc.units[u].start < t.keep[i].end;
                assert_true(!touches || f.result.explanation.kept[u]);
            }
        }
        n_folded += f.result.folded_lines;
        n_folded_critical += f.result.folded_critical;
    }
    assert_true(n_folded > N_TEXTS && n_folded_critical > N_TEXTS);
}

static void kompress_tells_the_truth_about_what_it_loses(void **state) {
    uint32_t n_short = 0;
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        trial t;
        make_trial(n, &t);
        t.request.profile = PITH_PROFILE_KOMPRESS;
        t.request.budget = PITH_BUDGET_TARGET_RATIO;
        t.request.budget_value = 0.05;
        t.request.n_keep = 0;
        fixture_compress(&f, &t.request, &t.rule);
        assert_true(f.result.critical_kept <= f.result.critical_total);
        n_short += f.result.critical_kept < f.result.critical_total;
    }
    assert_true(n_short > 20); /* lower-case flags, snake_case, ... are not in its ten patterns */
}

static void a_critical_span_is_looked_for_where_it_was_mapped_to(void **state) {
    const char *words = "alpha 42 beta 42 gamma";
    pith_compress_request request = {.text = words,
                                     .text_len = strlen(words),
                                     .budget = PITH_BUDGET_THRESHOLD,
                                     .budget_value = 1.0};
    fixture_rule rule = {1, 0, 1.0};
    fixture_compress(&f, &request, &rule);
    assert_int_equal(f.result.critical_total, 2);
    assert_int_equal(f.result.critical_kept, 2);
    assert_int_equal(f.result.text_len, strlen("42 42"));
}

/* The broken floor: the unit of one critical span is taken out of what the floor decided. */
static void a_broken_floor_makes_critical_kept_fall_short_and_is_noticed(void **state) {
    uint32_t n_broken = 0;
    for (uint32_t n = 0; n < 200; n++) {
        trial t;
        make_trial(n, &t);
        t.request.profile = PITH_PROFILE_FAITHFUL;
        fixture_score_text(&f, &t.request, &t.rule);
        pith_decision d = {.config = &f.config,
                           .request = &t.request,
                           .doc = &f.doc,
                           .tokenizer = f.tokenizer,
                           .list = &f.list,
                           .arena = &f.arena,
                           .scores = f.scores};
        pith_err err = {0};
        assert_int_equal(pith_decision_init(&d, &err), PITH_OK);
        assert_int_equal(pith_floor_find(&d, &err), PITH_OK);
        assert_int_equal(pith_floor_force(&d, &err), PITH_OK);
        if (d.critical_spans.spans.len == 0) {
            continue;
        }
        memcpy(d.kept, d.forced, f.doc.n_units * sizeof *d.kept);
        pith_join(&f.doc, PITH_PROFILE_FAITHFUL, d.kept, &d.joined);
        uint32_t whole =
            pith_outcome_count_critical(&f.doc, &d.critical_spans.spans, d.kept, &d.joined);
        assert_int_equal(whole, d.critical_spans.spans.len);
        uint32_t victim = 0;
        while (!d.critical[victim]) {
            victim++;
        }
        d.kept[victim] = false;
        pith_join(&f.doc, PITH_PROFILE_FAITHFUL, d.kept, &d.joined);
        uint32_t left =
            pith_outcome_count_critical(&f.doc, &d.critical_spans.spans, d.kept, &d.joined);
        assert_true(left < whole);
        pith_compress_result result;
        assert_int_equal(pith_outcome_fill(&d, &result, &err), PITH_INTERNAL);
        n_broken++;
    }
    assert_true(n_broken > 50);
}

static void the_floor_only_adds(void **state) {
    pith_decide_config bare = f.config;
    bare.critical = NULL;
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        trial t;
        make_trial(n, &t);
        t.request.budget = n % 2 == 0 ? PITH_BUDGET_DEFAULT : PITH_BUDGET_THRESHOLD;
        t.request.n_keep = 0;
        fixture_score_text(&f, &t.request, &t.rule);
        pith_compress_result without;
        assert_int_equal(pith_compress_finish(&bare, &t.request, &f.doc, f.tokenizer, f.scores,
                                              &f.list, &f.arena, &without, &f.err),
                         PITH_OK);
        assert_int_equal(fixture_finish(&f, &t.request), PITH_OK);
        if (without.passthrough == PITH_PASS_NOTHING_KEPT) {
            continue; /* without a floor nothing was left, so all was given back */
        }
        for (uint32_t u = 0; u < f.doc.n_units; u++) {
            assert_true(f.result.explanation.kept[u] || !without.explanation.kept[u]);
            assert_true(f.result.explanation.kept[u] || !f.result.explanation.critical[u] ||
                        t.request.profile == PITH_PROFILE_KOMPRESS);
        }
    }
}

static void keep_ranges_survive(void **state) {
    for (uint32_t n = 0; n < N_TEXTS; n += 3) {
        trial t;
        make_trial(n, &t);
        fixture_compress(&f, &t.request, &t.rule);
        for (size_t i = 0; i < t.request.n_keep; i++) {
            pith_range range = t.keep[i];
            for (uint32_t u = 0; u < f.doc.n_units; u++) {
                bool shares = f.doc.units[u].start < range.end && f.doc.units[u].end > range.start;
                assert_true(!shares || f.result.explanation.kept[u]);
            }
        }
    }
}

static void the_same_text_gives_the_same_bytes(void **state) {
    for (uint32_t n = 0; n < 100; n++) {
        trial t;
        make_trial(n, &t);
        fixture_compress(&f, &t.request, &t.rule);
        size_t len = f.result.text_len;
        char *first = malloc(len + 1);
        assert_non_null(first);
        memcpy(first, f.result.text, len);
        fixture_compress(&f, &t.request, &t.rule);
        assert_int_equal(f.result.text_len, len);
        assert_memory_equal(f.result.text, first, len);
        free(first);
    }
}

/* Kept words of a line are on one line of the output, behind that line's indentation. */
static void kept_words_stay_on_their_lines(void **state) {
    for (uint32_t n = 0; n < N_TEXTS; n++) {
        trial t;
        make_trial(n, &t);
        t.request.profile = PITH_PROFILE_FAITHFUL;
        fixture_compress(&f, &t.request, &t.rule);
        size_t at = 0;
        uint32_t line = UINT32_MAX;
        for (uint32_t u = 0; u < f.doc.n_units; u++) {
            if (!f.result.explanation.kept[u]) {
                continue;
            }
            const pith_unit *unit = &f.doc.units[u];
            size_t unit_len = unit->end - unit->start;
            size_t before = at;
            const char *found =
                memmem(f.result.text + at, f.result.text_len - at, text + unit->start, unit_len);
            assert_non_null(found);
            at = (size_t)(found - f.result.text);
            bool breaks = memchr(f.result.text + before, '\n', at - before) != NULL;
            assert_true(line == UINT32_MAX || breaks == (unit->line != line));
            line = unit->line;
            at += unit_len;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_equal_a_recount_from_kept_ranges),
        cmocka_unit_test(joined_kept_ranges_reproduce_the_input_when_all_is_kept),
        cmocka_unit_test(every_critical_span_survives_in_faithful),
        cmocka_unit_test(folding_keeps_the_counts_true_and_accounts_for_every_critical_span),
        cmocka_unit_test(kompress_tells_the_truth_about_what_it_loses),
        cmocka_unit_test(a_critical_span_is_looked_for_where_it_was_mapped_to),
        cmocka_unit_test(a_broken_floor_makes_critical_kept_fall_short_and_is_noticed),
        cmocka_unit_test(the_floor_only_adds),
        cmocka_unit_test(keep_ranges_survive),
        cmocka_unit_test(the_same_text_gives_the_same_bytes),
        cmocka_unit_test(kept_words_stay_on_their_lines),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
