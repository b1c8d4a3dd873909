/* k-of-N voting over several checkpoints with one tokenizer. Pure functions; any thread.
 *
 * A voter drops a unit when its score is at most the threshold. The panel evicts a unit when k or
 * more of its N voters drop it; so a unit is kept when N - k + 1 or more voters keep it, and k = 1
 * is unanimity to keep, k = N is keep-if-any.
 *
 * Order statistics: the panel's decision is the threshold applied to the k-th smallest of the N
 * scores. A panel with k = N keeps whatever any voter keeps, so it cannot recall less than its
 * best voter on the same data: published figures that say so compare different data. */
#ifndef PITH_DECIDE_VOTE_H
#define PITH_DECIDE_VOTE_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { PITH_VOTERS_MAX = 16 };

typedef struct pith_vote {
    const float *const *scores; /* [n_voters][n_units] finite f32 */
    size_t n_voters;            /* 1 to PITH_VOTERS_MAX */
    size_t n_units;
    size_t k; /* drops that evict, 1 to n_voters */
} pith_vote;

/* panel: [n_units] the k-th smallest score of each unit: a score like any other, to be thresholded
 * or ranked. Errors: PITH_INVALID (k or n_voters out of range, a score that is not finite). */
PITH_MUST_USE pith_status pith_vote_scores(const pith_vote *vote, float *panel, pith_err *err);

/* kept: [n_units] by counting drops. Errors as above. */
PITH_MUST_USE pith_status pith_vote_keep(const pith_vote *vote, double threshold, bool *kept,
                                         pith_err *err);

#endif
