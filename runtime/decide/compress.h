/* Scores -> decisions -> text: everything after the model, as one pure function on arrays.
 *
 * A request borrows the caller's memory; a result lives in the arena given to pith_compress_finish.
 * No globals but the compiled critical patterns, which are immutable: any thread. */
#ifndef PITH_DECIDE_COMPRESS_H
#define PITH_DECIDE_COMPRESS_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/text/document.h"
#include "runtime/text/route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum pith_budget {
    PITH_BUDGET_DEFAULT,      /* the model's threshold for the domain */
    PITH_BUDGET_THRESHOLD,    /* keep units with score > threshold, in [0, 1] */
    PITH_BUDGET_TARGET_RATIO, /* share of the input's tokens to keep, in (0, 1] */
    PITH_BUDGET_MAX_TOKENS    /* tokens of the output encoded again, raw, without specials */
} pith_budget;

typedef struct pith_range {
    uint32_t start; /* byte offsets, half open */
    uint32_t end;
} pith_range;

typedef struct pith_compress_request {
    const char *text; /* [text_len], valid UTF-8 */
    size_t text_len;
    pith_budget budget;
    double budget_value; /* threshold, ratio, or a whole number of tokens */
    pith_domain domain;  /* PITH_DOMAIN_AUTO: routed */
    pith_profile profile;
    bool explain;
    bool fold_repeats;      /* faithful only: repeated lines go whole, see runtime/decide/fold.h */
    const pith_range *keep; /* [n_keep] byte ranges that must survive */
    size_t n_keep;
} pith_compress_request;

typedef enum pith_passthrough {
    PITH_PASS_NONE,
    PITH_PASS_EMPTY,           /* empty or white space only */
    PITH_PASS_TOO_SHORT,       /* kompress: under 64 words */
    PITH_PASS_NOTHING_DROPPED, /* every unit was kept */
    PITH_PASS_NOTHING_KEPT,    /* kompress: no unit was kept */
    PITH_PASS_NONFINITE_SCORE, /* the model returned NaN or infinity */
    PITH_PASS_DEADLINE,        /* the time was up before every unit was scored */
    PITH_PASS_COUNT
} pith_passthrough;

/* Parallel arrays, one entry per unit. */
typedef struct pith_explanation {
    const uint32_t *start; /* [n] bytes */
    const uint32_t *end;   /* [n] */
    const float *score;    /* [n] */
    const bool *kept;      /* [n] */
    const bool *critical;  /* [n] */
    size_t n;
} pith_explanation;

enum { PITH_EXPLAIN_WORDS_MAX = 200000 };

typedef struct pith_compress_result {
    const char *text; /* [text_len]; the request's own text when passed through */
    size_t text_len;
    uint32_t input_words; /* white-space words */
    uint32_t kept_words;  /* words of which at least one unit was kept */
    uint32_t input_tokens;
    uint32_t kept_tokens;    /* of the output encoded again */
    uint32_t critical_total; /* but for those of folded lines */
    uint32_t critical_kept;  /* found at their mapped place in the output */
    uint32_t unscored_words;
    uint32_t pattern_limit_hits; /* units kept because a pattern ran into its match limit */
    uint32_t folded_lines;       /* lines that went whole because others of their kind stay */
    uint32_t folded_critical;    /* critical spans in them */
    pith_passthrough passthrough;
    bool budget_missed; /* the floor or a keep range beat the budget */
    pith_domain domain;
    const pith_range *kept_ranges; /* [n_kept_ranges] ascending, disjoint */
    size_t n_kept_ranges;
    pith_explanation explanation; /* n = 0 without explain */
} pith_compress_result;

/* What the model and the config say about decisions; shared, immutable. */
typedef struct pith_decide_config {
    double thresholds[PITH_DOMAIN_COUNT]; /* [0] is unused */
    /* A unit's odds of being kept are divided by its tokens to this power; 0: not. A unit's score
     * is the highest of its tokens', which favours long units, and a budget is of tokens. Not in
     * kompress, whose published models are ranked by the score alone. */
    double length_exponent;
    /* The n-th use of a word in the text has its odds divided by n to this power; 0: not. Words are
     * compared without ASCII punctuation at their ends and case. A window does not show what was
     * said before it. Not in kompress. */
    double repeat_exponent;
    uint32_t critical_window; /* units matched together by the patterns: 1-3 */
    uint32_t fold_after;      /* lines of a kind that stay before its repeats fold; 0: 1 */
    const struct pith_critical *critical; /* compiled patterns, see runtime/text/critical.h */
} pith_decide_config;

/* True when there is nothing to decide: empty or white space. Fills `result` then. `doc` is
 * prepared. A text too short for its profile has no windows and goes through finish. */
bool pith_compress_trivial(const pith_compress_request *request, const pith_document *doc,
                           pith_compress_result *result, pith_arena *arena);

/* Decides, applies budget and floor, joins the text and counts. unit_scores: [n_units] f32 in
 * [0, 1]; one that is not finite makes the whole text pass through. `list` is scratch.
 * Errors: PITH_INVALID (keep range outside the text or not on character boundaries, explain over
 * PITH_EXPLAIN_WORDS_MAX words), PITH_EXHAUSTED (arena). */
PITH_MUST_USE pith_status pith_compress_finish(
    const pith_decide_config *config, const pith_compress_request *request,
    const pith_document *doc, const pith_tokenizer *tokenizer, const float *unit_scores,
    pith_token_list *list, pith_arena *arena, pith_compress_result *result, pith_err *err);

/* A reply that gives the text back unchanged, saying why. config: for the critical counts; NULL
 * leaves them 0. Where the arena refuses, what it could not hold is left out. */
void pith_compress_pass(const pith_decide_config *config, const pith_compress_request *request,
                        const pith_document *doc, pith_passthrough reason,
                        pith_compress_result *result, pith_arena *arena);

#endif
