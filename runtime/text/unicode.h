/* Frozen Unicode tables, as the Hugging Face `tokenizers` library sees each code point (see
 * unicode_tables.py for how they were read off), and NFC with spans back to the original.
 *
 * The tables are constants; a pith_nfc is owned by one thread at a time. */
#ifndef PITH_TEXT_UNICODE_H
#define PITH_TEXT_UNICODE_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_UNICODE_BLOCK = 128, /* code points per block */
    PITH_UNICODE_BLOCKS = 0x110000 / PITH_UNICODE_BLOCK
};

extern const uint8_t pith_unicode_index[PITH_UNICODE_BLOCKS];
extern const uint8_t pith_unicode_props[];

/* Properties of a code point. Bits 0-1: what a pre-tokenizer's pattern distinguishes. */
enum {
    PITH_CHAR_OTHER = 0,  /* [^\s\p{L}\p{N}] */
    PITH_CHAR_LETTER = 1, /* \p{L} */
    PITH_CHAR_NUMBER = 2, /* \p{N} */
    PITH_CHAR_SPACE = 3,  /* \s */
    PITH_CHAR_CLASS = 3,  /* mask */
    /* Bits 2-3: what NFC may do with it. */
    PITH_NFC_STABLE = 0 << 2,  /* class 0, never changed by what stands before it */
    PITH_NFC_MARK = 1 << 2,    /* combining class > 0, may move */
    PITH_NFC_CHANGES = 2 << 2, /* may decompose, or compose with what stands before it */
    PITH_NFC_INERT = 3 << 2,   /* later than the frozen NFC: taken as it is */
    PITH_NFC_MASK = 3 << 2,
    PITH_CHAR_WORD = 1 << 4 /* \w */
};

static inline unsigned pith_unicode_of(uint32_t code) {
    if (code >= 0x110000) {
        return PITH_CHAR_OTHER;
    }
    uint32_t block = pith_unicode_index[code / PITH_UNICODE_BLOCK];
    return pith_unicode_props[block * PITH_UNICODE_BLOCK + code % PITH_UNICODE_BLOCK];
}

/* Properties of the character at s[0], left >= 1 bytes readable; stores its length in bytes.
 * The text is valid UTF-8; on other bytes the answer is some character, and no read is out of
 * bounds. */
static inline unsigned pith_unicode_at(const char *text, size_t left, size_t *len) {
    const unsigned char *s = (const unsigned char *)text;
    uint32_t code = s[0];
    size_t n = 1;
    if (code >= 0x80) {
        n = code < 0xE0 ? 2 : code < 0xF0 ? 3 : 4;
        if (n > left) {
            *len = 1;
            return PITH_CHAR_OTHER;
        }
        code &= 0xFFU >> (n + 1);
        for (size_t i = 1; i < n; i++) {
            code = (code << 6) | (s[i] & 0x3FU);
        }
    }
    *len = n;
    return pith_unicode_of(code);
}

/* Normalised bytes [norm_start, norm_end) that came from the original bytes [src_start, src_end).
 * Bytes between edits are copies, one to one. Both ends ascend (not strictly) over edits. */
typedef struct pith_nfc_edit {
    uint32_t norm_start;
    uint32_t norm_end;
    uint32_t src_start;
    uint32_t src_end;
} pith_nfc_edit;

typedef struct pith_nfc_char pith_nfc_char;

typedef struct pith_nfc {
    char *text; /* [len] the normalised text */
    size_t len;
    size_t cap;
    pith_nfc_edit *edits; /* [n_edits] */
    size_t n_edits;
    size_t cap_edits;
    pith_nfc_char *chars; /* work space: one segment, and a second half for sorting */
    size_t cap_chars;
} pith_nfc;

/* Normalises text[0, len), valid UTF-8, len < 2^31. *same is true when the text is in NFC already;
 * then nothing was copied. Time is linear. PITH_NO_MEMORY is the only failure. Zero-initialise a
 * pith_nfc before its first use. */
PITH_MUST_USE pith_status pith_nfc_apply(pith_nfc *nfc, const char *text, size_t len, bool *same);
void pith_nfc_free(pith_nfc *nfc);

#endif
