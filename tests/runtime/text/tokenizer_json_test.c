/* Which tokenizer.json files are read, and what the others are told. Each refused file is a golden
 * one with one thing changed. */
#include "tests/runtime/text/tokenizer_golden.h"

#include "runtime/base/file.h"

typedef struct change {
    const char *find;
    const char *put;
    pith_status status;
    const char *says; /* part of the message */
} change;

/* The golden file with the first `find` replaced; a NUL follows. The caller frees it. */
static char *altered(const char *name, const char *find, const char *put, size_t *len) {
    pith_file file;
    pith_err err;
    assert_int_equal(pith_file_read(&file, golden_path(name), GOLDEN_BYTES_MAX, &err), PITH_OK);
    const char *at = strstr(file.data, find);
    if (at == NULL) {
        fail_msg("%s has no %s", name, find);
    }
    size_t before = (size_t)(at - file.data);
    size_t after = before + strlen(find);
    *len = before + strlen(put) + (file.len - after);
    char *json = malloc(*len + 1);
    assert_non_null(json);
    memcpy(json, file.data, before);
    memcpy(json + before, put, strlen(put));
    memcpy(json + before + strlen(put), file.data + after, file.len - after);
    json[*len] = '\0';
    pith_file_close(&file);
    return json;
}

static void check_message(const pith_err *err, const char *says) {
    if (strncmp(err->text, "x.json: ", 8) != 0 || strstr(err->text, says) == NULL ||
        strchr(err->text, '\n') != NULL) {
        fail_msg("\"%s\", expected one line \"x.json: ..%s..\"", err->text, says);
    }
}

static void expect_refused(const char *name, const change *c) {
    size_t len;
    pith_tokenizer *tokenizer = NULL;
    pith_err err = {0};
    char *json = altered(name, c->find, c->put, &len);
    pith_status status = pith_tokenizer_open_memory(&tokenizer, "x.json", json, len, &err);
    free(json);
    if (status != c->status) {
        fail_msg("%s with %s: %s (%s), expected %s", name, c->put, pith_status_name(status),
                 err.text, pith_status_name(c->status));
    }
    assert_null(tokenizer);
    check_message(&err, c->says);
}

