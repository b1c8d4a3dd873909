/* From a decision to a reply: text, counts, ranges, explanation. */
#include "runtime/decide/decision.h"

#include <math.h>
#include <string.h>

static void fill_common(const pith_decision *d, pith_compress_result *result) {
    *result = (pith_compress_result){
        .input_words = d->doc->n_words,
        .input_tokens = d->doc->n_tok,
        .critical_total = (uint32_t)d->critical_spans.spans.len,
        .unscored_words = d->unscored_words,
        .pattern_limit_hits = d->limit_hits,
        .folded_lines = d->fold.n_folded,
        .folded_critical = d->folded_critical,
        .budget_missed = d->budget_missed,
        .domain = d->domain,
    };
}

static uint32_t count_words(const pith_document *doc, const bool *kept) {
    uint32_t n = 0;
    uint32_t last = UINT32_MAX;
    for (uint32_t u = 0; u < doc->n_units; u++) {
        if (kept[u] && doc->units[u].word != last) {
            last = doc->units[u].word;
            n++;
        }
    }
    return n;
}

/* Last unit that starts at or before byte `pos`; n_units > 0. */
static uint32_t unit_at(const pith_document *doc, uint32_t from, uint32_t pos) {
    while (from + 1 < doc->n_units && doc->units[from + 1].start <= pos) {
        from++;
    }
    return from;
}

uint32_t pith_outcome_count_critical(const pith_document *doc, const pith_span_list *spans,
                                     const bool *kept, const pith_joined *joined) {
    uint32_t found = 0;
    uint32_t first = 0;
    for (size_t i = 0; i < spans->len; i++) {
        pith_span span = spans->items[i];
        size_t len = span.end - span.start;
        first = unit_at(doc, first, span.start);
        uint32_t last = unit_at(doc, first, span.end - 1);
        if (!kept[first] || !kept[last]) {
            continue;
        }
        size_t at = joined->unit_out[first] + (size_t)(span.start - doc->units[first].start);
        size_t end = joined->unit_out[last] + (size_t)(span.end - doc->units[last].start);
        bool whole = end == at + len && end <= joined->len;
        found += whole && memcmp(joined->text + at, doc->text + span.start, len) == 0;
    }
    return found;
}

pith_status pith_outcome_count_tokens(const pith_decision *d, const char *text, size_t len,
                                      uint32_t *n_tok, pith_err *err) {
    size_t n = 0;
    pith_status status =
        pith_tokenizer_count(d->tokenizer, PITH_ADDED_PLAIN, text, len, d->list, &n, err);
    *n_tok = status == PITH_OK ? (uint32_t)n : 0;
    return status;
}

/* Whether what stands between two kept neighbours in the output is what stood there. */
static bool gap_kept(const pith_decision *d, uint32_t u) {
    if (d->request->profile == PITH_PROFILE_FAITHFUL) {
        return true;
    }
    const pith_unit *a = &d->doc->units[u - 1];
    const pith_unit *b = &d->doc->units[u];
    char separator = a->line == b->line ? ' ' : '\n';
    return b->start - a->end == 1 && d->doc->text[a->end] == separator;
}

static size_t list_ranges(const pith_decision *d, pith_range *ranges) {
    const pith_document *doc = d->doc;
    bool edges = d->request->profile == PITH_PROFILE_FAITHFUL;
    size_t n = 0;
    for (uint32_t u = 0; u < doc->n_units; u++) {
        if (!d->kept[u]) {
            continue;
        }
        bool joins = u > 0 && d->kept[u - 1] && gap_kept(d, u);
        uint32_t start = edges && u == 0 ? 0 : doc->units[u].start;
        uint32_t end = edges && u + 1 == doc->n_units ? (uint32_t)doc->len : doc->units[u].end;
        n += !joins;
        if (ranges != NULL) {
            ranges[n - 1] = (pith_range){joins ? ranges[n - 1].start : start, end};
        }
    }
    return n;
}

static bool fill_ranges(const pith_decision *d, pith_compress_result *result) {
    size_t n = list_ranges(d, NULL);
    pith_range *ranges = pith_arena_alloc(d->arena, n, sizeof *ranges);
    if (ranges == NULL) {
        return false;
    }
    result->n_kept_ranges = list_ranges(d, ranges);
    result->kept_ranges = ranges;
    return true;
}

