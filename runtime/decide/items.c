/* Items of decision: units, or whole rows of tables. */
#include "runtime/decide/decision.h"

#include "runtime/base/slice.h"
#include "runtime/text/tabular.h"

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

enum { TURN_KEYS = PITH_SLICE_BYTES / sizeof(uint64_t) };

/* Others get their turn while many keys are sorted. */
static void take_turn(uint32_t i) {
    if (i % TURN_KEYS == TURN_KEYS - 1) {
        (void)pith_slice_spend(PITH_SLICE_BYTES);
    }
}

static void sort_few(uint64_t *keys, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        uint32_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--) {
            keys[at] = keys[at - 1];
        }
        keys[at] = key;
    }
}

/* Sorts keys[0, n), whose low halves ascend already, by their high halves: stable passes over eight
 * bits each. spare: [n]. */
static void sort_keys(uint64_t *keys, uint64_t *spare, uint32_t n) {
    enum { PASSES = 4, VALUES = 256, FEW = 32 };
    if (n <= FEW) {
        sort_few(keys, n);
        return;
    }
    uint32_t counts[PASSES][VALUES] = {{0}};
    for (uint32_t i = 0; i < n; i++) {
        for (unsigned pass = 0; pass < PASSES; pass++) {
            counts[pass][keys[i] >> (32 + 8 * pass) & (VALUES - 1)]++;
        }
        take_turn(i);
    }
    for (unsigned pass = 0; pass < PASSES; pass++) { /* an even number: the last ends in keys */
        uint32_t next[VALUES];
        for (uint32_t v = 0, sum = 0; v < VALUES; v++) {
            next[v] = sum;
            sum += counts[pass][v];
        }
        for (uint32_t i = 0; i < n; i++) {
            spare[next[keys[i] >> (32 + 8 * pass) & (VALUES - 1)]++] = keys[i];
            take_turn(i);
        }
        uint64_t *sorted = spare;
        spare = keys;
        keys = sorted;
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
    sort_keys(keys, keys + n_items, n);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = (uint32_t)keys[i];
    }
    return n;
}
