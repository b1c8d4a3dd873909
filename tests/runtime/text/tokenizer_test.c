/* Encoding in plain mode, spans, decoding, finding. Files that are refused: tokenizer_json_test.c.
 */
#include "tests/runtime/text/tokenizer_golden.h"

static void expect_ids(const pith_tokenizer *tokenizer, pith_added_tokens added, const char *text,
                       const uint32_t *ids, size_t n) {
    pith_token_list list = {0};
    encode_and_count(tokenizer, added, text, strlen(text), &list);
    assert_int_equal(list.len, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list.items[i].id, ids[i]);
    }
    pith_token_list_free(&list);
}

static int holds_id(const pith_token_list *list, uint32_t id) {
    for (size_t i = 0; i < list->len; i++) {
        if (list->items[i].id == id) {
            return 1;
        }
    }
    return 0;
}

/* In plain mode no id of an added token that is not white space comes out of its content. */
static void expect_plain(const pith_tokenizer *tokenizer, const char *content) {
    pith_token_list list = {0};
    char text[64];
    uint32_t id = pith_tokenizer_find(tokenizer, content);
    assert_int_not_equal(id, PITH_TOKEN_NONE);
    (void)snprintf(text, sizeof text, "say %s twice %s", content, content);
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, text, strlen(text), &list);
    assert_false(holds_id(&list, id));
    encode_and_count(tokenizer, PITH_ADDED_PARITY, text, strlen(text), &list);
    assert_true(list.len > 0);
    pith_token_list_free(&list);
}

static pith_tokenizer *open_shared(const char *name) {
    const char *path = shared_path(name);
    if (path == NULL) {
        print_message("skipped: the vocabulary %s is not here (PITH_SHARED)\n", name);
        skip();
    }
    return open_tokenizer(path);
}

static void plain_mode_of_modernbert_leaves_added_tokens_as_text_and_matches_spaces(void **state) {
    pith_tokenizer *tokenizer = open_shared("modernbert");
    static const char *const contents[] = {"[CLS]",         "[SEP]",       "[MASK]",
                                           "[unused0]",     "[unused82]",  "|||IP_ADDRESS|||",
                                           "<|endoftext|>", "<|padding|>", "|||PHONE_NUMBER|||"};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        expect_plain(tokenizer, contents[i]);
    }
    pith_token_list list = {0};
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, "a     b", 7, &list);
    assert_true(holds_id(&list, pith_tokenizer_find(tokenizer, "     ")));
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
}

static void parity_mode_of_modernbert_matches_specials_and_strips_before_mask(void **state) {
    pith_tokenizer *tokenizer = open_shared("modernbert");
    const uint32_t ids[] = {50281, 50284, 50285};
    expect_ids(tokenizer, PITH_ADDED_PARITY, "[CLS] \t [MASK][unused0]", ids, 3);
    assert_int_equal(pith_tokenizer_find(tokenizer, "[SEP]"), 50282);
    assert_int_equal(pith_tokenizer_vocab_size(tokenizer), 50368);
    assert_int_equal(pith_tokenizer_find(tokenizer, "|||IP_ADDRESS|||"), 0);
    pith_tokenizer_close(tokenizer);
}

static void plain_mode_of_qwen_leaves_chat_markers_as_text(void **state) {
    pith_tokenizer *tokenizer = open_shared("qwen2.5");
    expect_plain(tokenizer, "<|im_start|>");
    expect_plain(tokenizer, "<|endoftext|>");
    const uint32_t ids[] = {151644, 872};
    expect_ids(tokenizer, PITH_ADDED_PARITY, "<|im_start|>user", ids, 2);
    pith_tokenizer_close(tokenizer);
}

static void plain_mode_matches_only_white_space_tokens(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    expect_plain(tokenizer, "[MASK]");
    expect_plain(tokenizer, "[CLS]");
    expect_plain(tokenizer, "<|im_start|>");
    pith_token_list list = {0};
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, "a    b\n\nc", 9, &list);
    assert_true(holds_id(&list, pith_tokenizer_find(tokenizer, "    ")));
    assert_true(holds_id(&list, pith_tokenizer_find(tokenizer, "\n\n")));
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
}

