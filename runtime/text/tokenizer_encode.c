/* Encoding: added tokens, NFC, pre-tokens, a cache of pre-tokens, BPE. */
#include "runtime/base/slice.h"
#include "runtime/base/utf8.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_impl.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* A pre-token and its ids: one cache line. Longer ones are merged anew each time. */
enum { SLOT_WORDS = 3, SLOT_BYTES = SLOT_WORDS * 8, SLOT_IDS = 8 };

typedef struct cache_slot {
    uint64_t key[SLOT_WORDS]; /* the pre-token's bytes, zero behind its end */
    uint32_t serial;          /* of the tokenizer; 0: the slot is empty */
    uint16_t len;             /* bytes of the pre-token */
    uint16_t n;               /* ids */
    uint32_t ids[SLOT_IDS];   /* bytes of the token << PITH_BPE_ID_BITS | id */
} cache_slot;

_Static_assert(sizeof(cache_slot) == 64, "a slot is a cache line");
_Static_assert(SLOT_BYTES < 1 << (32 - PITH_BPE_ID_BITS), "an id and its bytes must fit 32 bits");

enum {
    CACHE_WAYS = 2,
    /* 2 MiB. On bench/tokenizer's English (8,206 distinct pre-tokens) a tenth faster than half of
     * it, and no slower than twice as much. */
    CACHE_SETS = 1 << 14,
    KEPT_TOKENS = 1024 /* 12 KiB: of the texts that come by the hundred a second */
};

struct pith_tokenizer_scratch {
    cache_slot *slots; /* [CACHE_SETS * CACHE_WAYS] newest of a set first */
    pith_nfc nfc;
    pith_bpe_work work;
};

/* One call of encode. */
typedef struct encoder {
    const pith_tokenizer *tokenizer;
    pith_token_list *list;
    struct pith_tokenizer_scratch *scratch;
    pith_added_tokens added;
    size_t *count; /* NULL: tokens go to the list; else they are only counted */
} encoder;

static bool open_scratch(pith_token_list *list) {
    if (list->scratch != NULL) {
        return true;
    }
    struct pith_tokenizer_scratch *scratch = calloc(1, sizeof *scratch);
    cache_slot *slots = aligned_alloc(64, CACHE_SETS * CACHE_WAYS * sizeof *slots);
    if (scratch == NULL || slots == NULL) {
        free(scratch);
        free(slots);
        return false;
    }
    memset(slots, 0, CACHE_SETS * CACHE_WAYS * sizeof *slots);
    scratch->slots = slots;
    list->scratch = scratch;
    return true;
}

void pith_token_list_reset(pith_token_list *list) {
    list->len = 0;
}

pith_status pith_token_list_open(pith_token_list *list, pith_err *err) {
    *list =
        (pith_token_list){.items = malloc(KEPT_TOKENS * sizeof(pith_token)), .cap = KEPT_TOKENS};
    if (list->items == NULL || !open_scratch(list)) {
        pith_token_list_free(list);
        return pith_fail(err, PITH_NO_MEMORY, "no memory for a token list");
    }
    return PITH_OK;
}

void pith_token_list_trim(pith_token_list *list) {
    if (list->scratch != NULL) {
        pith_nfc_free(&list->scratch->nfc);
        pith_bpe_work_free(&list->scratch->work);
    }
    list->len = 0;
    if (list->cap > KEPT_TOKENS) {
        pith_token *kept = realloc(list->items, KEPT_TOKENS * sizeof *kept);
        if (kept != NULL) {
            list->items = kept;
            list->cap = KEPT_TOKENS;
        }
    }
}

void pith_token_list_free(pith_token_list *list) {
    if (list->scratch != NULL) {
        free(list->scratch->slots);
        pith_nfc_free(&list->scratch->nfc);
        pith_bpe_work_free(&list->scratch->work);
        free(list->scratch);
    }
    free(list->items);
    *list = (pith_token_list){0};
}

static bool reserve(pith_token_list *list, size_t more) {
    if (list->cap - list->len >= more) {
        return true;
    }
    if (more > SIZE_MAX / sizeof *list->items / 4 - list->len) {
        return false;
    }
    size_t need = list->len + more;
    size_t cap = list->cap * 2 > need ? list->cap * 2 : need + 256;
    pith_token *items = realloc(list->items, cap * sizeof *items);
    if (items == NULL) {
        return false;
    }
    list->items = items;
    list->cap = cap;
    return true;
}

