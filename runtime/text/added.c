#include "runtime/text/added.h"

#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len) {
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    if (order != 0) {
        return order;
    }
    return a_len < b_len ? -1 : a_len > b_len ? 1 : 0;
}

static int compare_tokens(const void *a, const void *b) {
    const pith_added_token *x = a;
    const pith_added_token *y = b;
    return compare_bytes(x->content, x->len, y->content, y->len);
}

static bool is_white(const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        size_t n;
        if ((pith_unicode_at(text + at, len - at, &n) & PITH_CHAR_CLASS) != PITH_CHAR_SPACE) {
            return false;
        }
        at += n;
    }
    return true;
}

/* The node for `byte` in the list that *link heads, added when it is not there. */
static uint32_t step_in(pith_trie *trie, uint32_t *link, unsigned char byte) {
    for (; *link != 0; link = &trie->nodes[*link].sibling) {
        if (trie->nodes[*link].byte == byte) {
            return *link;
        }
    }
    uint32_t node = trie->n_nodes++;
    trie->nodes[node] = (pith_trie_node){.byte = byte, .token = PITH_TOKEN_NONE};
    *link = node;
    return node;
}

/* Room for the nodes is there. Of two tokens of one content the first stays. */
static void trie_add(pith_trie *trie, const char *content, size_t len, uint32_t token) {
    uint32_t node =
        step_in(trie, &trie->first[(unsigned char)content[0]], (unsigned char)content[0]);
    for (size_t i = 1; i < len; i++) {
        node = step_in(trie, &trie->nodes[node].child, (unsigned char)content[i]);
    }
    if (trie->nodes[node].token == PITH_TOKEN_NONE) {
        trie->nodes[node].token = token;
    }
    trie->any = true;
}

/* NFC never makes a UTF-8 text more than three times as long (UAX #15, section 12). */
enum { NFC_GROWTH_MAX = 3 };

static pith_status build_trie(pith_added *added, bool plain, bool normalized, bool nfc,
                              size_t bytes) {
    pith_trie *trie = &added->tries[plain ? PITH_ADDED_PLAIN : PITH_ADDED_PARITY][normalized];
    pith_nfc work = {0};
    pith_status status = PITH_OK;
    trie->nodes = calloc(bytes * NFC_GROWTH_MAX + 1, sizeof *trie->nodes);
    if (trie->nodes == NULL) {
        return PITH_NO_MEMORY;
    }
    trie->n_nodes = 1;
    for (uint32_t i = 0; i < added->n && status == PITH_OK; i++) {
        const pith_added_token *token = &added->tokens[i];
        bool same = true;
        if (token->normalized != normalized || (plain && !token->white)) {
            continue;
        }
        if (normalized && nfc) {
            status = pith_nfc_apply(&work, token->content, token->len, &same);
        }
        if (status == PITH_OK) {
            trie_add(trie, same ? token->content : work.text, same ? token->len : work.len, i);
        }
    }
    pith_nfc_free(&work);
    pith_trie_node *fit = realloc(trie->nodes, trie->n_nodes * sizeof *trie->nodes);
    trie->nodes = fit != NULL ? fit : trie->nodes;
    return status;
}

pith_status pith_added_build(pith_added *added, pith_added_token *tokens, uint32_t n, bool nfc,
                             pith_err *err) {
    size_t bytes = 0;
    *added = (pith_added){.tokens = tokens, .n = n};
    for (uint32_t i = 0; i < n; i++) {
        tokens[i].white = is_white(tokens[i].content, tokens[i].len);
        bytes += tokens[i].len;
    }
    if (n > 0) {
        qsort(tokens, n, sizeof *tokens, compare_tokens);
    }
    for (uint32_t i = 1; i < n; i++) {
        if (compare_tokens(&tokens[i - 1], &tokens[i]) == 0) {
            pith_status status =
                pith_fail(err, PITH_CORRUPT, "added tokens %u and %u have the same content",
                          tokens[i - 1].id, tokens[i].id);
            pith_added_free(added);
            return status;
        }
    }
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < 4 && status == PITH_OK; i++) {
        status = build_trie(added, (i & 1) != 0, (i & 2) != 0, nfc, bytes);
    }
    if (status != PITH_OK) {
        pith_added_free(added);
        return pith_fail(err, status, "no memory for %u added tokens", n);
    }
    return PITH_OK;
}

