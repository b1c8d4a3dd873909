/* Where the two patterns cut. The expected pieces are Hugging Face's; the goldens of
 * tokenizer_golden_test.c compare thousands more through the ids. */
#include "runtime/text/pretok.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PIECES_MAX = 16 };

typedef struct sample {
    const char *text;
    const char *pieces[PIECES_MAX]; /* up to the first NULL */
} sample;

static void check(pith_pretok_kind kind, const sample *s) {
    size_t len = strlen(s->text);
    size_t pos = 0;
    size_t i = 0;
    for (; pos < len; i++) {
        size_t end = pith_pretok_next(kind, s->text, len, pos);
        const char *piece = i < PIECES_MAX && s->pieces[i] != NULL ? s->pieces[i] : "(none)";
        if (end <= pos || end > len || end - pos != strlen(piece) ||
            memcmp(s->text + pos, piece, end - pos) != 0) {
            fail_msg("\"%s\": piece %zu is \"%.*s\", expected \"%s\"", s->text, i, (int)(end - pos),
                     s->text + pos, piece);
        }
        pos = end;
    }
    assert_true(i == PIECES_MAX || s->pieces[i] == NULL);
}

static void the_gpt2_pattern_cuts_as_hugging_face_does(void **state) {
    static const sample samples[] = {
        {"Hello world", {"Hello", " world"}},
        {"it's we'll I'M 'tis", {"it", "'s", " we", "'ll", " I", "'", "M", " '", "tis"}},
        {"'re 've 'd 'm 't", {"'re", " '", "ve", " '", "d", " '", "m", " '", "t"}},
        {"a1b22", {"a", "1", "b", "22"}},
        {" 12 ab  cd", {" 12", " ab", " ", " cd"}},
        {"a   b", {"a", "  ", " b"}},
        {"a \n b", {"a", " \n", " b"}},
        {"a\n\nb", {"a", "\n", "\n", "b"}},
        {"a\tb", {"a", "\t", "b"}},
        {"a  ", {"a", "  "}},
        {"a ", {"a", " "}},
        {"\xC2\xA0x", {"\xC2\xA0", "x"}},
        {"\xE3\x80\x80\xE3\x80\x80x", {"\xE3\x80\x80", "\xE3\x80\x80", "x"}},
        {" \xC2\xA0x", {" ", "\xC2\xA0", "x"}},
        {"x\xC2\x85y", {"x", "\xC2\x85", "y"}},
        {"x\x1Cy", {"x", "\x1C", "y"}}, /* white space to Python, not to the pattern */
        {"e\xCC\x81x", {"e", "\xCC\x81", "x"}},
        {"\xD9\xA1\xD9\xA2 \xE4\xB8\xAD\xE6\x96\x87",
         {"\xD9\xA1\xD9\xA2", " \xE4\xB8\xAD\xE6\x96\x87"}},
        {"!? ?!a", {"!?", " ?!", "a"}},
        {"''s", {"''", "s"}},
        {"'", {"'"}},
        {"x'", {"x", "'"}},
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        check(PITH_PRETOK_GPT2, &samples[i]);
    }
}

static void the_qwen2_pattern_cuts_as_hugging_face_does(void **state) {
    static const sample samples[] = {
        {"Hello world", {"Hello", " world"}},
        {"it's we'LL I'm 'tis", {"it", "'s", " we", "'LL", " I", "'m", " '", "tis"}},
        {"x'\xC5\xBFy", {"x", "'\xC5\xBF", "y"}}, /* U+017F folds to s */
        {"a12b", {"a", "1", "2", "b"}},
        {" 1", {" ", "1"}},
        {"(foo) \tbar", {"(foo", ")", " ", "\tbar"}},
        {"a   b", {"a", "  ", " b"}},
        {"a \n \n  b", {"a", " \n \n", " ", " b"}},
        {"a\r\n\r\nb", {"a", "\r\n\r\n", "b"}},
        {"x;\n\ny", {"x", ";\n\n", "y"}},
        {"x ;\r\n", {"x", " ;\r\n"}},
        {"a\nb", {"a", "\n", "b"}},
        {"\t\tx", {"\t", "\tx"}},
        {"\xE3\x80\x80x", {"\xE3\x80\x80x"}},
        {"\t;", {"\t", ";"}},
        {"''s", {"''", "s"}},
        {"!'s", {"!'", "s"}},
        {" 's", {" '", "s"}},
        {"'", {"'"}},
        {"a  ", {"a", "  "}},
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        check(PITH_PRETOK_QWEN2, &samples[i]);
    }
}

/* Bytes at random, not UTF-8 at all: every call moves on and stays inside an exact allocation. */
static void any_bytes_are_walked_to_the_end(void **state) {
    uint64_t random = 88172645463325252U;
    for (unsigned round = 0; round < 2000; round++) {
        size_t len = 1 + round % 40;
        char *text = malloc(len);
        assert_non_null(text);
        for (size_t i = 0; i < len; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text[i] = (char)random;
        }
        for (int kind = PITH_PRETOK_GPT2; kind <= PITH_PRETOK_QWEN2; kind++) {
            for (size_t pos = 0; pos < len;) {
                size_t end = pith_pretok_next((pith_pretok_kind)kind, text, len, pos);
                assert_true(end > pos && end <= len);
                pos = end;
            }
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gpt2_pattern_cuts_as_hugging_face_does),
        cmocka_unit_test(the_qwen2_pattern_cuts_as_hugging_face_does),
        cmocka_unit_test(any_bytes_are_walked_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
