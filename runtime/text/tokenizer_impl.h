/* What a tokenizer is made of. Private to runtime/text/tokenizer*.c and its fuzz targets. */
#ifndef PITH_TEXT_TOKENIZER_IMPL_H
#define PITH_TEXT_TOKENIZER_IMPL_H

#include "runtime/text/added.h"
#include "runtime/text/bpe.h"
#include "runtime/text/pretok.h"
#include "runtime/text/tokenizer.h"

struct pith_tokenizer {
    pith_bpe bpe;
    pith_added added;
    uint32_t *added_by_id; /* [vocab_size] index into added.tokens, or PITH_TOKEN_NONE */
    uint32_t vocab_size;   /* one more than the largest id, added tokens included */
    uint32_t serial;       /* not 0; differs for every tokenizer of the process */
    pith_pretok_kind pretok;
    bool nfc;
};

/* The byte that a character of a vocabulary stands for in byte-level BPE, or -1. GPT-2's table:
 * printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up, in order. */
int pith_bytelevel_byte(uint32_t code);

#endif
