/* Long units have more tokens to find a high score among, and cost more. */
#include "runtime/decide/decision.h"

#include <math.h>

pith_status pith_length_apply(pith_decision *d, pith_err *err) {
    double exponent = d->config == NULL ? 0.0 : d->config->length_exponent;
    if (!(exponent > 0.0)) {
        return PITH_OK;
    }
    uint32_t n = d->doc->n_units;
    float *scaled = pith_arena_alloc(d->arena, n, sizeof *scaled);
    if (scaled == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u scores", n);
    }
    double divisors[PITH_UNIT_TOKENS_MAX + 1] = {0};
    for (uint32_t u = 0; u < n; u++) {
        uint32_t tokens = d->doc->units[u].n_tok;
        if (tokens < 2) {
            scaled[u] = d->scores[u];
            continue;
        }
        tokens = tokens < PITH_UNIT_TOKENS_MAX ? tokens : PITH_UNIT_TOKENS_MAX;
        if (!(divisors[tokens] > 0.0)) {
            divisors[tokens] = pow(tokens, exponent);
        }
        double keep = (double)d->scores[u];
        scaled[u] = (float)(keep / (keep + (1.0 - keep) * divisors[tokens]));
    }
    d->scores = scaled;
    return PITH_OK;
}