/* kept == NULL: every unit was kept. What was never scored, or not with a number, shows 1. */
static bool fill_explanation(const pith_decision *d, const bool *kept,
                             pith_compress_result *result) {
    const pith_document *doc = d->doc;
    uint32_t n = doc->n_units;
    if (!d->request->explain || n == 0 || doc->n_words > PITH_EXPLAIN_WORDS_MAX) {
        return true;
    }
    uint32_t *start = pith_arena_alloc(d->arena, n, sizeof *start);
    uint32_t *end = pith_arena_alloc(d->arena, n, sizeof *end);
    float *score = pith_arena_alloc(d->arena, n, sizeof *score);
    bool *kept_out = pith_arena_alloc(d->arena, n, sizeof *kept_out);
    bool *critical = pith_arena_alloc(d->arena, n, sizeof *critical);
    if (start == NULL || end == NULL || score == NULL || kept_out == NULL || critical == NULL) {
        return false;
    }
    for (uint32_t u = 0; u < n; u++) {
        start[u] = doc->units[u].start;
        end[u] = doc->units[u].end;
        score[u] = d->scores == NULL ? 1.0F : d->scores[u];
        score[u] = isfinite(score[u]) ? score[u] : 1.0F;
        kept_out[u] = kept == NULL || kept[u];
        critical[u] = d->critical != NULL && d->critical[u];
    }
    for (uint32_t w = 0, u = 0; u < n; w++) {
        uint32_t stop = w < doc->n_windows ? doc->windows[w].unit_begin : n;
        for (; u < stop; u++) {
            score[u] = 1.0F;
        }
        u = w < doc->n_windows ? doc->windows[w].unit_end : n;
    }
    result->explanation = (pith_explanation){start, end, score, kept_out, critical, n};
    return true;
}

static bool over_budget(const pith_decision *d) {
    const pith_compress_request *r = d->request;
    return (r->budget == PITH_BUDGET_TARGET_RATIO && r->budget_value < 1.0) ||
           (r->budget == PITH_BUDGET_MAX_TOKENS && (double)d->doc->n_tok > r->budget_value);
}

void pith_outcome_pass(pith_decision *d, pith_passthrough reason, pith_compress_result *result) {
    fill_common(d, result);
    result->text = d->request->text;
    result->text_len = d->request->text_len;
    result->kept_words = d->doc->n_words;
    result->kept_tokens = d->doc->n_tok;
    result->critical_kept = result->critical_total; /* the output is the input */
    result->passthrough = reason;
    bool unseen = reason == PITH_PASS_DEADLINE && d->unscored_words == 0;
    if (reason == PITH_PASS_TOO_SHORT || unseen) {
        result->unscored_words = d->doc->n_words;
    }
    result->budget_missed = d->doc->n_units > 0 && over_budget(d);
    (void)fill_explanation(d, NULL, result);
    pith_range *whole = pith_arena_alloc(d->arena, 1, sizeof *whole);
    if (whole != NULL && d->request->text_len > 0) {
        *whole = (pith_range){0, (uint32_t)d->request->text_len};
        result->kept_ranges = whole;
        result->n_kept_ranges = 1;
    }
}

static bool same_text(const pith_decision *d) {
    return d->joined.len == d->doc->len && memcmp(d->joined.text, d->doc->text, d->doc->len) == 0;
}

pith_status pith_outcome_fill(pith_decision *d, pith_compress_result *result, pith_err *err) {
    const pith_document *doc = d->doc;
    pith_join(doc, d->request->profile, d->kept, &d->joined);
    if (same_text(d)) {
        pith_outcome_pass(d, doc->cut_short ? PITH_PASS_DEADLINE : PITH_PASS_NOTHING_DROPPED,
                          result);
        return PITH_OK;
    }
    fill_common(d, result);
    result->text = d->joined.text;
    result->text_len = d->joined.len;
    result->kept_words = count_words(doc, d->kept);
    result->critical_kept =
        pith_outcome_count_critical(doc, &d->critical_spans.spans, d->kept, &d->joined);
    if (d->request->profile == PITH_PROFILE_FAITHFUL &&
        result->critical_kept != result->critical_total) {
        return pith_fail(err, PITH_INTERNAL, "%u of %u critical spans are in the output",
                         result->critical_kept, result->critical_total);
    }
    result->kept_tokens = d->kept_tokens;
    if (d->kept_tokens == 0) {
        pith_status status =
            pith_outcome_count_tokens(d, result->text, result->text_len, &result->kept_tokens, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    if (!fill_ranges(d, result) || !fill_explanation(d, d->kept, result)) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for a reply over %u units", doc->n_units);
    }
    return PITH_OK;
}
