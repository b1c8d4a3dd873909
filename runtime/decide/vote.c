#include "runtime/decide/vote.h"

#include <math.h>

static pith_status check(const pith_vote *vote, pith_err *err) {
    if (vote->n_voters == 0 || vote->n_voters > PITH_VOTERS_MAX) {
        return pith_fail(err, PITH_INVALID, "vote: %zu voters, expected 1 to %d", vote->n_voters,
                         PITH_VOTERS_MAX);
    }
    if (vote->k == 0 || vote->k > vote->n_voters) {
        return pith_fail(err, PITH_INVALID, "vote: k is %zu, expected 1 to %zu", vote->k,
                         vote->n_voters);
    }
    for (size_t v = 0; v < vote->n_voters; v++) {
        for (size_t u = 0; u < vote->n_units; u++) {
            if (!isfinite(vote->scores[v][u])) {
                return pith_fail(err, PITH_INVALID, "vote: score %zu of voter %zu is not finite", u,
                                 v);
            }
        }
    }
    return PITH_OK;
}

/* Sorts the votes of one unit by insertion: N is small. */
static float kth_smallest(const pith_vote *vote, size_t unit) {
    float sorted[PITH_VOTERS_MAX] = {0};
    for (size_t v = 0; v < vote->n_voters; v++) {
        float score = vote->scores[v][unit];
        size_t at = v;
        while (at > 0 && sorted[at - 1] > score) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = score;
    }
    return sorted[vote->k - 1];
}

pith_status pith_vote_scores(const pith_vote *vote, float *panel, pith_err *err) {
    pith_status status = check(vote, err);
    for (size_t u = 0; status == PITH_OK && u < vote->n_units; u++) {
        panel[u] = kth_smallest(vote, u);
    }
    return status;
}

pith_status pith_vote_keep(const pith_vote *vote, double threshold, bool *kept, pith_err *err) {
    pith_status status = check(vote, err);
    for (size_t u = 0; status == PITH_OK && u < vote->n_units; u++) {
        size_t drops = 0;
        for (size_t v = 0; v < vote->n_voters; v++) {
            drops += (double)vote->scores[v][u] <= threshold;
        }
        kept[u] = drops < vote->k;
    }
    return status;
}
