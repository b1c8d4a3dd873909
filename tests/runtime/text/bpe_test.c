/* Merging against a slow reference, over random merge tables. */
#include "runtime/text/bpe.h"

#include "runtime/text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    LETTERS = 3,
    MERGES = 60,
    TOKENS = LETTERS + MERGES,
    TOKEN_BYTES_MAX = 12,
    TEXT_BYTES_MAX = 24000,
    TABLES = 40
};

typedef struct table {
    pith_bpe bpe;
    uint32_t left[MERGES];
    uint32_t right[MERGES];
    uint32_t made[MERGES];
    uint32_t n;
} table;

/* xorshift64: the same tables and texts on every machine. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int is_known(char tokens[][TOKEN_BYTES_MAX + 1], uint32_t n, const char *token) {
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(tokens[i], token) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Random merges of earlier tokens; each makes a new token, so that ranks ascend from part to whole
 * and the reference below may go rank by rank. */
static void open_table(table *t, uint64_t *random) {
    static char tokens[TOKENS][TOKEN_BYTES_MAX + 1];
    uint32_t n_tokens = LETTERS;
    memset(t, 0, sizeof *t);
    for (uint32_t i = 0; i < LETTERS; i++) {
        tokens[i][0] = (char)('a' + i);
        tokens[i][1] = '\0';
    }
    for (unsigned attempt = 0; attempt < 4000 && t->n < MERGES; attempt++) {
        uint32_t a = (uint32_t)(next_random(random) % n_tokens);
        uint32_t b = (uint32_t)(next_random(random) % n_tokens);
        char joined[2 * TOKEN_BYTES_MAX + 1];
        (void)snprintf(joined, sizeof joined, "%s%s", tokens[a], tokens[b]);
        if (strlen(joined) > TOKEN_BYTES_MAX || is_known(tokens, n_tokens, joined)) {
            continue;
        }
        memcpy(tokens[n_tokens], joined, strlen(joined) + 1);
        t->left[t->n] = a;
        t->right[t->n] = b;
        t->made[t->n++] = n_tokens++;
    }
    t->bpe.n_ids = n_tokens;
    t->bpe.bytes = calloc(TOKENS, TOKEN_BYTES_MAX);
    t->bpe.offsets = calloc(TOKENS + 1, sizeof *t->bpe.offsets);
    assert_non_null(t->bpe.bytes);
    assert_non_null(t->bpe.offsets);
    for (uint32_t i = 0; i < n_tokens; i++) {
        uint32_t len = (uint32_t)strlen(tokens[i]);
        memcpy(t->bpe.bytes + t->bpe.offsets[i], tokens[i], len);
        t->bpe.offsets[i + 1] = t->bpe.offsets[i] + len;
    }
    assert_int_equal(pith_bpe_index(&t->bpe, NULL), PITH_OK);
    assert_int_equal(pith_bpe_reserve(&t->bpe, t->n, NULL), PITH_OK);
    for (uint32_t i = 0; i < t->n; i++) {
        assert_true(pith_bpe_add_merge(&t->bpe, t->left[i], t->right[i], t->made[i]));
    }
}

static size_t reference(const table *t, const char *text, size_t len, uint32_t *ids) {
    size_t n = len;
    for (size_t i = 0; i < len; i++) {
        ids[i] = (uint32_t)(text[i] - 'a');
    }
    for (uint32_t rank = 0; rank < t->n; rank++) {
        size_t out = 0;
        for (size_t i = 0; i < n; i++) {
            if (i + 1 < n && ids[i] == t->left[rank] && ids[i + 1] == t->right[rank]) {
                ids[out++] = t->made[rank];
                i++;
            } else {
                ids[out++] = ids[i];
            }
        }
        n = out;
    }
    return n;
}

/* Letters at random, or with long runs, or periodic. */
static void fill_text(char *text, size_t len, uint64_t *random) {
    unsigned kind = (unsigned)(next_random(random) % 3);
    size_t period = 1 + next_random(random) % 7;
    for (size_t i = 0; i < len; i++) {
        uint64_t dice = next_random(random);
        text[i] = (char)('a' + dice % LETTERS);
        if ((kind == 1 && i > 0 && (dice >> 8) % 50 != 0) || (kind == 2 && i >= period)) {
            text[i] = text[i - (kind == 1 ? 1 : period)];
        }
    }
}