static void the_bytes_of_plain_tokens_are_the_text(void **state) {
    pith_tokenizer *tokenizer = open_small("small-qwen2.json");
    static const char text[] =
        "caf\xC3\xA9  e\xCC\x81 [CLS] \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92"
        "\xBB\r\n\t\xEA\xB0\x80\xE1\x84\x80 it's\x00 nul <|im_start|>";
    size_t len = sizeof text - 1;
    pith_token_list list = {0};
    uint32_t ids[128];
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, text, len, &list);
    assert_true(list.len < 128);
    size_t reached = 0;
    for (size_t i = 0; i < list.len; i++) {
        ids[i] = list.items[i].id;
        char *token;
        size_t n;
        assert_int_equal(list.items[i].start, reached);
        reached = list.items[i].end;
        assert_int_equal(pith_tokenizer_decode(tokenizer, &ids[i], 1, false, &token, &n, NULL),
                         PITH_OK);
        assert_int_equal(n, list.items[i].end - list.items[i].start);
        assert_memory_equal(token, text + list.items[i].start, n);
        free(token);
    }
    assert_int_equal(reached, len);
    char *whole;
    size_t n_whole;
    assert_int_equal(pith_tokenizer_decode(tokenizer, ids, list.len, false, &whole, &n_whole, NULL),
                     PITH_OK);
    assert_int_equal(n_whole, len);
    assert_memory_equal(whole, text, len);
    free(whole);
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
}

static void spans_of_text_that_nfc_rewrites_are_the_original_characters(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    /* "x" | "e" U+0323 U+0301 | "y": NFC gives x, U+1EB9 U+0301, y; the marks stay in order. */
    static const char text[] = "xo\xCC\x81\xCC\xA3y"; /* o U+0301 U+0323: the marks trade places */
    pith_token_list list = {0};
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, text, sizeof text - 1, &list);
    /* x, the three bytes of U+1ECD, the two bytes of U+0301, y: none of them is merged. */
    assert_int_equal(list.len, 7);
    const uint32_t spans[7][2] = {{0, 1}, {1, 6}, {1, 6}, {1, 6}, {2, 6}, {2, 6}, {6, 7}};
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(list.items[i].start, spans[i][0]);
        assert_int_equal(list.items[i].end, spans[i][1]);
    }
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
}

static void special_tokens_are_left_out_when_asked(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    uint32_t ids[] = {pith_tokenizer_find(tokenizer, "[CLS]"), pith_tokenizer_find(tokenizer, "a"),
                      pith_tokenizer_find(tokenizer, "  ")};
    char *text;
    size_t len;
    assert_int_equal(pith_tokenizer_decode(tokenizer, ids, 3, false, &text, &len, NULL), PITH_OK);
    assert_string_equal(text, "[CLS]a  ");
    free(text);
    assert_int_equal(pith_tokenizer_decode(tokenizer, ids, 3, true, &text, &len, NULL), PITH_OK);
    assert_string_equal(text, "a  ");
    free(text);
    pith_tokenizer_close(tokenizer);
}

static void an_id_outside_the_vocabulary_is_refused_by_index(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    uint32_t ids[] = {3, pith_tokenizer_vocab_size(tokenizer)};
    char *text;
    size_t len;
    pith_err err;
    assert_int_equal(pith_tokenizer_decode(tokenizer, ids, 2, false, &text, &len, &err),
                     PITH_INVALID);
    assert_non_null(strstr(err.text, "index 1"));
    assert_null(text);
    pith_tokenizer_close(tokenizer);
}

static void tokens_are_found_by_their_spelling_in_the_file(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    uint32_t id = pith_tokenizer_find(tokenizer, "\xC4\xA0"); /* U+0120: a space */
    uint32_t ids[] = {id};
    char *text;
    size_t len;
    assert_int_not_equal(id, PITH_TOKEN_NONE);
    assert_int_equal(pith_tokenizer_decode(tokenizer, ids, 1, false, &text, &len, NULL), PITH_OK);
    assert_string_equal(text, " ");
    free(text);
    assert_int_equal(pith_tokenizer_find(tokenizer, "no such token"), PITH_TOKEN_NONE);
    assert_int_equal(pith_tokenizer_find(tokenizer, ""), PITH_TOKEN_NONE);
    pith_tokenizer_close(tokenizer);
}

static void invalid_utf8_is_refused_with_its_offset_and_adds_nothing(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    pith_token_list list = {0};
    pith_err err;
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, "abc", 3, &list);
    size_t before = list.len;
    assert_int_equal(
        pith_tokenizer_encode(tokenizer, PITH_ADDED_PLAIN, "abc\xED\xA0\x80", 6, &list, &err),
        PITH_INVALID);
    assert_non_null(strstr(err.text, "byte 3"));
    assert_int_equal(list.len, before);
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
}

static void a_text_of_two_gibibytes_is_refused_unread(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    pith_token_list list = {0};
    assert_int_equal(
        pith_tokenizer_encode(tokenizer, PITH_ADDED_PLAIN, "", (size_t)1 << 31, &list, NULL),
        PITH_INVALID);
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
}