/* Appends tokens that follow each other from byte `start` on. */
static inline bool push_ids(const encoder *e, const uint32_t *ids, size_t n, size_t start) {
    if (e->count != NULL) {
        *e->count += n;
        return true;
    }
    if (!reserve(e->list, n)) {
        return false;
    }
    const pith_bpe *bpe = &e->tokenizer->bpe;
    pith_token *out = e->list->items + e->list->len;
    for (size_t i = 0; i < n; i++) {
        size_t end = start + pith_bpe_token_bytes(bpe, ids[i]);
        out[i] = (pith_token){.id = ids[i], .start = (uint32_t)start, .end = (uint32_t)end};
        start = end;
    }
    e->list->len += n;
    return true;
}

static bool push_token(const encoder *e, uint32_t id, size_t start, size_t end) {
    if (e->count != NULL) {
        *e->count += 1;
        return true;
    }
    if (!reserve(e->list, 1)) {
        return false;
    }
    e->list->items[e->list->len++] =
        (pith_token){.id = id, .start = (uint32_t)start, .end = (uint32_t)end};
    return true;
}

static bool push_added(const encoder *e, const pith_added_token *token, size_t start, size_t end) {
    uint32_t id = e->added == PITH_ADDED_PARITY ? token->parity_id : token->id;
    return push_token(e, id, start, end);
}