static void short_pretokens_are_merged_by_rank_from_the_left(void **state) {
    uint64_t random = 0x9E3779B97F4A7C15U;
    char text[PITH_BPE_SHORT_BYTES];
    uint32_t ids[PITH_BPE_SHORT_BYTES];
    uint32_t expected[PITH_BPE_SHORT_BYTES];
    for (unsigned i = 0; i < TABLES; i++) {
        table t;
        open_table(&t, &random);
        for (unsigned j = 0; j < 50; j++) {
            size_t len = 1 + next_random(&random) % PITH_BPE_SHORT_BYTES;
            fill_text(text, len, &random);
            size_t n = reference(&t, text, len, expected);
            assert_int_equal(pith_bpe_encode_short(&t.bpe, text, len, ids), n);
            assert_memory_equal(ids, expected, n * sizeof *ids);
        }
        pith_bpe_free(&t.bpe);
    }
}

static void check_long(size_t window_bytes, size_t len_max, unsigned rounds) {
    uint64_t random = 0xD1B54A32D192ED03U;
    char *text = malloc(TEXT_BYTES_MAX);
    uint32_t *expected = malloc(TEXT_BYTES_MAX * sizeof *expected);
    pith_bpe_work work = {.window_bytes = window_bytes};
    assert_non_null(text);
    assert_non_null(expected);
    for (unsigned i = 0; i < TABLES; i++) {
        table t;
        open_table(&t, &random);
        for (unsigned j = 0; j < rounds; j++) {
            size_t len = 1 + next_random(&random) % len_max;
            fill_text(text, len, &random);
            size_t n = reference(&t, text, len, expected);
            assert_int_equal(pith_bpe_encode_long(&t.bpe, text, len, &work), PITH_OK);
            assert_int_equal(work.n_ids, n);
            assert_memory_equal(work.ids, expected, n * sizeof *expected);
        }
        pith_bpe_free(&t.bpe);
    }
    pith_bpe_work_free(&work);
    free(text);
    free(expected);
}

static void long_pretokens_cut_into_windows_are_merged_alike(void **state) {
    check_long(0, TEXT_BYTES_MAX, 2);
}

/* Windows that are shorter than some tokens: neighbours often share nothing and grow. */
static void windows_that_share_no_token_grow_until_they_do(void **state) {
    check_long(8, 600, 20);
    check_long(16, 600, 20);
    check_long(64, 3000, 5);
}

static void a_pair_cannot_have_two_ranks_and_the_table_has_an_end(void **state) {
    table t;
    uint64_t random = 7;
    open_table(&t, &random);
    assert_false(pith_bpe_add_merge(&t.bpe, 0, 0, 0)); /* full */
    pith_bpe_free(&t.bpe);
    pith_bpe small = {0};
    assert_int_equal(pith_bpe_reserve(&small, 2, NULL), PITH_OK);
    assert_true(pith_bpe_add_merge(&small, 5, 6, 7));
    assert_false(pith_bpe_add_merge(&small, 5, 6, 8));
    assert_true(pith_bpe_add_merge(&small, 6, 5, 8));
    assert_false(pith_bpe_add_merge(&small, 5, 5, 9));
    pith_bpe_free(&small);
    pith_err err;
    assert_int_equal(pith_bpe_reserve(&small, PITH_BPE_MERGES_MAX + 1, &err), PITH_CORRUPT);
}

static void tokens_are_found_by_bytes(void **state) {
    table t;
    uint64_t random = 11;
    open_table(&t, &random);
    for (uint32_t id = 0; id < t.bpe.n_ids; id++) {
        assert_int_equal(pith_bpe_find(&t.bpe, t.bpe.bytes + t.bpe.offsets[id],
                                       pith_bpe_token_bytes(&t.bpe, id)),
                         id);
    }
    assert_int_equal(pith_bpe_find(&t.bpe, "z", 1), PITH_TOKEN_NONE);
    assert_int_equal(pith_bpe_find(&t.bpe, "", 0), PITH_TOKEN_NONE);
    pith_bpe_free(&t.bpe);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_pretokens_are_merged_by_rank_from_the_left),
        cmocka_unit_test(long_pretokens_cut_into_windows_are_merged_alike),
        cmocka_unit_test(windows_that_share_no_token_grow_until_they_do),
        cmocka_unit_test(a_pair_cannot_have_two_ranks_and_the_table_has_an_end),
        cmocka_unit_test(tokens_are_found_by_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