static void malformed_files_are_refused_with_one_line(void **state) {
    static const change changes[] = {
        {"{\"version\"", "[\"version\"", PITH_CORRUPT, "not JSON at line 1"},
        {"\"!\":0,", "\"!\":0,\"!\":0,", PITH_CORRUPT, "duplicate"},
        {"\"!\":0,", "\"!\":1,", PITH_CORRUPT, "share the id 1"},
        {"\"!\":0,", "\"!\":-1,", PITH_CORRUPT, "id of token \"!\""},
        {"\"!\":0,", "\"!\":1048576,", PITH_CORRUPT, "expected 0 to 1048575"},
        {"\"!\":0,", "\"!\":0.5,", PITH_CORRUPT, "a number"},
        {"\"!\":0,", "\"!\":\"\\n0\",", PITH_CORRUPT, "a string"},
        {"\"!\":0,", "", PITH_UNSUPPORTED, "no token for the byte 0x21"},
        {"\"!\":0,", "\"!\":0,\"\":900,", PITH_CORRUPT, "token 900 is empty"},
        {"\"!\":0,", "\"!\":0,\"a b\\nc\":900,", PITH_UNSUPPORTED, "token \"a b?c\""},
        {"[\"t\",\"h\"]", "[\"t\",\"h\"],[\"t\",\"h\"]", PITH_CORRUPT, "merge 1"},
        {"[\"t\",\"h\"]", "[\"t\",\"h\",\"e\"]", PITH_CORRUPT, "merge 0 is an array"},
        {"[\"t\",\"h\"]", "[\"t\",1]", PITH_CORRUPT, "merge 0"},
        {"[\"t\",\"h\"]", "[\"t\",\"\"]", PITH_CORRUPT, "merge 0"},
        {"[\"t\",\"h\"]", "\"t h e\"", PITH_CORRUPT, "merge 0 is t h e"},
        {"[\"t\",\"h\"]", "\"th\"", PITH_CORRUPT, "merge 0"},
        {"[\"t\",\"h\"]", "\"\\n h\"", PITH_CORRUPT, "its half \"?\""},
        {"[\"t\",\"h\"]", "\"q! h\"", PITH_CORRUPT, "its half \"q!\""},
        {"[\"t\",\"h\"]", "\"q z\"", PITH_CORRUPT, "what it makes"},
        {"\"merges\":[", "\"merges\":7,\"m\":[", PITH_CORRUPT, "merges is an integer"},
        {"\"vocab\":{", "\"vocab\":{},\"v\":{", PITH_CORRUPT, "model.vocab"},
        {"\"model\":{", "\"model\":3,\"m\":{", PITH_CORRUPT, "model is an integer"},
        {"\"ignore_merges\":false", "\"ignore_merges\":1", PITH_CORRUPT, "ignore_merges"},
        {"\"id\":700", "\"id\":-7", PITH_CORRUPT, "added token 2"},
        {"\"id\":700", "\"id\":\"x\"", PITH_CORRUPT, "id is a string"},
        {"\"id\":700", "\"id\":701", PITH_CORRUPT, "share the id 701"},
        {"\"id\":700", "\"id\":0", PITH_CORRUPT, "belongs to another token"},
        {"\"id\":459", "\"id\":800", PITH_CORRUPT, "the vocabulary says 459"},
        {"\"content\":\"[MASK]\"", "\"content\":\"\"", PITH_CORRUPT, "0 bytes"},
        {"\"content\":\"[MASK]\"", "\"content\":[]", PITH_CORRUPT, "content is an array"},
        {"\"content\":\"[MASK]\"", "\"content\":\"[CLS]\"", PITH_CORRUPT, "same content"},
        {"\"lstrip\":true", "\"lstrip\":\"yes\"", PITH_CORRUPT, "\"lstrip\" is a string"},
        {"\"added_tokens\":[", "\"added_tokens\":{},\"a\":[", PITH_CORRUPT, "added_tokens"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        expect_refused("small-flags.json", &changes[i]);
    }
}

static void files_that_ask_for_something_else_are_refused_by_name(void **state) {
    static const change changes[] = {
        {"\"type\":\"BPE\"", "\"type\":\"WordPiece\"", PITH_UNSUPPORTED, "model \"WordPiece\""},
        {"\"type\":\"NFC\"", "\"type\":\"NFKC\"", PITH_UNSUPPORTED, "normalizer \"NFKC\""},
        {"\"dropout\":null", "\"dropout\":0.1", PITH_UNSUPPORTED, "dropout 0.1"},
        {"\"byte_fallback\":false", "\"byte_fallback\":true", PITH_UNSUPPORTED, "byte_fallback"},
        {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"", PITH_UNSUPPORTED,
         "end_of_word_suffix"},
        {"\"add_prefix_space\":false", "\"add_prefix_space\":true", PITH_UNSUPPORTED,
         "add_prefix_space"},
        {"\"use_regex\":true", "\"use_regex\":false", PITH_UNSUPPORTED, "use_regex false"},
        {"\"type\":\"ByteLevel\"", "\"type\":\"Metaspace\"", PITH_UNSUPPORTED, "\"Metaspace\""},
        {"\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"WordPiece\"",
         PITH_UNSUPPORTED, "decoder \"WordPiece\""},
        {"\"content\":\"\\n\\n\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false",
         "\"content\":\"\\n\\n\",\"rstrip\":true", PITH_UNSUPPORTED, "rstrip"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        expect_refused("small-flags.json", &changes[i]);
    }
    static const change splits[] = {
        {"(?i:'s", "(?i:'z", PITH_UNSUPPORTED, "Split pattern"},
        {"\"Isolated\"", "\"Removed\"", PITH_UNSUPPORTED, "behavior \"Removed\""},
        {"\"invert\":false", "\"invert\":true", PITH_UNSUPPORTED, "invert"},
        {"\"type\":\"Split\"", "\"type\":\"Digits\"", PITH_UNSUPPORTED, "\"Digits\""},
        {"\"use_regex\":false}]", "\"use_regex\":true}]", PITH_UNSUPPORTED, "use_regex true"},
        {"\"use_regex\":false}]", "\"use_regex\":false},{}]", PITH_UNSUPPORTED, "a Sequence of 3"},
    };
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        expect_refused("small-qwen2.json", &splits[i]);
    }
}

static void every_prefix_of_a_file_is_refused(void **state) {
    size_t len;
    char *json = altered("small-flags.json", "\"version\"", "\"version\"", &len);
    for (size_t cut = 0; cut + 2 < len; cut += cut < 3000 ? 61 : 997) {
        char *exact = malloc(cut + 1); /* so that a read past the end is seen */
        assert_non_null(exact);
        memcpy(exact, json, cut);
        pith_tokenizer *tokenizer;
        pith_err err = {0};
        assert_int_equal(pith_tokenizer_open_memory(&tokenizer, "x.json", exact, cut, &err),
                         PITH_CORRUPT);
        check_message(&err, "not JSON");
        free(exact);
    }
    free(json);
}

static void merges_are_read_as_strings_and_as_pairs_alike(void **state) {
    static const char text[] = "the the with er";
    size_t len;
    pith_tokenizer *pairs = open_small("small-flags.json");
    pith_tokenizer *strings = NULL;
    char *json = altered("small-flags.json", "[\"t\",\"h\"]", "\"t h\"", &len);
    assert_int_equal(pith_tokenizer_open_memory(&strings, "x.json", json, len, NULL), PITH_OK);
    free(json);
    pith_token_list a = {0};
    pith_token_list b = {0};
    encode(pairs, PITH_ADDED_PLAIN, text, sizeof text - 1, &a);
    encode(strings, PITH_ADDED_PLAIN, text, sizeof text - 1, &b);
    assert_int_equal(a.len, b.len);
    assert_true(a.len < sizeof text - 1);
    assert_memory_equal(a.items, b.items, a.len * sizeof *a.items);
    pith_token_list_free(&a);
    pith_token_list_free(&b);
    pith_tokenizer_close(pairs);
    pith_tokenizer_close(strings);
}

static void a_missing_file_is_not_found_and_an_unreadable_one_says_so(void **state) {
    pith_tokenizer *tokenizer;
    pith_err err;
    assert_int_equal(pith_tokenizer_open(&tokenizer, golden_path("none.json"), &err),
                     PITH_NOT_FOUND);
    assert_non_null(strstr(err.text, "none.json"));
    assert_null(tokenizer);
    pith_tokenizer_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_files_are_refused_with_one_line),
        cmocka_unit_test(files_that_ask_for_something_else_are_refused_by_name),
        cmocka_unit_test(every_prefix_of_a_file_is_refused),
        cmocka_unit_test(merges_are_read_as_strings_and_as_pairs_alike),
        cmocka_unit_test(a_missing_file_is_not_found_and_an_unreadable_one_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
