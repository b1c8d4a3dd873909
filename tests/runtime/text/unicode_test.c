/* The frozen tables and NFC. Differences from the peer show in tokenizer_golden_test.c too. */
#include "runtime/text/unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void tables_have_the_classes_of_unicode_16(void **state) {
    unsigned counts[4] = {0};
    for (uint32_t code = 0; code < 0x110000; code++) {
        counts[pith_unicode_of(code) & PITH_CHAR_CLASS]++;
    }
    assert_int_equal(counts[PITH_CHAR_LETTER], 141028);
    assert_int_equal(counts[PITH_CHAR_NUMBER], 1911);
    assert_int_equal(counts[PITH_CHAR_SPACE], 25);
    assert_int_equal(pith_unicode_of(0x110000), PITH_CHAR_OTHER);
    assert_int_equal(pith_unicode_of(UINT32_MAX), PITH_CHAR_OTHER);
}

static void single_code_points_have_their_class(void **state) {
    static const struct {
        uint32_t code;
        unsigned class;
    } samples[] = {
        {'a', PITH_CHAR_LETTER},    {'9', PITH_CHAR_NUMBER},    {'_', PITH_CHAR_OTHER},
        {0x85, PITH_CHAR_SPACE},    {0x1C, PITH_CHAR_OTHER},    {0x200B, PITH_CHAR_OTHER},
        {0x180E, PITH_CHAR_OTHER},  {0x3000, PITH_CHAR_SPACE},  {0x301, PITH_CHAR_OTHER},
        {0x4E00, PITH_CHAR_LETTER}, {0x2160, PITH_CHAR_NUMBER}, {0xBD, PITH_CHAR_NUMBER},
        {0x1C89, PITH_CHAR_LETTER}, {0xD800, PITH_CHAR_OTHER}};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        assert_int_equal(pith_unicode_of(samples[i].code) & PITH_CHAR_CLASS, samples[i].class);
    }
    assert_true(pith_unicode_of('_') & PITH_CHAR_WORD);
    assert_true(pith_unicode_of(0x301) & PITH_CHAR_WORD);
    assert_false(pith_unicode_of('-') & PITH_CHAR_WORD);
}

typedef struct nfc_sample {
    const char *text;
    const char *nfc;
} nfc_sample;

static void nfc_composes_orders_and_decomposes(void **state) {
    static const nfc_sample samples[] = {
        {"", ""},
        {"plain ascii, longer than eight bytes", "plain ascii, longer than eight bytes"},
        {"e\xCC\x81", "\xC3\xA9"},
        {"12345678e\xCC\x81", "12345678\xC3\xA9"},    /* the starter ends a word of eight */
        {"\xC3\xA9\xCC\xA3", "\xE1\xBA\xB9\xCC\x81"}, /* e acute, dot below: reordered */
        {"q\xCC\x87\xCC\xA3", "q\xCC\xA3\xCC\x87"},   /* only reordered */
        {"q\xCC\xA3\xCC\x87", "q\xCC\xA3\xCC\x87"},
        {"a\xCC\x81\xCC\x81", "\xC3\xA1\xCC\x81"},                /* the second is blocked */
        {"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"}, /* jamo to a syllable */
        {"\xEA\xB0\x80\xE1\x86\xA7", "\xEA\xB0\x80\xE1\x86\xA7"}, /* U+11A7 is no final */
        {"\xE2\x84\xAB", "\xC3\x85"},                             /* angstrom sign */
        {"\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC"},             /* composition exclusion */
        {"\xE0\xA4\xA8\xE0\xA4\xBC", "\xE0\xA4\xA9"},
        {"\xEF\xA4\x80", "\xE8\xB1\x88"}, /* compatibility ideograph */
        {"\xCC\x81", "\xCC\x81"},
        {"\xCC\x84\xCC\xA3", "\xCC\xA3\xCC\x84"}, /* marks without a starter */
        {"\xCD\x84", "\xCC\x88\xCC\x81"},         /* U+0344 */
        {"\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0", "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0"}, /* too late */
    };
    pith_nfc nfc = {0};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        bool same;
        const nfc_sample *s = &samples[i];
        assert_int_equal(pith_nfc_apply(&nfc, s->text, strlen(s->text), &same), PITH_OK);
        assert_int_equal(same, strcmp(s->text, s->nfc) == 0);
        if (!same) {
            assert_int_equal(nfc.len, strlen(s->nfc));
            assert_memory_equal(nfc.text, s->nfc, nfc.len);
        }
    }
    pith_nfc_free(&nfc);
}

static void edits_name_the_original_characters(void **state) {
    static const char text[] = "ab e\xCC\x81 q\xCC\x87\xCC\xA3 z";
    pith_nfc nfc = {0};
    bool same;
    assert_int_equal(pith_nfc_apply(&nfc, text, sizeof text - 1, &same), PITH_OK);
    assert_false(same);
    /* e acute; q, dot below, dot above. */
    const pith_nfc_edit expected[] = {{3, 5, 3, 6}, {6, 7, 7, 8}, {7, 9, 8, 12}, {9, 11, 8, 12}};
    assert_int_equal(nfc.n_edits, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_memory_equal(&nfc.edits[i], &expected[i], sizeof expected[i]);
    }
    pith_nfc_free(&nfc);
}

enum { MARKS = 3000 };

/* 6,000 marks of two classes in turn: sorted by counting, spans ascend, nothing is lost. */
static void a_long_run_of_marks_is_ordered_stably(void **state) {
    char *text = malloc(1 + 4 * MARKS);
    pith_nfc nfc = {0};
    bool same;
    assert_non_null(text);
    text[0] = 'x';
    for (size_t i = 0; i < MARKS; i++) {
        memcpy(text + 1 + 4 * i, i % 2 == 0 ? "\xCC\x87\xCC\xA3" : "\xCC\x88\xCC\xA4", 4);
    }
    assert_int_equal(pith_nfc_apply(&nfc, text, 1 + 4 * MARKS, &same), PITH_OK);
    assert_false(same);
    /* The marks below (class 220) come first; the first dot above joins x past them: U+1E8B. */
    assert_int_equal(nfc.len, 3 + 4 * MARKS - 2);
    assert_memory_equal(nfc.text, "\xE1\xBA\x8B\xCC\xA3\xCC\xA4\xCC\xA3", 9);
    for (size_t i = 1; i < nfc.n_edits; i++) {
        assert_true(nfc.edits[i].src_start >= nfc.edits[i - 1].src_start);
        assert_true(nfc.edits[i].src_end >= nfc.edits[i - 1].src_end);
        assert_int_equal(nfc.edits[i].norm_start, nfc.edits[i - 1].norm_end);
    }
    free(text);
    pith_nfc_free(&nfc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_have_the_classes_of_unicode_16),
        cmocka_unit_test(single_code_points_have_their_class),
        cmocka_unit_test(nfc_composes_orders_and_decomposes),
        cmocka_unit_test(edits_name_the_original_characters),
        cmocka_unit_test(a_long_run_of_marks_is_ordered_stably),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