void pith_added_free(pith_added *added) {
    for (uint32_t i = 0; i < added->n; i++) {
        free(added->tokens[i].content);
    }
    free(added->tokens);
    for (unsigned i = 0; i < 4; i++) {
        free(added->tries[i & 1][i >> 1].nodes);
    }
    *added = (pith_added){0};
}

const pith_added_token *pith_added_find(const pith_added *added, const char *content, size_t len) {
    uint32_t low = 0;
    uint32_t high = added->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const pith_added_token *token = &added->tokens[mid];
        int order = compare_bytes(token->content, token->len, content, len);
        if (order == 0) {
            return token;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

/* The longest token at text[pos]; *end is where it ends. */
static uint32_t longest_at(const pith_trie *trie, const char *text, size_t len, size_t pos,
                           size_t *end) {
    uint32_t found = PITH_TOKEN_NONE;
    uint32_t node = trie->first[(unsigned char)text[pos]];
    while (node != 0) {
        pos++;
        if (trie->nodes[node].token != PITH_TOKEN_NONE) {
            found = trie->nodes[node].token;
            *end = pos;
        }
        node = trie->nodes[node].child;
        if (pos >= len) {
            break;
        }
        while (node != 0 && trie->nodes[node].byte != (unsigned char)text[pos]) {
            node = trie->nodes[node].sibling;
        }
    }
    return found;
}

/* Start of the character that ends at `pos` > 0. */
static size_t char_before(const char *text, size_t pos) {
    size_t at = pos - 1;
    while (at > 0 && pos - at < 4 && ((unsigned char)text[at] & 0xC0) == 0x80) {
        at--;
    }
    return at;
}

static bool stands_alone(const char *text, size_t len, size_t start, size_t end) {
    size_t n;
    if (start > 0) {
        size_t before = char_before(text, start);
        if ((pith_unicode_at(text + before, len - before, &n) & PITH_CHAR_WORD) != 0) {
            return false;
        }
    }
    return end >= len || (pith_unicode_at(text + end, len - end, &n) & PITH_CHAR_WORD) == 0;
}

static void strip(const char *text, size_t len, size_t done, pith_added_match *match) {
    size_t n;
    while (match->token->lstrip && match->start > done) {
        size_t before = char_before(text, match->start);
        if ((pith_unicode_at(text + before, len - before, &n) & PITH_CHAR_CLASS) !=
            PITH_CHAR_SPACE) {
            break;
        }
        match->start = before;
    }
    while (match->token->rstrip && match->end < len) {
        if ((pith_unicode_at(text + match->end, len - match->end, &n) & PITH_CHAR_CLASS) !=
            PITH_CHAR_SPACE) {
            break;
        }
        match->end += n;
    }
}

bool pith_added_next(const pith_added *added, const pith_trie *trie, const char *text, size_t len,
                     pith_added_cursor *cursor, pith_added_match *match) {
    size_t pos = trie->any ? cursor->scan : len;
    while (pos < len) {
        size_t end = 0;
        if (trie->first[(unsigned char)text[pos]] == 0) {
            pos++;
            continue;
        }
        uint32_t found = longest_at(trie, text, len, pos, &end);
        if (found == PITH_TOKEN_NONE) {
            pos++;
            continue;
        }
        *match = (pith_added_match){.token = &added->tokens[found], .start = pos, .end = end};
        pos = end;
        if (match->token->single_word && !stands_alone(text, len, match->start, match->end)) {
            continue;
        }
        strip(text, len, cursor->done, match);
        cursor->scan = end;
        cursor->done = match->end;
        return true;
    }
    cursor->scan = len;
    return false;
}
