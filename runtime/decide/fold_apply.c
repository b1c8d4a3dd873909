/* Folding as a part of the decision: folded lines are dropped before scores are looked at. */
#include "runtime/decide/decision.h"

static bool wants_fold(const pith_decision *d) {
    return d->request->fold_repeats && d->request->profile == PITH_PROFILE_FAITHFUL &&
           d->domain != PITH_DOMAIN_CODE && d->domain != PITH_DOMAIN_DIFF;
}

/* Units of keep ranges, of stretches where a pattern ran into its limit, and of critical spans that
 * reach over a line's end. */
static pith_status find_held(const pith_decision *d, bool *held, pith_err *err) {
    const pith_document *doc = d->doc;
    pith_floor_mark(doc, &d->critical_spans.limited, held);
    const pith_span_list *spans = &d->critical_spans.spans;
    uint32_t u = 0;
    for (size_t i = 0; i < spans->len; i++) {
        while (u + 1 < doc->n_units && doc->units[u].end <= spans->items[i].start) {
            u++;
        }
        uint32_t last = u;
        while (last + 1 < doc->n_units && doc->units[last + 1].start < spans->items[i].end) {
            last++;
        }
        for (uint32_t v = u; doc->units[u].line != doc->units[last].line && v <= last; v++) {
            held[v] = true;
        }
    }
    return pith_floor_mark_keep(d, held, err);
}

/* Spans of folded lines are no longer among those that the floor keeps and the reply counts. */
static void drop_spans(pith_decision *d) {
    const pith_document *doc = d->doc;
    pith_span_list *spans = &d->critical_spans.spans;
    size_t left = 0;
    uint32_t u = 0;
    for (size_t i = 0; i < spans->len; i++) {
        while (u + 1 < doc->n_units && doc->units[u].end <= spans->items[i].start) {
            u++;
        }
        if (d->folded[u]) {
            d->folded_critical++;
        } else {
            spans->items[left++] = spans->items[i];
        }
    }
    spans->len = left;
    for (u = 0; u < doc->n_units; u++) {
        d->critical[u] = d->critical[u] && !d->folded[u];
    }
}

pith_status pith_fold_apply(pith_decision *d, pith_err *err) {
    const pith_document *doc = d->doc;
    if (!wants_fold(d)) {
        return PITH_OK;
    }
    bool *held = pith_arena_calloc(d->arena, doc->n_units, sizeof *held);
    d->folded = pith_arena_calloc(d->arena, doc->n_units, sizeof *d->folded);
    if (held == NULL || d->folded == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory to fold %u units", doc->n_units);
    }
    pith_fold_opts opts = {.after = d->config == NULL ? 0 : d->config->fold_after,
                           .records = d->domain == PITH_DOMAIN_JSON};
    pith_status status = find_held(d, held, err);
    if (status == PITH_OK) {
        status = pith_fold_find(doc, &opts, held, d->arena, &d->fold, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    for (uint32_t i = 0; i < d->fold.n_lines; i++) {
        const pith_fold_line *line = &d->fold.lines[i];
        for (uint32_t u = line->unit_begin; u < (line + 1)->unit_begin; u++) {
            d->folded[u] = line->folded;
        }
    }
    drop_spans(d);
    return PITH_OK;
}

void pith_fold_force(pith_decision *d) {
    for (uint32_t i = 0; i < d->fold.n_lines; i++) {
        const pith_fold_line *line = &d->fold.lines[i];
        if (line->error_unit != PITH_FOLD_NONE) {
            d->forced[line->error_unit] = true;
        }
        if (!line->stands) {
            continue;
        }
        uint32_t best = line->unit_begin;
        bool seen = false;
        for (uint32_t u = line->unit_begin; u < (line + 1)->unit_begin; u++) {
            seen = seen || d->forced[u];
            best = d->scores[u] > d->scores[best] ? u : best;
        }
        d->forced[best] = d->forced[best] || !seen;
    }
}
