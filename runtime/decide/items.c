/* Items of decision: units, or whole rows of tables. */
#include "runtime/decide/decision.h"

#include "runtime/base/slice.h"
#include "runtime/text/tabular.h"

#include <stdlib.h>
#include <string.h>

static pith_status mark_rows(const pith_decision *d, bool **rows, pith_err *err) {
    *rows = pith_arena_calloc(d->arena, d->doc->n_lines, sizeof **rows);
    if (*rows == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u lines", d->doc->n_lines);
    }
    if (d->request->profile == PITH_PROFILE_FAITHFUL) { /* kompress forces its rows instead */
        pith_tabular_mark(d->doc->text, d->doc->len, PITH_PROFILE_FAITHFUL, *rows);
    }
    return PITH_OK;
}

static void add_unit(pith_item *item, const pith_decision *d, uint32_t u) {
    float score = d->scores == NULL ? 1.0F : d->scores[u];
    item->score = item->unit_begin == u || score > item->score ? score : item->score;
    item->n_tok += d->doc->units[u].n_tok;
    item->forced = item->forced || d->forced[u];
    item->unit_end = u + 1;
}

pith_status pith_items_make(pith_decision *d, pith_err *err) {
    const pith_document *doc = d->doc;
    bool *rows;
    pith_status status = mark_rows(d, &rows, err);
    if (status != PITH_OK) {
        return status;
    }
    d->items = pith_arena_alloc(d->arena, doc->n_units, sizeof *d->items);
    if (d->items == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u units", doc->n_units);
    }
    d->n_items = 0;
    for (uint32_t u = 0; u < doc->n_units; u++) {
        if (d->folded != NULL && d->folded[u]) {
            d->folded_tokens += doc->units[u].n_tok;
            continue;
        }
        bool same = u > 0 && doc->units[u].line == doc->units[u - 1].line;
        if (!same || !rows[doc->units[u].line]) {
            d->items[d->n_items++] = (pith_item){.unit_begin = u};
        }
        add_unit(&d->items[d->n_items - 1], d, u);
        (void)pith_slice_spend(doc->units[u].end - doc->units[u].start);
    }
    return PITH_OK;
}

/* Bits that order like the float, largest first; both zeros are one. */
static uint32_t descending(float score) {
    float positive_zero = score + 0.0F;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    uint32_t ascending = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
    return ~ascending;
}

static int compare_keys(const void *a, const void *b) {
    uint64_t x;
    uint64_t y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Sorts keys[0, n). Many are first put into buckets by their top bits, in place, so that no single
 * sort is long and others get their turn between two. */
static void sort_keys(uint64_t *keys, uint32_t n) {
    enum { BITS = 12, BUCKETS = 1 << BITS, SHIFT = 64 - BITS, FEW = 8192 };
    if (n <= FEW) {
        qsort(keys, n, sizeof *keys, compare_keys);
        return;
    }
    uint32_t ends[BUCKETS] = {0};
    uint32_t next[BUCKETS];
    for (uint32_t i = 0; i < n; i++) {
        ends[keys[i] >> SHIFT]++;
    }
    for (uint32_t b = 0, sum = 0; b < BUCKETS; b++) {
        next[b] = sum;
        sum += ends[b];
        ends[b] = sum;
    }
    for (uint32_t b = 0; b < BUCKETS; b++) {
        while (next[b] < ends[b]) { /* every round puts one key where it belongs */
            uint64_t key = keys[next[b]];
            uint32_t to = next[key >> SHIFT]++;
            if (key >> SHIFT != b) {
                keys[next[b]] = keys[to];
                keys[to] = key;
            }
        }
    }
    for (uint32_t b = 0, begin = 0; b < BUCKETS; begin = ends[b++]) {
        qsort(keys + begin, ends[b] - begin, sizeof *keys, compare_keys);
        (void)pith_slice_spend((size_t)(ends[b] - begin) * sizeof *keys);
    }
}

uint32_t pith_items_rank(const pith_item *items, uint32_t n_items, uint64_t *keys,
                         uint32_t *order) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_items; i++) {
        if (!items[i].forced) {
            keys[n++] = (uint64_t)descending(items[i].score) << 32 | i;
        }
    }
    sort_keys(keys, n);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = (uint32_t)keys[i];
    }
    return n;
}
