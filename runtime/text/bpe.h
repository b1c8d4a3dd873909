/* Byte-level BPE: the vocabulary, the merge table and the encoding of one pre-token.
 *
 * A pith_bpe is immutable once built and may be shared by any thread; a pith_bpe_work is owned by
 * one thread at a time. Encoding gives what merging the pair of lowest rank first, leftmost first,
 * gives, in linear time. */
#ifndef PITH_TEXT_BPE_H
#define PITH_TEXT_BPE_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_BPE_ID_BITS = 20,          /* PITH_VOCAB_MAX ids; two ids and a rank fit 64 bits */
    PITH_BPE_MERGES_MAX = 1 << 20,  /* a merge makes a token: no more than PITH_VOCAB_MAX */
    PITH_BPE_TOKEN_BYTES_MAX = 1024 /* ModernBERT's longest is 512 */
};

typedef struct pith_bpe {
    char *bytes;       /* bytes of all tokens, concatenated in order of id */
    uint32_t *offsets; /* [n_ids + 1]; an id without a token is empty */
    uint32_t n_ids;
    uint64_t *pairs;     /* [pair_mask + 1] open addressing: left | right | rank, 20 bits each */
    uint32_t *merge_ids; /* [n_merges] the token that a merge makes, by rank */
    uint32_t n_merges;
    uint32_t cap_merges;
    uint32_t pair_mask;
    uint32_t *by_bytes; /* [by_bytes_mask + 1] open addressing: ids by their bytes */
    uint32_t by_bytes_mask;
    uint32_t byte_ids[256]; /* token of one byte; PITH_TOKEN_NONE where the vocabulary has none */
    bool ignore_merges;     /* a pre-token that is a token needs no merges */
} pith_bpe;

/* Indexes the tokens: bytes, offsets and n_ids are set; fills by_bytes and byte_ids. Two tokens of
 * the same bytes are PITH_CORRUPT. */
PITH_MUST_USE pith_status pith_bpe_index(pith_bpe *bpe, pith_err *err);

/* Makes the table for `n_merges` merges. */
PITH_MUST_USE pith_status pith_bpe_reserve(pith_bpe *bpe, uint32_t n_merges, pith_err *err);

/* Adds the merge of `left` and `right` with the next rank. False when the pair has a rank already
 * or the table is full. */
bool pith_bpe_add_merge(pith_bpe *bpe, uint32_t left, uint32_t right, uint32_t made);

/* Id of the token with these bytes, or PITH_TOKEN_NONE. */
uint32_t pith_bpe_find(const pith_bpe *bpe, const char *bytes, size_t len);

void pith_bpe_free(pith_bpe *bpe);

static inline uint32_t pith_bpe_token_bytes(const pith_bpe *bpe, uint32_t id) {
    return bpe->offsets[id + 1] - bpe->offsets[id];
}

/* Pre-tokens up to this many bytes are merged in place on the stack. */
enum { PITH_BPE_SHORT_BYTES = 64 };

/* Tokens of text[0, len), 1 <= len <= PITH_BPE_SHORT_BYTES, into ids[len]; returns how many.
 * Every byte of the text has a token in byte_ids. */
size_t pith_bpe_encode_short(const pith_bpe *bpe, const char *text, size_t len, uint32_t *ids);

/* A stretch of a long pre-token and its tokens. */
typedef struct pith_bpe_window {
    uint32_t *ids;    /* [n] */
    uint32_t *starts; /* [n] byte offsets into the pre-token */
    size_t n;
    size_t cap;
} pith_bpe_window;

/* Zero-initialise it. */
typedef struct pith_bpe_work {
    size_t window_bytes; /* first size tried; 0: the built-in one. Tests set it low */
    pith_bpe_window windows[2];
    uint32_t *symbols; /* id, rank, previous, next of each symbol: four arrays of cap_symbols */
    uint64_t *heap;    /* [2 * cap_symbols] */
    size_t cap_symbols;
    uint32_t *ids; /* [n_ids] tokens of the pre-token encoded last */
    size_t n_ids;
    size_t cap_ids;
} pith_bpe_work;

/* Tokens of text[0, len) into work->ids, any length. PITH_NO_MEMORY is the only failure. */
PITH_MUST_USE pith_status pith_bpe_encode_long(const pith_bpe *bpe, const char *text, size_t len,
                                               pith_bpe_work *work);
void pith_bpe_work_free(pith_bpe_work *work);

#endif
