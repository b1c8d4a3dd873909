#include "runtime/decide/compress.h"

#include "runtime/decide/decision.h"

#include <math.h>

pith_status pith_request_check(const pith_compress_request *request, const pith_document *doc,
                               pith_err *err) {
    for (size_t i = 0; i < request->n_keep; i++) {
        pith_range r = request->keep[i];
        if (r.start > r.end || r.end > doc->len) {
            return pith_fail(err, PITH_INVALID,
                             "keep[%zu]: [%u, %u) is not a range of a text of %zu bytes", i,
                             r.start, r.end, doc->len);
        }
        uint32_t edges[] = {r.start, r.end};
        for (size_t e = 0; e < 2; e++) {
            if (edges[e] < doc->len && ((unsigned char)doc->text[edges[e]] & 0xC0) == 0x80) {
                return pith_fail(err, PITH_INVALID,
                                 "keep[%zu]: byte offset %u is inside a character", i, edges[e]);
            }
        }
    }
    if (request->explain && doc->n_words > PITH_EXPLAIN_WORDS_MAX) {
        return pith_fail(err, PITH_INVALID, "explain: %u words, the limit is %d", doc->n_words,
                         PITH_EXPLAIN_WORDS_MAX);
    }
    return PITH_OK;
}

static pith_domain resolve_domain(const pith_compress_request *request) {
    bool named = request->domain > PITH_DOMAIN_AUTO && request->domain < PITH_DOMAIN_COUNT;
    return named ? request->domain : pith_route(request->text, request->text_len);
}

pith_status pith_decision_init(pith_decision *d, pith_err *err) {
    d->domain = resolve_domain(d->request);
    uint32_t n = d->doc->n_units;
    d->critical = pith_arena_calloc(d->arena, n, sizeof *d->critical);
    d->forced = pith_arena_calloc(d->arena, n, sizeof *d->forced);
    d->kept = pith_arena_calloc(d->arena, n, sizeof *d->kept);
    if (d->critical == NULL || d->forced == NULL || d->kept == NULL ||
        !pith_joined_init(&d->joined, d->doc, d->arena)) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory to decide over %u units", n);
    }
    return PITH_OK;
}

bool pith_compress_trivial(const pith_compress_request *request, const pith_document *doc,
                           pith_compress_result *result, pith_arena *arena) {
    if (doc->n_units > 0) {
        return false;
    }
    pith_decision d = {.request = request, .doc = doc, .arena = arena};
    d.domain = resolve_domain(request);
    pith_outcome_pass(&d, PITH_PASS_EMPTY, result);
    return true;
}

void pith_compress_pass(const pith_decide_config *config, const pith_compress_request *request,
                        const pith_document *doc, pith_passthrough reason,
                        pith_compress_result *result, pith_arena *arena) {
    pith_decision d = {.config = config, .request = request, .doc = doc, .arena = arena};
    pith_err err;
    if (pith_decision_init(&d, &err) == PITH_OK && pith_floor_find(&d, &err) != PITH_OK) {
        d.critical_spans.spans.len = 0;
    }
    pith_outcome_pass(&d, reason, result);
}

/* Units outside the windows (kompress) were never scored: their numbers mean nothing. */
static bool all_finite(const pith_document *doc, const float *scores) {
    for (uint32_t w = 0; w < doc->n_windows; w++) {
        for (uint32_t u = doc->windows[w].unit_begin; u < doc->windows[w].unit_end; u++) {
            if (!isfinite(scores[u])) {
                return false;
            }
        }
    }
    return true;
}

static bool any_kept(const pith_decision *d) {
    for (uint32_t u = 0; u < d->doc->n_units; u++) {
        if (d->kept[u]) {
            return true;
        }
    }
    return false;
}

static pith_status choose(pith_decision *d, pith_err *err) {
    pith_status status = pith_fold_apply(d, err);
    if (status == PITH_OK) {
        status = pith_floor_force(d, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    if (d->request->profile == PITH_PROFILE_KOMPRESS) {
        return pith_kompress_decide(d, err);
    }
    pith_fold_force(d);
    status = pith_items_make(d, err);
    return status == PITH_OK ? pith_budget_apply(d, err) : status;
}

pith_status pith_compress_finish(const pith_decide_config *config,
                                 const pith_compress_request *request, const pith_document *doc,
                                 const pith_tokenizer *tokenizer, const float *unit_scores,
                                 pith_token_list *list, pith_arena *arena,
                                 pith_compress_result *result, pith_err *err) {
    pith_status status = pith_request_check(request, doc, err);
    if (status != PITH_OK || pith_compress_trivial(request, doc, result, arena)) {
        return status;
    }
    pith_decision d = {.config = config,
                       .request = request,
                       .doc = doc,
                       .tokenizer = tokenizer,
                       .list = list,
                       .arena = arena};
    status = pith_decision_init(&d, err);
    if (status == PITH_OK) {
        status = pith_floor_find(&d, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    if (request->profile == PITH_PROFILE_KOMPRESS && doc->n_words < PITH_KOMPRESS_WORDS_MIN) {
        pith_outcome_pass(&d, PITH_PASS_TOO_SHORT, result);
        return PITH_OK;
    }
    d.scores = unit_scores;
    if (!all_finite(doc, unit_scores)) {
        pith_outcome_pass(&d, PITH_PASS_NONFINITE_SCORE, result);
        return PITH_OK;
    }
    if (request->profile == PITH_PROFILE_FAITHFUL) {
        status = pith_odds_apply(&d, err);
    }
    if (status == PITH_OK) {
        status = choose(&d, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    if (!any_kept(&d)) {
        pith_outcome_pass(&d, PITH_PASS_NOTHING_KEPT, result);
        return PITH_OK;
    }
    return pith_outcome_fill(&d, result, err);
}
