#include "runtime/text/document.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATH_BYTES = 1024 };

static pith_tokenizer *tokenizer;
static pith_arena arena;
static pith_token_list list;

static int open_all(void **state) {
    char path[PATH_BYTES];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(path, sizeof path, "%s/tests/golden/kompress/tokenizer.json",
                   source ? source : ".");
    pith_err err = {0};
    pith_arena_init(&arena, (size_t)1 << 31);
    return pith_tokenizer_open(&tokenizer, path, &err) == PITH_OK ? 0 : -1;
}

static int close_all(void **state) {
    pith_tokenizer_close(tokenizer);
    pith_token_list_free(&list);
    pith_arena_reset(&arena);
    return 0;
}

static const pith_document_opts defaults = {.word_mode = PITH_WORDS_RAW,
                                            .profile = PITH_PROFILE_FAITHFUL,
                                            .window_tokens = 512,
                                            .halo_tokens = 64,
                                            .cls_id = 1,
                                            .sep_id = 2};

static pith_document prepare(const char *text, size_t len, const pith_document_opts *opts) {
    pith_arena_reset(&arena);
    pith_document doc;
    pith_err err = {0};
    if (pith_document_prepare(&doc, tokenizer, opts, text, len, &list, &arena, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
    return doc;
}

/* What holds for every faithful document: units tile the words, windows tile the units, each
 * window holds its own units whole, and n_tok tokens of each. */
static void check_invariants(const pith_document *doc, const pith_document_opts *opts) {
    for (uint32_t u = 0; u < doc->n_units; u++) {
        const pith_unit *unit = &doc->units[u];
        assert_true(unit->start < unit->end && unit->end <= doc->len);
        assert_true(unit->n_tok <= PITH_UNIT_TOKENS_MAX && unit->n_tok <= opts->window_tokens);
        if (u > 0) {
            const pith_unit *before = &doc->units[u - 1];
            bool same = before->word == unit->word;
            assert_true(same ? before->end == unit->start : before->end < unit->start);
            assert_true(same || before->word + 1 == unit->word);
            assert_true(before->line <= unit->line);
        }
    }
    uint32_t next = 0;
    uint32_t at = 0;
    for (uint32_t w = 0; w < doc->n_windows; w++) {
        const pith_window *window = &doc->windows[w];
        assert_int_equal(window->unit_begin, next);
        assert_int_equal(window->id_begin, at);
        assert_true(window->n_ids <= opts->window_tokens);
        assert_int_equal(doc->ids[at], opts->cls_id);
        assert_int_equal(doc->ids[at + window->n_ids - 1], opts->sep_id);
        uint32_t n_own = 0;
        for (uint32_t i = 0; i < window->n_ids; i++) {
            uint32_t u = doc->id_units[at + i];
            n_own += u != PITH_UNIT_NONE && u >= window->unit_begin && u < window->unit_end;
        }
        for (uint32_t u = window->unit_begin; u < window->unit_end; u++) {
            n_own -= doc->units[u].n_tok;
        }
        assert_int_equal(n_own, 0);
        next = window->unit_end;
        at += window->n_ids;
    }
    assert_int_equal(next, doc->n_units);
    assert_int_equal(at, doc->n_ids);
}

static void tokens_belong_to_the_unit_with_their_last_visible_byte(void **state) {
    const char *text = "  the other \n\tworld";
    pith_document doc = prepare(text, strlen(text), &defaults);
    assert_int_equal(doc.n_units, 3);
    assert_int_equal(doc.n_words, 3);
    assert_int_equal(doc.n_lines, 2);
    assert_int_equal(doc.units[2].line, 1);
    assert_int_equal(doc.n_windows, 1);
    check_invariants(&doc, &defaults);
    assert_int_equal(doc.n_ids, doc.n_tok + 2);
    uint32_t owned = doc.units[0].n_tok + doc.units[1].n_tok + doc.units[2].n_tok;
    assert_true(owned < doc.n_tok); /* the line end and the tab are nobody's */
    pith_document_opts split = defaults;
    split.word_mode = PITH_WORDS_SPLIT;
    doc = prepare(text, strlen(text), &split);
    check_invariants(&doc, &split);
    owned = doc.units[0].n_tok + doc.units[1].n_tok + doc.units[2].n_tok;
    assert_int_equal(doc.n_ids, owned + 2); /* words alone: no token is white space */
}

static void white_space_only_has_no_units_and_no_windows(void **state) {
    static const char *const texts[] = {"", " ", "\n\n\t\xE3\x80\x80"};
    for (size_t i = 0; i < 3; i++) {
        pith_document doc = prepare(texts[i], strlen(texts[i]), &defaults);
        assert_int_equal(doc.n_units, 0);
        assert_int_equal(doc.n_windows, 0);
        assert_int_equal(doc.n_words, 0);
    }
}

static char *repeat(const char *unit, size_t times, size_t *len) {
    size_t n = strlen(unit);
    char *text = malloc(n * times + 1);
    assert_non_null(text);
    for (size_t i = 0; i < times; i++) {
        memcpy(text + i * n, unit, n);
    }
    text[n * times] = '\0';
    *len = n * times;
    return text;
}

static void a_long_word_is_cut_at_pre_tokens(void **state) {
    size_t len;
    char *text = repeat("value=17,", 40, &len);
    for (int mode = PITH_WORDS_RAW; mode <= PITH_WORDS_SPLIT; mode++) {
        pith_document_opts opts = defaults;
        opts.word_mode = (pith_word_mode)mode;
        pith_document doc = prepare(text, len, &opts);
        assert_int_equal(doc.n_words, 1);
        assert_true(doc.n_units > 1);
        check_invariants(&doc, &opts);
        for (uint32_t u = 1; u < doc.n_units; u++) {
            /* A cut never falls inside a run of letters or of digits. */
            char a = text[doc.units[u].start - 1];
            char b = text[doc.units[u].start];
            bool letters = a >= 'a' && a <= 'z' && b >= 'a' && b <= 'z';
            bool digits = a >= '0' && a <= '9' && b >= '0' && b <= '9';
            assert_false(letters || digits);
            assert_true(doc.units[u - 1].n_tok > PITH_UNIT_TOKENS_MAX - 8); /* greedy */
        }
    }
    free(text);
}

static void a_long_pre_token_is_cut_between_characters(void **state) {
    static const char *const units[] = {"\xE4\xB8\xA5", "\xF0\x9F\x8E\x89", "\xC3\xA9", "qz"};
    for (size_t i = 0; i < 4; i++) {
        size_t len;
        char *text = repeat(units[i], 300, &len);
        pith_document doc = prepare(text, len, &defaults);
        assert_int_equal(doc.n_words, 1);
        assert_true(doc.n_units > 1);
        check_invariants(&doc, &defaults);
        for (uint32_t u = 1; u < doc.n_units; u++) {
            assert_int_not_equal((unsigned char)text[doc.units[u].start] & 0xC0, 0x80);
        }
        free(text);
    }
}

static void kompress_never_cuts_a_word(void **state) {
    size_t len;
    char *text = repeat("value=17,", 400, &len);
    pith_document_opts opts = defaults;
    opts.profile = PITH_PROFILE_KOMPRESS;
    pith_document doc = prepare(text, len, &opts);
    assert_int_equal(doc.n_units, 1);
    assert_int_equal(doc.n_windows, 0); /* under 64 words */
    free(text);
}

/* Token range [begin, end) of a window over a text where every token is a unit of its own. */
typedef struct extent {
    uint32_t begin;
    uint32_t end;
} extent;

/* -1 where the unit is not in the window. */
static int64_t edge_distance(extent e, uint32_t a, uint32_t b) {
    if (a < e.begin || b > e.end) {
        return -1;
    }
    return a - e.begin < e.end - b ? a - e.begin : e.end - b;
}

static void each_unit_is_scored_where_its_nearest_edge_is_farthest(void **state) {
    size_t len;
    char *text = repeat("a b c d e f g h ", 300, &len);
    pith_document_opts opts = defaults;
    opts.word_mode = PITH_WORDS_SPLIT; /* one token per word */
    pith_document doc = prepare(text, len, &opts);
    assert_int_equal(doc.n_units, 2400);
    assert_true(doc.n_windows > 4);
    check_invariants(&doc, &opts);
    extent extents[64];
    assert_true(doc.n_windows <= 64);
    for (uint32_t w = 0; w < doc.n_windows; w++) {
        const pith_window *window = &doc.windows[w];
        uint32_t first = doc.id_units[window->id_begin + 1];
        extents[w] = (extent){first, first + window->n_ids - 2};
    }
    for (uint32_t w = 0; w < doc.n_windows; w++) {
        for (uint32_t u = doc.windows[w].unit_begin; u < doc.windows[w].unit_end; u++) {
            int64_t own = edge_distance(extents[w], u, u + 1);
            for (uint32_t other = 0; other < doc.n_windows; other++) {
                int64_t there = edge_distance(extents[other], u, u + 1);
                assert_true(other < w ? there < own : there <= own);
            }
            bool inner = u >= opts.halo_tokens && u + opts.halo_tokens < doc.n_units;
            assert_true(!inner || own + 1 >= opts.halo_tokens);
        }
    }
    free(text);
}

static void a_text_that_fits_one_window_is_one_window(void **state) {
    size_t len;
    pith_document_opts opts = defaults;
    opts.word_mode = PITH_WORDS_SPLIT;
    char *text = repeat("a ", 510, &len);
    pith_document doc = prepare(text, len, &opts);
    assert_int_equal(doc.n_windows, 1);
    assert_int_equal(doc.windows[0].n_ids, 512);
    free(text);
    text = repeat("a ", 511, &len);
    doc = prepare(text, len, &opts);
    assert_int_equal(doc.n_windows, 2);
    check_invariants(&doc, &opts);
    free(text);
}

static void units_and_windows_tile_any_text_under_any_options(void **state) {
    char text[6000];
    uint64_t seed = 3;
    static const char alphabet[] = "the and of  \n\n\t x0/=.-_Z\xC3\xA9";
    for (int n = 0; n < 300; n++) {
        size_t len = 0;
        size_t want = 200 + (size_t)n * 19;
        while (len < want) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            size_t pick = (seed >> 33) % (sizeof alphabet - 1);
            if ((unsigned char)alphabet[pick] >= 0x80) {
                text[len++] = '\xC3';
                text[len++] = '\xA9';
            } else {
                text[len++] = alphabet[pick];
            }
        }
        pith_document_opts opts = defaults;
        opts.word_mode = n % 2 == 0 ? PITH_WORDS_RAW : PITH_WORDS_SPLIT;
        opts.halo_tokens = (uint32_t)n % 33;
        opts.window_tokens = 2 * opts.halo_tokens + PITH_WINDOW_SLACK_TOKENS + (uint32_t)n % 200;
        pith_document doc = prepare(text, len, &opts);
        check_invariants(&doc, &opts);
    }
}

static void too_small_a_window_is_refused(void **state) {
    pith_document_opts opts = defaults;
    opts.window_tokens = 2 * opts.halo_tokens + PITH_WINDOW_SLACK_TOKENS - 1;
    pith_document doc;
    pith_err err = {0};
    assert_int_equal(pith_document_prepare(&doc, tokenizer, &opts, "a", 1, &list, &arena, &err),
                     PITH_INVALID);
    assert_non_null(strstr(err.text, "window_tokens"));
}

static void an_arena_over_its_bound_is_an_error(void **state) {
    size_t len;
    char *text = repeat("a ", 5000, &len);
    for (size_t bound = 0; bound < 400000; bound += 40000) {
        pith_arena small;
        pith_arena_init(&small, bound);
        pith_document doc;
        pith_err err = {0};
        pith_status status =
            pith_document_prepare(&doc, tokenizer, &defaults, text, len, &list, &small, &err);
        assert_true(status == PITH_OK || status == PITH_EXHAUSTED);
        pith_arena_reset(&small);
    }
    free(text);
}

/* Hostile texts of a megabyte: linear, and every unit is scored. */
static void any_megabyte_is_prepared_in_linear_time(void **state) {
    static const char *const units[] = {"a", "\n", "a\n\n\n\n\n\n\n\n\n\n\n\n\n",
                                        " ", ".",  "a b\n"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t len;
        char *text = repeat(units[i], (1 << 20) / strlen(units[i]), &len);
        text[0] = 'x';
        text[len - 1] = 'y';
        pith_document doc = prepare(text, len, &defaults);
        check_invariants(&doc, &defaults);
        free(text);
    }
}

static void nul_bytes_are_text(void **state) {
    pith_document doc = prepare("a\0b \0 c", 7, &defaults);
    assert_int_equal(doc.n_words, 3);
    check_invariants(&doc, &defaults);
}

static void added_tokens_are_plain_text_in_faithful_only(void **state) {
    uint32_t mask = pith_tokenizer_find(tokenizer, "[MASK]");
    assert_int_not_equal(mask, PITH_TOKEN_NONE);
    size_t len;
    char *text = repeat("x[MASK]y ", 70, &len);
    for (int profile = PITH_PROFILE_FAITHFUL; profile <= PITH_PROFILE_KOMPRESS; profile++) {
        pith_document_opts opts = defaults;
        opts.profile = (pith_profile)profile;
        pith_document doc = prepare(text, len, &opts);
        uint32_t n = 0;
        for (uint32_t i = 0; i < doc.n_ids; i++) {
            n += doc.ids[i] == mask;
        }
        assert_int_equal(n > 0, profile == PITH_PROFILE_KOMPRESS);
    }
    free(text);
}

static void collect_takes_the_highest_token_and_marks_what_is_not_finite(void **state) {
    pith_document doc = prepare("12345678901234567890 b c", 24, &defaults);
    assert_int_equal(doc.n_windows, 1);
    uint32_t n = doc.windows[0].n_ids;
    assert_true(doc.units[0].n_tok > 1);
    float tokens[64];
    float units[8];
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = doc.id_units[i] == PITH_UNIT_NONE ? 9.0F : 0.25F;
    }
    tokens[2] = 0.75F;
    pith_document_collect(&doc, 0, tokens, units);
    assert_true(units[0] == 0.75F && units[1] == 0.25F && units[2] == 0.25F);
    tokens[1] = NAN;
    pith_document_collect(&doc, 0, tokens, units);
    assert_true(isnan(units[0]) && units[1] == 0.25F);
    tokens[1] = -INFINITY;
    pith_document_collect(&doc, 0, tokens, units);
    assert_true(isnan(units[0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_belong_to_the_unit_with_their_last_visible_byte),
        cmocka_unit_test(white_space_only_has_no_units_and_no_windows),
        cmocka_unit_test(a_long_word_is_cut_at_pre_tokens),
        cmocka_unit_test(a_long_pre_token_is_cut_between_characters),
        cmocka_unit_test(kompress_never_cuts_a_word),
        cmocka_unit_test(each_unit_is_scored_where_its_nearest_edge_is_farthest),
        cmocka_unit_test(a_text_that_fits_one_window_is_one_window),
        cmocka_unit_test(units_and_windows_tile_any_text_under_any_options),
        cmocka_unit_test(too_small_a_window_is_refused),
        cmocka_unit_test(an_arena_over_its_bound_is_an_error),
        cmocka_unit_test(any_megabyte_is_prepared_in_linear_time),
        cmocka_unit_test(nul_bytes_are_text),
        cmocka_unit_test(added_tokens_are_plain_text_in_faithful_only),
        cmocka_unit_test(collect_takes_the_highest_token_and_marks_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
