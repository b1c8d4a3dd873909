/* Long units have more tokens to find a high score among, and cost more. */
#include "runtime/decide/decision.h"

#include <math.h>
#include <string.h>

enum { KNOWN_TOKENS = 64 }; /* a unit has no more: longer words are cut */

pith_status pith_length_apply(pith_decision *d, const float *scores, pith_err *err) {
    d->scores = scores;
    double exponent = d->config == NULL ? 0.0 : d->config->length_exponent;
    if (!(exponent > 0.0)) {
        return PITH_OK;
    }
    uint32_t n = d->doc->n_units;
    float *scaled = pith_arena_alloc(d->arena, n, sizeof *scaled);
    if (scaled == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u scores", n);
    }
    double divisors[KNOWN_TOKENS + 1] = {0};
    for (uint32_t u = 0; u < n; u++) {
        uint32_t tokens = d->doc->units[u].n_tok;
        if (tokens < 2) {
            scaled[u] = scores[u];
            continue;
        }
        tokens = tokens < KNOWN_TOKENS ? tokens : KNOWN_TOKENS;
        if (!(divisors[tokens] > 0.0)) {
            divisors[tokens] = pow(tokens, exponent);
        }
        double keep = (double)scores[u];
        scaled[u] = (float)(keep / (keep + (1.0 - keep) * divisors[tokens]));
    }
    d->scores = scaled;
    return PITH_OK;
}
