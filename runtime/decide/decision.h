/* The decision about one text while it is being made. Private to runtime/decide, its tests and the
 * recipe's floor (models/recipe/floor), which must be the same code.
 *
 * Plain memory in the request's arena, one thread. The order of work: fold, floor, items,
 * budget (or kompress), join, outcome. */
#ifndef PITH_DECIDE_DECISION_H
#define PITH_DECIDE_DECISION_H

#include "runtime/decide/compress.h"
#include "runtime/decide/fold.h"
#include "runtime/text/critical.h"
#include "runtime/text/join.h"

/* What is kept or dropped as one: a unit, or in the faithful profile a row of a table. */
typedef struct pith_item {
    uint32_t unit_begin;
    uint32_t unit_end;
    uint32_t n_tok; /* of its units */
    float score;    /* the highest of its units */
    bool forced;    /* by the floor or a keep range */
} pith_item;

typedef struct pith_decision {
    const pith_decide_config *config;
    const pith_compress_request *request;
    const pith_document *doc;
    const pith_tokenizer *tokenizer;
    pith_token_list *list; /* scratch */
    pith_arena *arena;
    const float *scores; /* [n_units]; NULL: not scored */
    pith_domain domain;
    pith_critical_scan critical_spans; /* the full set of the domain: what the reply counts */
    bool *critical;                    /* [n_units] holds part of such a span */
    bool *forced;                      /* [n_units] kept whatever the score */
    bool *kept;                        /* [n_units] */
    bool *folded;   /* [n_units] dropped with its line; NULL: folding was not asked for */
    pith_fold fold; /* with `folded` */
    uint32_t folded_critical;
    uint64_t folded_tokens; /* of the folded units */
    pith_item *items;       /* [n_items] in text order */
    uint32_t n_items;
    pith_joined joined;
    uint32_t limit_hits;
    uint32_t unscored_words;
    uint64_t unscored_tokens; /* of units in no window */
    uint32_t kept_tokens;     /* of the joined text, when counted */
    bool budget_missed;
} pith_decision;

/* Allocates the arrays and resolves the domain. */
PITH_MUST_USE pith_status pith_decision_init(pith_decision *d, pith_err *err);

/* Keep ranges: inside the text, ascending inside themselves, on character boundaries; and explain
 * within its bound. PITH_INVALID otherwise. */
PITH_MUST_USE pith_status pith_request_check(const pith_compress_request *request,
                                             const pith_document *doc, pith_err *err);

/* floor.c */

/* Finds the critical spans that the reply counts and marks d->critical. */
PITH_MUST_USE pith_status pith_floor_find(pith_decision *d, pith_err *err);

/* Sets d->forced: critical units, units of keep ranges and of stretches where a pattern ran into
 * its limit; units in no window; for kompress the published patterns and table lines. The floor
 * only ever sets flags. */
PITH_MUST_USE pith_status pith_floor_force(pith_decision *d, pith_err *err);

/* Sets flags[u] for units of keep ranges. */
PITH_MUST_USE pith_status pith_floor_mark_keep(const pith_decision *d, bool *flags, pith_err *err);

/* flags[u] = true for every unit that shares a byte with a span. */
void pith_floor_mark(const pith_document *doc, const pith_span_list *spans, bool *flags);

/* fold_apply.c */

/* With fold_repeats, for all but code and diffs, where a line's place is its meaning: sets
 * d->folded and takes the critical spans of folded lines out of what is found. Before
 * pith_floor_force. */
PITH_MUST_USE pith_status pith_fold_apply(pith_decision *d, pith_err *err);

/* Forces what must be seen of lines that folding leaves: the word that tells of an error, and a
 * word of each line that stands for folded ones. After pith_floor_force. */
void pith_fold_force(pith_decision *d);

/* items.c */

/* Groups units that are not folded into items; a row with one forced unit is forced. */
PITH_MUST_USE pith_status pith_items_make(pith_decision *d, pith_err *err);

/* odds.c */

/* Divides the odds of long and of repeated units in d->scores (see compress.h). */
PITH_MUST_USE pith_status pith_odds_apply(pith_decision *d, pith_err *err);

/* Items that are not forced, best score first, ties to the earlier. keys: [2 * n_items], scratch;
 * order: [n_items]; returns how many. */
uint32_t pith_items_rank(const pith_item *items, uint32_t n_items, uint64_t *keys, uint32_t *order);

/* budget.c */

/* Sets d->kept from items, scores and the request's budget (see compress.h). */
PITH_MUST_USE pith_status pith_budget_apply(pith_decision *d, pith_err *err);

/* kompress.c */

/* Sets d->kept as headroom-ai 0.42.0 does: per chunk by threshold, or the best share of each chunk
 * with a ratio. PITH_BUDGET_MAX_TOKENS, which it does not know, goes through pith_budget_apply. */
PITH_MUST_USE pith_status pith_kompress_decide(pith_decision *d, pith_err *err);

/* outcome.c */

/* Joins d->kept and fills the result with text and counts. A faithful result that lost a critical
 * span is PITH_INTERNAL: the floor is broken. */
PITH_MUST_USE pith_status pith_outcome_fill(pith_decision *d, pith_compress_result *result,
                                            pith_err *err);

/* A result that gives the text back, with the counts known to `d` (may lack arrays). */
void pith_outcome_pass(pith_decision *d, pith_passthrough reason, pith_compress_result *result);

/* Critical spans found at their mapped place in the joined text. */
uint32_t pith_outcome_count_critical(const pith_document *doc, const pith_span_list *spans,
                                     const bool *kept, const pith_joined *joined);

/* Tokens of a text encoded raw, without specials. */
PITH_MUST_USE pith_status pith_outcome_count_tokens(const pith_decision *d, const char *text,
                                                    size_t len, uint32_t *n_tok, pith_err *err);

#endif
