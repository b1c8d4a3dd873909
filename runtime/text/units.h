/* Units of decision from words and tokens. Private to runtime/text/document.c and its tests. */
#ifndef PITH_TEXT_UNITS_H
#define PITH_TEXT_UNITS_H

#include "runtime/text/document.h"
#include "runtime/text/pretok.h"

/* A text and its tokens in text order, spans in bytes of the text. */
typedef struct pith_unit_source {
    const char *text;
    size_t len;
    const pith_token *tokens; /* [n_tok] */
    size_t n_tok;
    pith_pretok_kind pretok;
    pith_word_mode mode;      /* SPLIT: each word was tokenized alone */
    uint32_t unit_tokens_max; /* of a unit; UINT32_MAX: never cut a word */
} pith_unit_source;

/* Fills doc->units, n_units, n_words and n_lines. token_units: [n_tok], gets the unit of each
 * token, PITH_UNIT_NONE for white space. A token belongs to the unit that holds its last byte that
 * is not white space. */
PITH_MUST_USE pith_status pith_units_make(pith_document *doc, const pith_unit_source *source,
                                          uint32_t *token_units, pith_arena *arena, pith_err *err);

#endif
