/* The safety floor: units that are kept whatever their score. It only ever adds. */
#include "runtime/decide/decision.h"

#include "runtime/text/tabular.h"

#include <string.h>

void pith_floor_mark(const pith_document *doc, const pith_span_list *spans, bool *flags) {
    uint32_t u = 0;
    for (size_t i = 0; i < spans->len; i++) {
        pith_span span = spans->items[i];
        while (u < doc->n_units && doc->units[u].end <= span.start) {
            u++;
        }
        for (uint32_t v = u; v < doc->n_units && doc->units[v].start < span.end; v++) {
            flags[v] = true;
        }
    }
}

pith_status pith_floor_find(pith_decision *d, pith_err *err) {
    if (d->config == NULL || d->config->critical == NULL) {
        return PITH_OK;
    }
    uint32_t window = d->config->critical_window > 0 ? d->config->critical_window : 1;
    pith_status status =
        pith_critical_find(d->config->critical, PITH_CRITICAL_FULL, d->domain, window, d->doc->text,
                           d->doc->len, d->arena, &d->critical_spans, err);
    if (status == PITH_OK) {
        pith_floor_mark(d->doc, &d->critical_spans.spans, d->critical);
    }
    return status;
}

/* First unit that ends after byte `pos`, or n_units. */
static uint32_t unit_after(const pith_document *doc, uint32_t pos) {
    uint32_t low = 0;
    uint32_t high = doc->n_units;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (doc->units[mid].end > pos) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

/* Ranges may overlap in any number, so each only notes where it begins and ends. */
pith_status pith_floor_mark_keep(const pith_decision *d, bool *flags, pith_err *err) {
    const pith_document *doc = d->doc;
    if (d->request->n_keep == 0) {
        return PITH_OK;
    }
    int64_t *step = pith_arena_calloc(d->arena, (size_t)doc->n_units + 1, sizeof *step);
    if (step == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %zu keep ranges", d->request->n_keep);
    }
    for (size_t i = 0; i < d->request->n_keep; i++) {
        pith_range range = d->request->keep[i];
        if (range.start == range.end) {
            continue;
        }
        uint32_t first = unit_after(doc, range.start);
        uint32_t last = unit_after(doc, range.end - 1); /* may begin after the range */
        last += last < doc->n_units && doc->units[last].start < range.end;
        if (first < last) {
            step[first]++;
            step[last]--;
        }
    }
    int64_t open = 0;
    for (uint32_t u = 0; u < doc->n_units; u++) {
        open += step[u];
        flags[u] = flags[u] || open > 0;
    }
    return PITH_OK;
}

static void force_limited(pith_decision *d, const pith_span_list *limited, bool *marks) {
    memset(marks, 0, d->doc->n_units * sizeof *marks);
    pith_floor_mark(d->doc, limited, marks);
    for (uint32_t u = 0; u < d->doc->n_units; u++) {
        d->limit_hits += marks[u];
        d->forced[u] = d->forced[u] || marks[u];
    }
}

/* Units in no window are kept unseen: words that the reference keeps without inference, and what a
 * deadline left unscored. Lines that fold do so unseen too. */
static void force_unscored(pith_decision *d) {
    const pith_document *doc = d->doc;
    uint32_t u = 0;
    uint32_t last_word = UINT32_MAX;
    for (uint32_t w = 0; w <= doc->n_windows; w++) {
        uint32_t stop = w < doc->n_windows ? doc->windows[w].unit_begin : doc->n_units;
        for (; u < stop; u++) {
            if (d->folded != NULL && d->folded[u]) {
                continue;
            }
            d->forced[u] = true;
            d->unscored_tokens += doc->units[u].n_tok;
            d->unscored_words += doc->units[u].word != last_word;
            last_word = doc->units[u].word;
        }
        u = w < doc->n_windows ? doc->windows[w].unit_end : u;
    }
}

static pith_status force_kompress(pith_decision *d, bool *marks, pith_err *err) {
    const pith_document *doc = d->doc;
    force_unscored(d);
    bool *rows = pith_arena_alloc(d->arena, doc->n_lines, sizeof *rows);
    if (rows == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u lines", doc->n_lines);
    }
    pith_tabular_mark(doc->text, doc->len, PITH_PROFILE_KOMPRESS, rows);
    for (uint32_t u = 0; u < doc->n_units; u++) {
        d->forced[u] = d->forced[u] || rows[doc->units[u].line];
    }
    if (d->config == NULL || d->config->critical == NULL) {
        return PITH_OK;
    }
    pith_critical_scan scan;
    pith_status status = pith_critical_find(d->config->critical, PITH_CRITICAL_PUBLISHED, d->domain,
                                            1, doc->text, doc->len, d->arena, &scan, err);
    if (status == PITH_OK) {
        pith_floor_mark(doc, &scan.spans, d->forced);
        force_limited(d, &scan.limited, marks);
    }
    return status;
}

pith_status pith_floor_force(pith_decision *d, pith_err *err) {
    const pith_document *doc = d->doc;
    bool *marks = pith_arena_alloc(d->arena, doc->n_units, sizeof *marks);
    if (marks == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u units", doc->n_units);
    }
    pith_status status = PITH_OK;
    if (d->request->profile == PITH_PROFILE_KOMPRESS) {
        status = force_kompress(d, marks, err);
    } else {
        for (uint32_t u = 0; u < doc->n_units; u++) {
            d->forced[u] = d->forced[u] || d->critical[u];
        }
        force_limited(d, &d->critical_spans.limited, marks);
        force_unscored(d);
    }
    return status == PITH_OK ? pith_floor_mark_keep(d, d->forced, err) : status;
}