/* The pre-token at `text`, of `len` <= SLOT_BYTES bytes; `left` >= len bytes can be read. */
static inline void load_key(const char *text, size_t len, size_t left, uint64_t *key) {
    static const unsigned char mask[SLOT_BYTES * 2] = {
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    if (left < SLOT_BYTES) {
        memset(key, 0, SLOT_BYTES);
        memcpy(key, text, len);
        return;
    }
    uint64_t keep[SLOT_WORDS];
    memcpy(keep, mask + SLOT_BYTES - len, sizeof keep);
    memcpy(key, text, SLOT_BYTES);
    for (size_t i = 0; i < SLOT_WORDS; i++) {
        key[i] &= keep[i];
    }
}

static inline cache_slot *cache_set(const encoder *e, const uint64_t *key, size_t len) {
    uint64_t hash = (key[0] ^ len) * 0x9E3779B97F4A7C15U;
    hash = (hash ^ (hash >> 32) ^ key[1]) * 0xC2B2AE3D27D4EB4FU;
    hash = (hash ^ (hash >> 32) ^ key[2]) * 0x9E3779B97F4A7C15U;
    return e->scratch->slots + (hash >> 40) % CACHE_SETS * CACHE_WAYS;
}

static inline bool slot_holds(const cache_slot *slot, const encoder *e, const uint64_t *key,
                              size_t len) {
    return slot->key[0] == key[0] && slot->key[1] == key[1] && slot->key[2] == key[2] &&
           slot->len == len && slot->serial == e->tokenizer->serial;
}

/* Merges a pre-token of at most PITH_BPE_SHORT_BYTES. */
static size_t merge_short(const encoder *e, const char *text, size_t len, uint32_t *ids) {
    const pith_bpe *bpe = &e->tokenizer->bpe;
    if (bpe->ignore_merges) {
        ids[0] = pith_bpe_find(bpe, text, len);
        if (ids[0] != PITH_TOKEN_NONE) {
            return 1;
        }
    }
    return pith_bpe_encode_short(bpe, text, len, ids);
}

/* A pre-token on its way through the cache. */
typedef struct lookup {
    uint64_t key[SLOT_WORDS];
    cache_slot *set;
    size_t at; /* byte offset into the text */
    size_t len;
} lookup;

/* Several are looked up together, so that the cache's lines come while others are read. */
enum { LOOKUPS = 16 };

/* Merges what the cache does not have. */
static cache_slot *fill_slot(const encoder *e, const lookup *l, const char *text, uint32_t *ids,
                             size_t *n) {
    const pith_bpe *bpe = &e->tokenizer->bpe;
    *n = merge_short(e, text + l->at, l->len, ids);
    if (*n > SLOT_IDS) {
        return NULL;
    }
    cache_slot *slot = l->set;
    slot[1] = slot[0];
    memcpy(slot->key, l->key, sizeof l->key);
    slot->serial = e->tokenizer->serial;
    slot->len = (uint16_t)l->len;
    slot->n = (uint16_t)*n;
    for (size_t i = 0; i < *n; i++) {
        slot->ids[i] = pith_bpe_token_bytes(bpe, ids[i]) << PITH_BPE_ID_BITS | ids[i];
    }
    return slot;
}

/* Appends the tokens of a pre-token from its slot; there is room. */
static inline void push_slot(pith_token_list *list, const cache_slot *slot, size_t start) {
    pith_token *out = list->items + list->len;
    uint32_t at = (uint32_t)start;
    for (size_t i = 0; i < slot->n; i++) {
        uint32_t end = at + (slot->ids[i] >> PITH_BPE_ID_BITS);
        out[i] = (pith_token){
            .id = slot->ids[i] & ((1U << PITH_BPE_ID_BITS) - 1), .start = at, .end = end};
        at = end;
    }
    list->len += slot->n;
}

static bool push_lookups(const encoder *e, const lookup *lookups, size_t n, const char *text,
                         size_t base) {
    if (e->count == NULL && !reserve(e->list, LOOKUPS * SLOT_BYTES)) { /* a token has a byte */
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const lookup *l = &lookups[i];
        uint32_t ids[PITH_BPE_SHORT_BYTES];
        size_t n_ids = 0;
        const cache_slot *slot = NULL;
        for (size_t way = 0; way < CACHE_WAYS && slot == NULL; way++) {
            slot = slot_holds(&l->set[way], e, l->key, l->len) ? &l->set[way] : NULL;
        }
        if (slot == NULL) {
            slot = fill_slot(e, l, text, ids, &n_ids);
        }
        if (slot != NULL && e->count != NULL) {
            *e->count += slot->n;
        } else if (slot != NULL) {
            push_slot(e->list, slot, base + l->at);
        } else if (!push_ids(e, ids, n_ids, base + l->at)) {
            return false;
        }
    }
    return true;
}

static bool push_long(const encoder *e, const char *text, size_t len, size_t start) {
    const pith_bpe *bpe = &e->tokenizer->bpe;
    uint32_t whole = bpe->ignore_merges ? pith_bpe_find(bpe, text, len) : PITH_TOKEN_NONE;
    if (whole != PITH_TOKEN_NONE) {
        return push_token(e, whole, start, start + len);
    }
    pith_bpe_work *work = &e->scratch->work;
    return pith_bpe_encode_long(bpe, text, len, work) == PITH_OK &&
           push_ids(e, work->ids, work->n_ids, start);
}

/* A pre-token too long for the cache. */
static bool push_uncached(const encoder *e, const char *text, size_t len, size_t start) {
    if (len > PITH_BPE_SHORT_BYTES) {
        return push_long(e, text, len, start);
    }
    uint32_t ids[PITH_BPE_SHORT_BYTES];
    size_t n = merge_short(e, text, len, ids);
    return push_ids(e, ids, n, start);
}

/* Text between added tokens: text[begin, end) of a text of `len`; `base` is added to the spans. */
static bool encode_gap(const encoder *e, const char *text, size_t len, size_t begin, size_t end,
                       size_t base) {
    pith_pretok_kind kind = e->tokenizer->pretok;
    lookup lookups[LOOKUPS];
    size_t pos = begin;
    while (pos < end) {
        size_t first = pos;
        size_t n = 0;
        size_t long_bytes = 0;
        while (pos < end && n < LOOKUPS && long_bytes == 0) {
            size_t next = begin + pith_pretok_next(kind, text + begin, end - begin, pos - begin);
            if (next - pos <= SLOT_BYTES) {
                lookup *l = &lookups[n++];
                l->at = pos;
                l->len = next - pos;
                load_key(text + pos, l->len, len - pos, l->key);
                l->set = cache_set(e, l->key, l->len);
                __builtin_prefetch(l->set);
            } else {
                long_bytes = next - pos;
            }
            pos = next;
        }
        bool ok = push_lookups(e, lookups, n, text, base);
        if (ok && long_bytes > 0) {
            size_t at = pos - long_bytes;
            ok = push_uncached(e, text + at, long_bytes, base + at);
        }
        if (!ok || pith_slice_spend(pos - first) != PITH_OK) {
            return false;
        }
    }
    return true;
}

/* A normalised text: the added tokens that are looked for after NFC, and what is between. */
static bool encode_normalised(const encoder *e, const char *text, size_t len, size_t base) {
    const pith_trie *trie = &e->tokenizer->added.tries[e->added][true];
    pith_added_cursor cursor = {0};
    pith_added_match match;
    size_t done = 0;
    while (pith_added_next(&e->tokenizer->added, trie, text, len, &cursor, &match)) {
        if ((done < match.start && !encode_gap(e, text, len, done, match.start, base)) ||
            !push_added(e, match.token, base + match.start, base + match.end)) {
            return false;
        }
        done = match.end;
    }
    return encode_gap(e, text, len, done, len, base);
}

/* Turns spans of tokens[0, n) in the normalised text into spans of the original, which starts at
 * byte `base` of the whole text. */
static void map_spans(const pith_nfc *nfc, pith_token *tokens, size_t n, size_t base) {
    size_t begin = 0; /* first edit that ends after the token's start */
    for (size_t i = 0; i < n; i++) {
        pith_token *token = &tokens[i];
        while (begin > 0 && nfc->edits[begin - 1].norm_end > token->start) {
            begin--; /* it overlaps the token before, see pith_added_next */
        }
        while (begin < nfc->n_edits && nfc->edits[begin].norm_end <= token->start) {
            begin++;
        }
        const pith_nfc_edit *before = begin > 0 ? &nfc->edits[begin - 1] : NULL;
        size_t start = token->start - (before == NULL ? 0 : before->norm_end) +
                       (before == NULL ? 0 : before->src_end);
        size_t end = start + (token->end - token->start);
        if (begin < nfc->n_edits && nfc->edits[begin].norm_start <= token->start) {
            start = nfc->edits[begin].src_start;
        }
        /* The last edit that the token reaches decides where it ends. */
        size_t reach = begin;
        while (reach < nfc->n_edits && nfc->edits[reach].norm_start < token->end) {
            reach++;
        }
        if (reach > begin) {
            const pith_nfc_edit *last = &nfc->edits[reach - 1];
            end = token->end <= last->norm_end ? last->src_end
                                               : last->src_end + (token->end - last->norm_end);
        }
        token->start = (uint32_t)(base + start);
        token->end = (uint32_t)(base + end);
    }
}

/* A stretch of the original text without added tokens that are looked for before NFC. */
static bool encode_piece(const encoder *e, const char *text, size_t start, size_t end) {
    bool same = true;
    pith_nfc *nfc = &e->scratch->nfc;
    if (e->tokenizer->nfc && pith_nfc_apply(nfc, text + start, end - start, &same) != PITH_OK) {
        return false;
    }
    if (same) {
        return encode_normalised(e, text + start, end - start, start);
    }
    size_t first = e->list->len;
    if (!encode_normalised(e, nfc->text, nfc->len, 0)) {
        return false;
    }
    if (e->count == NULL) {
        map_spans(nfc, e->list->items + first, e->list->len - first, start);
    }
    return true;
}

static bool encode_text(const encoder *e, const char *text, size_t len) {
    const pith_trie *trie = &e->tokenizer->added.tries[e->added][false];
    pith_added_cursor cursor = {0};
    pith_added_match match;
    size_t done = 0;
    while (pith_added_next(&e->tokenizer->added, trie, text, len, &cursor, &match)) {
        if ((done < match.start && !encode_piece(e, text, done, match.start)) ||
            !push_added(e, match.token, match.start, match.end)) {
            return false;
        }
        done = match.end;
    }
    return done >= len || encode_piece(e, text, done, len);
}

static pith_status encode(const pith_tokenizer *tokenizer, pith_added_tokens added,
                          const char *text, size_t len, pith_token_list *list, size_t *count,
                          pith_err *err) {
    if (len > INT32_MAX) {
        return pith_fail(err, PITH_INVALID, "text of %zu bytes, expected less than 2^31", len);
    }
    size_t valid = pith_utf8_valid(text, len);
    if (valid != len) {
        return pith_fail(err, PITH_INVALID, "invalid UTF-8 at byte %zu", valid);
    }
    size_t before = list->len;
    encoder e = {.tokenizer = tokenizer, .list = list, .added = added, .count = count};
    bool ok = open_scratch(list);
    if (ok) {
        e.scratch = list->scratch;
        ok = encode_text(&e, text, len);
    }
    if (!ok) {
        list->len = before;
        pith_status stopped = pith_slice_spend(0);
        if (stopped != PITH_OK) {
            return pith_fail(err, stopped, "stopped");
        }
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the tokens of %zu bytes", len);
    }
    return PITH_OK;
}

pith_status pith_tokenizer_encode(const pith_tokenizer *tokenizer, pith_added_tokens added,
                                  const char *text, size_t len, pith_token_list *list,
                                  pith_err *err) {
    return encode(tokenizer, added, text, len, list, NULL, err);
}

pith_status pith_tokenizer_count(const pith_tokenizer *tokenizer, pith_added_tokens added,
                                 const char *text, size_t len, pith_token_list *list, size_t *n_tok,
                                 pith_err *err) {
    *n_tok = 0;
    return encode(tokenizer, added, text, len, list, n_tok, err);
}
