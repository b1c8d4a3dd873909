#include "runtime/text/bpe.h"

#include "runtime/base/size.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define PAIR_NONE UINT64_MAX
#define RANK_NONE UINT32_MAX

_Static_assert(PITH_VOCAB_MAX <= 1 << PITH_BPE_ID_BITS, "an id must fit its field");
_Static_assert(PITH_BPE_MERGES_MAX <= 1 << PITH_BPE_ID_BITS, "a rank must fit its field");

/* Fibonacci hashing: the golden ratio times 2^64. */
static inline uint64_t mix(uint64_t x) {
    x *= 0x9E3779B97F4A7C15U;
    return x ^ (x >> 29);
}

static inline uint64_t pair_key(uint32_t left, uint32_t right) {
    return ((uint64_t)left << PITH_BPE_ID_BITS) | right;
}

/* The smallest power of two that leaves a table of `n` entries at most half full. */
static uint32_t table_size(uint32_t n) {
    uint32_t size = 16;
    while (size < n * 2) {
        size *= 2;
    }
    return size;
}

static inline uint32_t pair_rank(const pith_bpe *bpe, uint32_t left, uint32_t right) {
    uint64_t key = pair_key(left, right);
    uint32_t slot = (uint32_t)(mix(key) >> 20) & bpe->pair_mask;
    for (;;) {
        uint64_t entry = bpe->pairs[slot];
        if (entry >> PITH_BPE_ID_BITS == key) {
            return (uint32_t)entry & ((1U << PITH_BPE_ID_BITS) - 1);
        }
        if (entry == PAIR_NONE) {
            return RANK_NONE;
        }
        slot = (slot + 1) & bpe->pair_mask;
    }
}

pith_status pith_bpe_reserve(pith_bpe *bpe, uint32_t n_merges, pith_err *err) {
    if (n_merges > PITH_BPE_MERGES_MAX) {
        return pith_fail(err, PITH_CORRUPT, "%u merges, expected at most %d", n_merges,
                         PITH_BPE_MERGES_MAX);
    }
    uint32_t size = table_size(n_merges);
    bpe->pairs = malloc((size_t)size * sizeof *bpe->pairs);
    bpe->merge_ids = malloc(((size_t)n_merges + 1) * sizeof *bpe->merge_ids);
    if (bpe->pairs == NULL || bpe->merge_ids == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for %u merges", n_merges);
    }
    memset(bpe->pairs, 0xFF, (size_t)size * sizeof *bpe->pairs);
    bpe->pair_mask = size - 1;
    bpe->n_merges = 0;
    bpe->cap_merges = n_merges;
    return PITH_OK;
}

bool pith_bpe_add_merge(pith_bpe *bpe, uint32_t left, uint32_t right, uint32_t made) {
    if (bpe->n_merges >= bpe->cap_merges || pair_rank(bpe, left, right) != RANK_NONE) {
        return false;
    }
    uint64_t key = pair_key(left, right);
    uint32_t slot = (uint32_t)(mix(key) >> 20) & bpe->pair_mask;
    while (bpe->pairs[slot] != PAIR_NONE) {
        slot = (slot + 1) & bpe->pair_mask;
    }
    bpe->pairs[slot] = (key << PITH_BPE_ID_BITS) | bpe->n_merges;
    bpe->merge_ids[bpe->n_merges++] = made;
    return true;
}

static uint64_t hash_bytes(const char *bytes, size_t len) {
    uint64_t hash = 0xCBF29CE484222325U; /* FNV-1a */
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001B3U;
    }
    return mix(hash) >> 20;
}

static uint32_t *find_slot(const pith_bpe *bpe, const char *bytes, size_t len) {
    uint32_t slot = (uint32_t)hash_bytes(bytes, len) & bpe->by_bytes_mask;
    for (;; slot = (slot + 1) & bpe->by_bytes_mask) {
        uint32_t id = bpe->by_bytes[slot];
        if (id == PITH_TOKEN_NONE || (pith_bpe_token_bytes(bpe, id) == len &&
                                      memcmp(bpe->bytes + bpe->offsets[id], bytes, len) == 0)) {
            return &bpe->by_bytes[slot];
        }
    }
}

