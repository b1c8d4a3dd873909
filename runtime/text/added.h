/* Added tokens: literal strings found in a text before it is cut and merged.
 *
 * Immutable once built; any thread. Matching is leftmost, then longest, in time linear in the text
 * (times PITH_ADDED_CONTENT_BYTES_MAX at worst), by a trie. */
#ifndef PITH_TEXT_ADDED_H
#define PITH_TEXT_ADDED_H

#include "runtime/base/status.h"
#include "runtime/text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_ADDED_MAX = 1 << 16,            /* Llama-3 has 256, ModernBERT 116 */
    PITH_ADDED_CONTENT_BYTES_MAX = 1024, /* ModernBERT's longest is 24 */
    PITH_ADDED_BYTES_MAX = 1024 * 1024   /* of all contents: bounds the nodes of a trie */
};

typedef struct pith_added_token {
    char *content; /* [len], then a NUL; not empty */
    uint32_t len;
    uint32_t id; /* by the file */
    /* What Hugging Face's library gives: it numbers the tokens that the vocabulary lacks anew, in
     * the file's order from the vocabulary's size on. Parity mode does as it does. */
    uint32_t parity_id;
    bool single_word; /* only where no word character stands beside it */
    bool lstrip;      /* takes the white space before it along */
    bool rstrip;      /* and after it */
    bool normalized;  /* looked for after NFC, not before */
    bool special;
    bool white; /* nothing but white space: matches in plain mode too */
} pith_added_token;

typedef struct pith_trie_node {
    uint32_t child;   /* index of the first child; 0: none */
    uint32_t sibling; /* index of the next child of the same parent; 0: none */
    uint32_t token;   /* index of the added token that ends here, or PITH_TOKEN_NONE */
    unsigned char byte;
} pith_trie_node;

typedef struct pith_trie {
    pith_trie_node *nodes; /* [n_nodes]; node 0 is not used */
    uint32_t n_nodes;
    uint32_t first[256]; /* node of a first byte; 0: none */
    bool any;
} pith_trie;

typedef struct pith_added {
    pith_added_token *tokens; /* [n] in order of content */
    uint32_t n;
    /* By mode (PITH_ADDED_PLAIN, PITH_ADDED_PARITY), then by `normalized`. */
    pith_trie tries[2][2];
} pith_added;

/* Takes over `tokens` (malloc'ed, contents too; freed on failure as well): sorts them and builds
 * the tries. Two tokens of the same content are PITH_CORRUPT. `nfc`: the vocabulary normalises. */
PITH_MUST_USE pith_status pith_added_build(pith_added *added, pith_added_token *tokens, uint32_t n,
                                           bool nfc, pith_err *err);
void pith_added_free(pith_added *added);

/* The token with this content, or NULL. */
const pith_added_token *pith_added_find(const pith_added *added, const char *content, size_t len);

/* A match: bytes [start, end) of the text. Stripped white space is inside. */
typedef struct pith_added_match {
    const pith_added_token *token;
    size_t start;
    size_t end;
} pith_added_match;

/* Where a search stands. Zero-initialise it. */
typedef struct pith_added_cursor {
    size_t scan; /* the search goes on here */
    size_t done; /* end of the last match: white space before the next is taken up to here */
} pith_added_cursor;

/* The next match; false when there is none. A match may start before `cursor->done` of the match
 * before when that one took white space that is itself an added token, as in Hugging Face's. */
bool pith_added_next(const pith_added *added, const pith_trie *trie, const char *text, size_t len,
                     pith_added_cursor *cursor, pith_added_match *match);

#endif
