/* Pre-tokenizers: the two patterns that cut a text before BPE, written by hand.
 *
 * Pure functions; any thread. Time is linear in the text when it is walked from 0 to the end. */
#ifndef PITH_TEXT_PRETOK_H
#define PITH_TEXT_PRETOK_H

#include "runtime/text/tokenizer.h"

#include <stddef.h>

typedef enum pith_pretok_kind {
    /* '(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
     * GPT-2's; ModernBERT's ByteLevel uses it. */
    PITH_PRETOK_GPT2,
    /* '(?i:s|t|re|ve|m|ll|d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|
     * \s*[\r\n]+|\s+(?!\S)|\s+
     * Qwen2's. */
    PITH_PRETOK_QWEN2
} pith_pretok_kind;

/* End of the pre-token that starts at text[pos], pos < len; always > pos and <= len. The text is
 * valid UTF-8 and `pos` is where an earlier pre-token ended, or 0. */
size_t pith_pretok_next(pith_pretok_kind kind, const char *text, size_t len, size_t pos);

/* The pattern that a tokenizer's file asks for. */
pith_pretok_kind pith_tokenizer_pretok(const pith_tokenizer *tokenizer);

#endif