pith_status pith_bpe_index(pith_bpe *bpe, pith_err *err) {
    uint32_t size = table_size(bpe->n_ids);
    bpe->by_bytes = malloc((size_t)size * sizeof *bpe->by_bytes);
    if (bpe->by_bytes == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for %u tokens", bpe->n_ids);
    }
    memset(bpe->by_bytes, 0xFF, (size_t)size * sizeof *bpe->by_bytes);
    memset(bpe->byte_ids, 0xFF, sizeof bpe->byte_ids);
    bpe->by_bytes_mask = size - 1;
    for (uint32_t id = 0; id < bpe->n_ids; id++) {
        const char *bytes = bpe->bytes + bpe->offsets[id];
        uint32_t len = pith_bpe_token_bytes(bpe, id);
        if (len == 0) {
            continue;
        }
        uint32_t *slot = find_slot(bpe, bytes, len);
        if (*slot != PITH_TOKEN_NONE) {
            return pith_fail(err, PITH_CORRUPT, "tokens %u and %u have the same bytes", *slot, id);
        }
        *slot = id;
        if (len == 1) {
            bpe->byte_ids[(unsigned char)bytes[0]] = id;
        }
    }
    return PITH_OK;
}

uint32_t pith_bpe_find(const pith_bpe *bpe, const char *bytes, size_t len) {
    return *find_slot(bpe, bytes, len);
}

void pith_bpe_free(pith_bpe *bpe) {
    free(bpe->bytes);
    free(bpe->offsets);
    free(bpe->pairs);
    free(bpe->merge_ids);
    free(bpe->by_bytes);
    *bpe = (pith_bpe){0};
}

size_t pith_bpe_encode_short(const pith_bpe *bpe, const char *text, size_t len, uint32_t *ids) {
    uint32_t ranks[PITH_BPE_SHORT_BYTES]; /* ranks[i]: of the pair ids[i], ids[i + 1] */
    size_t n = len;
    for (size_t i = 0; i < n; i++) {
        ids[i] = bpe->byte_ids[(unsigned char)text[i]];
    }
    for (size_t i = 0; i + 1 < n; i++) {
        ranks[i] = pair_rank(bpe, ids[i], ids[i + 1]);
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            best = ranks[i] < ranks[best] ? i : best;
        }
        if (ranks[best] == RANK_NONE) {
            break;
        }
        ids[best] = bpe->merge_ids[ranks[best]];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            ranks[i - 1] = ranks[i];
        }
        if (best + 1 < n) {
            ranks[best] = pair_rank(bpe, ids[best], ids[best + 1]);
        }
        if (best > 0) {
            ranks[best - 1] = pair_rank(bpe, ids[best - 1], ids[best]);
        }
    }
    return n;
}

/* Long pre-tokens are encoded window by window, so that time is linear and memory constant.
 *
 * Why that is exact: a sequence of tokens is the encoding of its text if, and only if, each pair of
 * neighbours is the encoding of the pair's text. (If: take the first merge, in the order of the
 * whole text, that joins bytes across a boundary of the sequence; up to then both tokens beside it
 * were merged as they are when alone, so alone the pair would be joined too. Only if: no merge
 * crosses a boundary, so the pair's own merges are those of the whole.) So when two encodings of
 * overlapping windows share one token at the same place, the first up to it and the second from it
 * on are together the encoding of both: each neighbouring pair stands in one of them. Where they
 * share none, everything is done again with a larger window. */
enum {
    WINDOW_BYTES = 4096, /* 4,096 symbols of 16 bytes and 8,192 heap entries of 8: 128 KiB, in L2 */
    WINDOW_OVERLAP = 8,  /* an eighth of a window is encoded twice; it should hold a token */
    WINDOW_GROWTH = 8
};