static void encoding_appends_and_starts_spans_anew(void **state) {
    pith_tokenizer *tokenizer = open_small("small-flags.json");
    pith_token_list list = {0};
    pith_err err;
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, "zq", 2, &list);
    size_t n = list.len;
    assert_int_equal(pith_tokenizer_encode(tokenizer, PITH_ADDED_PLAIN, "zq", 2, &list, &err),
                     PITH_OK);
    assert_int_equal(list.len, 2 * n);
    assert_int_equal(list.items[n].start, 0);
    assert_int_equal(list.items[n].id, list.items[0].id);
    assert_int_equal(pith_tokenizer_encode(tokenizer, PITH_ADDED_PLAIN, "", 0, &list, &err),
                     PITH_OK);
    assert_int_equal(list.len, 2 * n);
    pith_token_list_free(&list);
    pith_tokenizer_close(tokenizer);
}

static void one_list_serves_two_tokenizers_in_turn(void **state) {
    pith_tokenizer *flags = open_small("small-flags.json");
    pith_tokenizer *qwen2 = open_small("small-qwen2.json");
    static const char text[] = "the connection timeout of the server 12345";
    pith_token_list fresh[2] = {0};
    pith_token_list shared = {0};
    encode_and_count(flags, PITH_ADDED_PLAIN, text, sizeof text - 1, &fresh[0]);
    encode_and_count(qwen2, PITH_ADDED_PLAIN, text, sizeof text - 1, &fresh[1]);
    for (size_t round = 0; round < 4; round++) {
        const pith_token_list *expected = &fresh[round % 2];
        encode_and_count(round % 2 == 0 ? flags : qwen2, PITH_ADDED_PLAIN, text, sizeof text - 1,
                         &shared);
        assert_int_equal(shared.len, expected->len);
        assert_memory_equal(shared.items, expected->items, shared.len * sizeof *shared.items);
    }
    pith_token_list_free(&fresh[0]);
    pith_token_list_free(&fresh[1]);
    pith_token_list_free(&shared);
    pith_tokenizer_close(flags);
    pith_tokenizer_close(qwen2);
}

static void a_trimmed_list_holds_little_and_encodes_the_same(void **state) {
    enum { LONG = 40000, KEPT = 1024 };
    pith_tokenizer *tokenizer = open_small("small-qwen2.json");
    static const char text[] = "the connection timeout of the server 12345";
    char *words = malloc(LONG);
    for (size_t i = 0; i < LONG; i++) { /* one long word, then short ones */
        words[i] = i < LONG / 2 || i % 3 > 0 ? 'e' : ' ';
    }
    pith_token_list fresh = {0};
    pith_token_list list = {0};
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, text, sizeof text - 1, &fresh);
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, words, LONG, &list);
    assert_true(list.cap > KEPT);
    pith_token_list_trim(&list);
    assert_true(list.cap == KEPT && list.len == 0);
    encode_and_count(tokenizer, PITH_ADDED_PLAIN, text, sizeof text - 1, &list);
    assert_int_equal(list.len, fresh.len);
    assert_memory_equal(list.items, fresh.items, list.len * sizeof *list.items);
    pith_token_list_trim(&list); /* keeps what a short text needs */
    assert_true(list.cap == KEPT && list.len == 0);
    pith_token_list opened;
    pith_err err;
    assert_int_equal(pith_token_list_open(&opened, &err), PITH_OK);
    assert_true(opened.cap == KEPT && opened.len == 0);
    const struct pith_tokenizer_scratch *scratch = opened.scratch;
    assert_non_null(scratch);
    encode(tokenizer, PITH_ADDED_PLAIN, words, LONG, &opened);
    pith_token_list_trim(&opened);
    assert_true(opened.cap == KEPT && opened.scratch == scratch);
    pith_token_list_free(&opened);
    pith_token_list_free(&fresh);
    pith_token_list_free(&list);
    free(words);
    pith_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_mode_of_modernbert_leaves_added_tokens_as_text_and_matches_spaces),
        cmocka_unit_test(parity_mode_of_modernbert_matches_specials_and_strips_before_mask),
        cmocka_unit_test(plain_mode_of_qwen_leaves_chat_markers_as_text),
        cmocka_unit_test(plain_mode_matches_only_white_space_tokens),
        cmocka_unit_test(a_trimmed_list_holds_little_and_encodes_the_same),
        cmocka_unit_test(the_bytes_of_plain_tokens_are_the_text),
        cmocka_unit_test(spans_of_text_that_nfc_rewrites_are_the_original_characters),
        cmocka_unit_test(special_tokens_are_left_out_when_asked),
        cmocka_unit_test(an_id_outside_the_vocabulary_is_refused_by_index),
        cmocka_unit_test(tokens_are_found_by_their_spelling_in_the_file),
        cmocka_unit_test(invalid_utf8_is_refused_with_its_offset_and_adds_nothing),
        cmocka_unit_test(a_text_of_two_gibibytes_is_refused_unread),
        cmocka_unit_test(encoding_appends_and_starts_spans_anew),
        cmocka_unit_test(one_list_serves_two_tokenizers_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
