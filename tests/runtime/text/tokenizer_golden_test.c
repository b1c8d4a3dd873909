/* Ids of 20,600 generated strings against Hugging Face tokenizers, see tests/golden/tokenizer. */
#include "tests/runtime/text/tokenizer_golden.h"

enum { ENTRY_BYTES = 12 /* of one string in an ids golden: count and hash */ };

static uint64_t hash_ids(const pith_token_list *list) {
    uint64_t hash = 0xCBF29CE484222325U;
    for (size_t i = 0; i < list->len; i++) {
        for (unsigned shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ ((list->items[i].id >> shift) & 0xFF)) * 0x100000001B3U;
        }
    }
    return hash;
}

/* Spans ascend, leave no byte out and reach from the first byte to the last. `overlaps`: two added
 * tokens may share white space, as in the peer. */
static void check_spans(const pith_token_list *list, size_t len, size_t index, int overlaps) {
    uint32_t start = 0;
    uint32_t reached = 0;
    for (size_t i = 0; i < list->len; i++) {
        pith_token token = list->items[i];
        if (token.start > reached || token.end <= token.start || token.end > len ||
            (!overlaps && (token.start < start || token.end < reached))) {
            fail_msg("string %zu: token %zu spans %u-%u after %u-%u", index, i, token.start,
                     token.end, start, reached);
        }
        start = token.start;
        reached = token.end > reached ? token.end : reached;
    }
    assert_int_equal(reached, len);
}

/* Number of strings whose ids differ from the golden's. */
static size_t count_differences(const pith_tokenizer *tokenizer, const char *golden,
                                pith_added_tokens added, int overlaps, uint32_t n_expected) {
    size_t n_strings;
    size_t n_ids;
    unsigned char *strings = read_golden("strings.gz", &n_strings);
    unsigned char *ids = read_golden(golden, &n_ids);
    pith_token_list list = {0};
    uint32_t count = golden_u32(ids);
    size_t at = 4;
    size_t wrong = 0;
    assert_int_equal(count, n_expected);
    assert_int_equal(n_ids, 4 + (size_t)count * ENTRY_BYTES);
    assert_true(count <= golden_u32(strings));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = golden_u32(strings + at);
        const unsigned char *entry = ids + 4 + (size_t)i * ENTRY_BYTES;
        assert_true(at + 4 + len <= n_strings);
        encode_and_count(tokenizer, added, (const char *)strings + at + 4, len, &list);
        check_spans(&list, len, i, overlaps);
        if (list.len != golden_u32(entry) || hash_ids(&list) != golden_u64(entry + 4)) {
            wrong++;
            if (added == PITH_ADDED_PARITY) {
                print_error("%s: string %u (%u bytes) differs\n", golden, i, len);
            }
        }
        at += 4 + len;
    }
    pith_token_list_free(&list);
    free(strings);
    free(ids);
    return wrong;
}

static void check_shared(const char *name, const char *golden) {
    const char *path = shared_path(name);
    if (path == NULL) {
        print_message("skipped: the vocabulary %s is not here (PITH_SHARED)\n", name);
        skip();
    }
    pith_tokenizer *tokenizer = open_tokenizer(path);
    assert_int_equal(count_differences(tokenizer, golden, PITH_ADDED_PARITY, 0, 20600), 0);
    pith_tokenizer_close(tokenizer);
}

static void modernbert_ids_equal_hugging_face(void **state) {
    check_shared("modernbert", "modernbert.gz");
}

static void qwen2_ids_equal_hugging_face(void **state) {
    check_shared("qwen2.5", "qwen2.5.gz");
}

/* The model that ships with Pith. When its vocabulary is made anew, so is the golden: make.py. */
static void pith_mini_ids_equal_hugging_face(void **state) {
    pith_tokenizer *tokenizer =
        open_tokenizer(golden_path("../../../models/pith-mini/tokenizer.json"));
    assert_int_equal(count_differences(tokenizer, "pith-mini.gz", PITH_ADDED_PARITY, 0, 20600), 0);
    pith_tokenizer_close(tokenizer);
}

static void added_token_flags_are_honoured_as_hugging_face_does(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    assert_int_equal(count_differences(tokenizer, "small-flags.gz", PITH_ADDED_PARITY, 1, 5000), 0);
    pith_tokenizer_close(tokenizer);
}

static void a_vocabulary_without_normalizer_that_ignores_merges_equals_hugging_face(void **state) {
    pith_tokenizer *tokenizer = open_small("small-qwen2.json");
    assert_int_equal(count_differences(tokenizer, "small-qwen2.gz", PITH_ADDED_PARITY, 0, 5000), 0);
    pith_tokenizer_close(tokenizer);
}

static void the_comparison_notices_the_wrong_mode_and_the_wrong_vocabulary(void **state) {
    pith_tokenizer *flags = open_small("small-flags.json");
    pith_tokenizer *qwen2 = open_small("small-qwen2.json");
    assert_true(count_differences(flags, "small-flags.gz", PITH_ADDED_PLAIN, 1, 5000) > 100);
    assert_true(count_differences(qwen2, "small-flags.gz", PITH_ADDED_PLAIN, 1, 5000) > 1000);
    pith_tokenizer_close(flags);
    pith_tokenizer_close(qwen2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modernbert_ids_equal_hugging_face),
        cmocka_unit_test(qwen2_ids_equal_hugging_face),
        cmocka_unit_test(pith_mini_ids_equal_hugging_face),
        cmocka_unit_test(added_token_flags_are_honoured_as_hugging_face_does),
        cmocka_unit_test(a_vocabulary_without_normalizer_that_ignores_merges_equals_hugging_face),
        cmocka_unit_test(the_comparison_notices_the_wrong_mode_and_the_wrong_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