static bool grow_u32(uint32_t **items, size_t *cap, size_t need) {
    size_t bytes;
    if (need <= *cap) {
        return true;
    }
    size_t cap_new = *cap * 2 > need ? *cap * 2 : need;
    if (!pith_size_mul(cap_new, sizeof **items, &bytes)) {
        return false;
    }
    uint32_t *moved = realloc(*items, bytes);
    if (moved == NULL) {
        return false;
    }
    *items = moved;
    *cap = cap_new;
    return true;
}

static bool reserve_window(pith_bpe_work *work, size_t n) {
    for (size_t w = 0; w < 2; w++) {
        pith_bpe_window *window = &work->windows[w];
        size_t cap = window->cap;
        if (!grow_u32(&window->ids, &cap, n) || !grow_u32(&window->starts, &window->cap, n)) {
            return false;
        }
    }
    if (n <= work->cap_symbols) {
        return true;
    }
    free(work->symbols);
    free(work->heap);
    work->cap_symbols = 0;
    work->symbols = malloc(n * 4 * sizeof *work->symbols);
    work->heap = malloc(n * 2 * sizeof *work->heap);
    if (work->symbols == NULL || work->heap == NULL) {
        return false;
    }
    work->cap_symbols = n;
    return true;
}

/* Binary min-heap of rank << 32 | position. */
static void sift_down(uint64_t *heap, size_t n, size_t at) {
    uint64_t moving = heap[at];
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n) {
            child += heap[child + 1] < heap[child]; /* without a branch: it would be a coin toss */
        }
        if (heap[child] >= moving) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void sift_up(uint64_t *heap, size_t at) {
    uint64_t moving = heap[at];
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (heap[parent] <= moving) {
            break;
        }
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = moving;
}

#define LINK_NONE UINT32_MAX

typedef struct symbol_list {
    uint32_t *id;
    uint32_t *rank; /* of the pair that starts here; RANK_NONE once merged into the one before */
    uint32_t *prev;
    uint32_t *next;
    uint64_t *heap; /* each merge takes one entry and adds at most two: never over 2 n */
    size_t n_heap;
} symbol_list;

/* The pair that starts at `at` has changed. */
static void renew_pair(const pith_bpe *bpe, symbol_list *list, uint32_t at) {
    uint32_t next = list->next[at];
    uint32_t rank = next == LINK_NONE ? RANK_NONE : pair_rank(bpe, list->id[at], list->id[next]);
    list->rank[at] = rank;
    if (rank != RANK_NONE) {
        list->heap[list->n_heap] = ((uint64_t)rank << 32) | at;
        sift_up(list->heap, list->n_heap++);
    }
}

static void merge_at(const pith_bpe *bpe, symbol_list *list, uint32_t at) {
    uint32_t gone = list->next[at];
    list->id[at] = bpe->merge_ids[list->rank[at]];
    list->rank[gone] = RANK_NONE;
    list->next[at] = list->next[gone];
    if (list->next[at] != LINK_NONE) {
        list->prev[list->next[at]] = at;
    }
    renew_pair(bpe, list, at);
    if (list->prev[at] != LINK_NONE) {
        renew_pair(bpe, list, list->prev[at]);
    }
}

static void merge_all(const pith_bpe *bpe, symbol_list *list) {
    while (list->n_heap > 0) {
        uint64_t top = list->heap[0];
        list->heap[0] = list->heap[--list->n_heap];
        sift_down(list->heap, list->n_heap, 0);
        /* Entries of pairs that are no more are left in the heap and skipped here. */
        if (list->rank[(uint32_t)top] == (uint32_t)(top >> 32)) {
            merge_at(bpe, list, (uint32_t)top);
        }
    }
}

