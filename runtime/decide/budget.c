/* Budgets: which items are kept beside the forced ones. A text is never compressed to nothing by a
 * ratio or a number of tokens: where nothing is forced the best item stays, even over budget. */
#include "runtime/decide/decision.h"

#include "runtime/decide/prefix.h"

static void keep_item(pith_decision *d, const pith_item *item) {
    for (uint32_t u = item->unit_begin; u < item->unit_end; u++) {
        d->kept[u] = true;
    }
}

/* Forced items and those above the threshold. */
static void keep_above(pith_decision *d, double threshold) {
    for (uint32_t i = 0; i < d->n_items; i++) {
        if (d->items[i].forced || (double)d->items[i].score > threshold) {
            keep_item(d, &d->items[i]);
        }
    }
}

typedef struct ranking {
    uint32_t *order; /* [n] items that are not forced, best first */
    uint64_t *cost;  /* [n + 1] tokens of the first k of them */
    uint32_t n;
    uint64_t forced_tokens;
    bool any_forced;
} ranking;

static pith_status rank(const pith_decision *d, ranking *r, pith_err *err) {
    *r = (ranking){0};
    uint64_t *keys = pith_arena_alloc(d->arena, (size_t)d->n_items * 2, sizeof *keys);
    r->order = pith_arena_alloc(d->arena, d->n_items, sizeof *r->order);
    r->cost = pith_arena_alloc(d->arena, (size_t)d->n_items + 1, sizeof *r->cost);
    if (keys == NULL || r->order == NULL || r->cost == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory to rank %u items", d->n_items);
    }
    r->n = pith_items_rank(d->items, d->n_items, keys, r->order);
    r->cost[0] = 0;
    for (uint32_t k = 0; k < r->n; k++) {
        r->cost[k + 1] = r->cost[k] + d->items[r->order[k]].n_tok;
    }
    for (uint32_t i = 0; i < d->n_items; i++) {
        r->forced_tokens += d->items[i].forced ? d->items[i].n_tok : 0;
        r->any_forced = r->any_forced || d->items[i].forced;
    }
    return PITH_OK;
}

/* Forced items and the k best of the others. */
static void keep_prefix(pith_decision *d, const ranking *r, uint32_t k) {
    for (uint32_t i = 0; i < d->n_items; i++) {
        if (d->items[i].forced) {
            keep_item(d, &d->items[i]);
        }
    }
    for (uint32_t i = 0; i < k; i++) {
        keep_item(d, &d->items[r->order[i]]);
    }
}

/* What a deadline left unscored is kept whole; the budget is for the rest. */
static uint64_t kept_unscored(const pith_decision *d) {
    return d->doc->cut_short ? d->unscored_tokens : 0;
}

/* Adds items in rank order until the next one would exceed the share of the units' tokens, those
 * of folded lines among them. */
static void apply_ratio(pith_decision *d, const ranking *r) {
    uint64_t total = r->forced_tokens + r->cost[r->n] + d->folded_tokens;
    uint64_t whole = kept_unscored(d);
    double limit = d->request->budget_value * (double)(total - whole) + (double)whole;
    uint32_t k = 0;
    while (k < r->n && (double)(r->forced_tokens + r->cost[k + 1]) <= limit) {
        k++;
    }
    d->budget_missed = (double)(r->forced_tokens + r->cost[k]) > limit;
    if (k == 0 && !r->any_forced && r->n > 0) {
        k = 1;
        d->budget_missed = true;
    }
    d->budget_missed = d->budget_missed || (whole > 0 && d->request->budget_value < 1.0);
    keep_prefix(d, r, k);
}

static pith_status measure(pith_decision *d, const ranking *r, uint32_t k, uint32_t *count,
                           pith_err *err) {
    for (uint32_t u = 0; u < d->doc->n_units; u++) {
        d->kept[u] = false;
    }
    keep_prefix(d, r, k);
    pith_join(d->doc, d->request->profile, d->kept, &d->joined);
    return pith_outcome_count_tokens(d, d->joined.text, d->joined.len, count, err);
}

static pith_status search(pith_decision *d, const ranking *r, uint32_t limit, uint32_t low_count,
                          uint32_t high_count, uint32_t *k, pith_err *err) {
    pith_prefix p;
    pith_prefix_init(&p, r->cost, r->n, limit, low_count, high_count);
    uint32_t probe;
    while (pith_prefix_next(&p, &probe)) {
        uint32_t count;
        pith_status status = measure(d, r, probe, &count, err);
        if (status != PITH_OK) {
            return status;
        }
        pith_prefix_report(&p, probe, count);
    }
    *k = p.low;
    return PITH_OK;
}

/* Tokens that the output may have: the request's for the share that was scored, and all of the
 * rest. White space has tokens too, so shares are taken of the units' tokens. */
static uint32_t limit_of(const pith_decision *d, const ranking *r) {
    double asked = d->request->budget_value;
    double units = (double)(r->forced_tokens + r->cost[r->n] + d->folded_tokens);
    double share = units > 0.0 ? (double)kept_unscored(d) / units : 0.0;
    double most = (double)d->doc->n_tok;
    return (uint32_t)(asked < most ? asked + (most - asked) * share : asked);
}

static pith_status apply_max_tokens(pith_decision *d, const ranking *r, pith_err *err) {
    uint32_t limit = limit_of(d, r);
    uint32_t k = 0;
    uint32_t low_count;
    uint32_t high_count;
    pith_status status = measure(d, r, 0, &low_count, err);
    if (status == PITH_OK) {
        status = measure(d, r, r->n, &high_count, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    d->budget_missed = low_count > limit;
    if (high_count <= limit) {
        k = r->n;
        d->budget_missed = false;
    } else if (low_count <= limit) {
        status = search(d, r, limit, low_count, high_count, &k, err);
    }
    if (k == 0 && !r->any_forced && r->n > 0) {
        k = 1;
        d->budget_missed = true;
    }
    status = status == PITH_OK ? measure(d, r, k, &d->kept_tokens, err) : status;
    if (kept_unscored(d) > 0) {
        d->budget_missed = (double)d->kept_tokens > d->request->budget_value;
    }
    return status;
}

static double threshold_of(const pith_decision *d) {
    return d->request->budget == PITH_BUDGET_THRESHOLD ? d->request->budget_value
                                                       : d->config->thresholds[d->domain];
}

pith_status pith_budget_apply(pith_decision *d, pith_err *err) {
    pith_budget budget = d->request->budget;
    if (budget != PITH_BUDGET_TARGET_RATIO && budget != PITH_BUDGET_MAX_TOKENS) {
        keep_above(d, threshold_of(d));
        return PITH_OK;
    }
    ranking r;
    pith_status status = rank(d, &r, err);
    if (status != PITH_OK) {
        return status;
    }
    if (budget == PITH_BUDGET_MAX_TOKENS) {
        return apply_max_tokens(d, &r, err);
    }
    apply_ratio(d, &r);
    return PITH_OK;
}
