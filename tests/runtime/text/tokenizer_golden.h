/* Helpers of the tokenizer's tests: where vocabularies and goldens are, and reading a golden. */
#ifndef PITH_TESTS_TOKENIZER_GOLDEN_H
#define PITH_TESTS_TOKENIZER_GOLDEN_H

#include "runtime/text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { GOLDEN_PATH_BYTES = 1024, GOLDEN_BYTES_MAX = 16 * 1024 * 1024 };

/* Path of a file below tests/golden/tokenizer. */
static inline const char *golden_path(const char *name) {
    static char path[GOLDEN_PATH_BYTES];
    const char *source = getenv("PITH_SOURCE");
    (void)snprintf(path, sizeof path, "%s/tests/golden/tokenizer/%s", source ? source : ".", name);
    return path;
}

/* Path of a full vocabulary, or NULL when it is not on this machine. */
static inline const char *shared_path(const char *vocabulary) {
    static char path[GOLDEN_PATH_BYTES];
    const char *shared = getenv("PITH_SHARED");
    (void)snprintf(path, sizeof path, "%s/data/tokenizers/%s/tokenizer.json",
                   shared ? shared : "../shared", vocabulary);
    return access(path, R_OK) == 0 ? path : NULL;
}

static inline pith_tokenizer *open_tokenizer(const char *path) {
    pith_tokenizer *tokenizer = NULL;
    pith_err err = {0};
    if (pith_tokenizer_open(&tokenizer, path, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
    return tokenizer;
}

/* A small vocabulary of the goldens: "small-flags.json" or "small-qwen2.json". */
static inline pith_tokenizer *open_small(const char *name) {
    return open_tokenizer(golden_path(name));
}

static inline void encode(const pith_tokenizer *tokenizer, pith_added_tokens added,
                          const char *text, size_t len, pith_token_list *list) {
    pith_err err = {0};
    pith_token_list_reset(list);
    if (pith_tokenizer_encode(tokenizer, added, text, len, list, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
}

/* The same, and counting alone says the same. */
static inline void encode_and_count(const pith_tokenizer *tokenizer, pith_added_tokens added,
                                    const char *text, size_t len, pith_token_list *list) {
    pith_err err = {0};
    size_t n_tok;
    encode(tokenizer, added, text, len, list);
    size_t before = list->len;
    if (pith_tokenizer_count(tokenizer, added, text, len, list, &n_tok, &err) != PITH_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(list->len, before);
    assert_int_equal(n_tok, before);
}

/* A golden .gz file, unpacked through a child of our own; the caller frees it. */
static inline unsigned char *read_golden(const char *name, size_t *len) {
    int ends[2];
    int status = -1;
    unsigned char *data = malloc(GOLDEN_BYTES_MAX);
    assert_non_null(data);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execlp("gzip", "gzip", "-dc", golden_path(name), (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    FILE *unpacked = fdopen(ends[0], "rb");
    assert_non_null(unpacked);
    *len = fread(data, 1, GOLDEN_BYTES_MAX, unpacked);
    (void)fclose(unpacked);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return data;
}

static inline uint32_t golden_u32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t golden_u64(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

#endif