/* Encodes text[start, end) alone into `window`; reserve_window has made room. */
static void encode_window(const pith_bpe *bpe, const char *text, size_t start, size_t end,
                          pith_bpe_work *work, pith_bpe_window *window) {
    uint32_t n = (uint32_t)(end - start);
    symbol_list list = {.id = work->symbols,
                        .rank = work->symbols + work->cap_symbols,
                        .prev = work->symbols + work->cap_symbols * 2,
                        .next = work->symbols + work->cap_symbols * 3,
                        .heap = work->heap};
    for (uint32_t i = 0; i < n; i++) {
        list.id[i] = bpe->byte_ids[(unsigned char)text[start + i]];
        list.prev[i] = i == 0 ? LINK_NONE : i - 1;
        list.next[i] = i + 1 == n ? LINK_NONE : i + 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        list.rank[i] = i + 1 < n ? pair_rank(bpe, list.id[i], list.id[i + 1]) : RANK_NONE;
        if (list.rank[i] != RANK_NONE) {
            list.heap[list.n_heap++] = ((uint64_t)list.rank[i] << 32) | i;
        }
    }
    for (size_t i = list.n_heap / 2; i-- > 0;) {
        sift_down(list.heap, list.n_heap, i);
    }
    merge_all(bpe, &list);
    window->n = 0;
    for (uint32_t i = 0; i != LINK_NONE; i = list.next[i]) {
        window->ids[window->n] = list.id[i];
        window->starts[window->n++] = (uint32_t)start + i;
    }
}

static bool append_ids(pith_bpe_work *work, const pith_bpe_window *window, size_t from, size_t to) {
    size_t count = to - from;
    if (!grow_u32(&work->ids, &work->cap_ids, work->n_ids + count)) {
        return false;
    }
    if (count > 0) {
        memcpy(work->ids + work->n_ids, window->ids + from, count * sizeof *work->ids);
    }
    work->n_ids += count;
    return true;
}

/* Finds the first token that both windows hold at the same place, from a[*i] and b[0] on. */
static bool find_shared(const pith_bpe_window *a, size_t *i, const pith_bpe_window *b, size_t *j) {
    *j = 0;
    while (*i < a->n && *j < b->n) {
        if (a->starts[*i] == b->starts[*j]) {
            if (a->ids[*i] == b->ids[*j]) {
                return true;
            }
            (*i)++;
            (*j)++;
        } else if (a->starts[*i] < b->starts[*j]) {
            (*i)++;
        } else {
            (*j)++;
        }
    }
    return false;
}

/* One attempt with windows of `size` bytes; *seamless is false when two windows shared nothing. */
static bool encode_windows(const pith_bpe *bpe, const char *text, size_t len, size_t size,
                           pith_bpe_work *work, bool *seamless) {
    pith_bpe_window *a = &work->windows[0];
    pith_bpe_window *b = &work->windows[1];
    size_t end = size < len ? size : len;
    size_t from = 0; /* first token of `a` that is not out yet */
    work->n_ids = 0;
    *seamless = true;
    encode_window(bpe, text, 0, end, work, a);
    while (end < len) {
        size_t cut = from;
        while (cut < a->n && a->starts[cut] < end - size / WINDOW_OVERLAP) {
            cut++;
        }
        *seamless = cut < a->n;
        if (!*seamless) {
            return true;
        }
        size_t start = a->starts[cut];
        end = start + size < len ? start + size : len;
        encode_window(bpe, text, start, end, work, b);
        size_t shared = cut;
        size_t resume;
        *seamless = find_shared(a, &shared, b, &resume);
        if (!*seamless) {
            return true;
        }
        if (!append_ids(work, a, from, shared)) {
            return false;
        }
        pith_bpe_window *spare = a;
        a = b;
        b = spare;
        from = resume;
    }
    return append_ids(work, a, from, a->n);
}

pith_status pith_bpe_encode_long(const pith_bpe *bpe, const char *text, size_t len,
                                 pith_bpe_work *work) {
    size_t size = work->window_bytes != 0 ? work->window_bytes : WINDOW_BYTES;
    bool seamless = false;
    while (!seamless) {
        if (size > len) {
            size = len;
        }
        if (!reserve_window(work, size) || !encode_windows(bpe, text, len, size, work, &seamless)) {
            return PITH_NO_MEMORY;
        }
        size *= WINDOW_GROWTH;
    }
    return PITH_OK;
}

void pith_bpe_work_free(pith_bpe_work *work) {
    for (size_t w = 0; w < 2; w++) {
        free(work->windows[w].ids);
        free(work->windows[w].starts);
    }
    free(work->symbols);
    free(work->heap);
    free(work->ids);
    *work = (pith_bpe_work){0};
}
