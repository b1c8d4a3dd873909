/* The decision rule of headroom-ai 0.42.0's CPU path, chunk by chunk. */
#include "runtime/decide/decision.h"

static const double KOMPRESS_THRESHOLD = 0.5; /* hard-coded in the reference's ONNX path */

static void keep_above(pith_decision *d, const pith_window *w, double threshold) {
    for (uint32_t u = w->unit_begin; u < w->unit_end; u++) {
        d->kept[u] = (double)d->scores[u] > threshold;
    }
}

/* The best max(1, int(n * ratio)) words of the chunk, ties to the earlier. The reference ranks
 * every word, must-keep or not, and adds those afterwards. */
static void keep_best(pith_decision *d, const pith_window *w, pith_item *items, uint64_t *keys,
                      uint32_t *order) {
    uint32_t n = w->unit_end - w->unit_begin;
    for (uint32_t i = 0; i < n; i++) {
        items[i] = (pith_item){.score = d->scores[w->unit_begin + i]};
    }
    (void)pith_items_rank(items, n, keys, order);
    double share = (double)n * d->request->budget_value;
    uint32_t take = share < 1.0 ? 1 : share < (double)n ? (uint32_t)share : n;
    for (uint32_t i = 0; i < take; i++) {
        d->kept[w->unit_begin + order[i]] = true;
    }
}

static void add_forced(pith_decision *d) {
    for (uint32_t u = 0; u < d->doc->n_units; u++) {
        if (d->forced[u] && !d->kept[u]) {
            d->kept[u] = true;
            d->budget_missed = d->request->budget == PITH_BUDGET_TARGET_RATIO;
        }
    }
}

pith_status pith_kompress_decide(pith_decision *d, pith_err *err) {
    if (d->request->budget == PITH_BUDGET_MAX_TOKENS) {
        pith_status status = pith_items_make(d, err);
        return status == PITH_OK ? pith_budget_apply(d, err) : status;
    }
    pith_item items[PITH_KOMPRESS_CHUNK_WORDS];
    uint64_t keys[2 * PITH_KOMPRESS_CHUNK_WORDS];
    uint32_t order[PITH_KOMPRESS_CHUNK_WORDS];
    bool by_ratio = d->request->budget == PITH_BUDGET_TARGET_RATIO;
    double threshold =
        d->request->budget == PITH_BUDGET_THRESHOLD ? d->request->budget_value : KOMPRESS_THRESHOLD;
    for (uint32_t i = 0; i < d->doc->n_windows; i++) {
        const pith_window *w = &d->doc->windows[i];
        if (by_ratio) {
            keep_best(d, w, items, keys, order);
        } else {
            keep_above(d, w, threshold);
        }
    }
    add_forced(d);
    return PITH_OK;
}
