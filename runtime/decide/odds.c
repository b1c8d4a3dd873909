/* The model sees a window and scores its tokens; what a unit costs, and whether the text said it
 * before, is known here: the odds of long units and of repeated ones are divided. */
#include "runtime/decide/decision.h"
#include "runtime/decide/table.h"

#include <assert.h>
#include <math.h>

enum { COUNTED = 64 }; /* tokens, which a unit has no more of, and uses of a word, at most */
static_assert((int)COUNTED >= (int)PITH_UNIT_TOKENS_MAX, "every count of tokens has its power");

typedef struct powers {
    double exponent;
    double of[COUNTED + 1]; /* n ** exponent; 0: not computed yet */
} powers;

static double power_of(powers *p, uint32_t n) {
    n = n < COUNTED ? n : COUNTED;
    if (n < 2) {
        return 1.0;
    }
    if (!(p->of[n] > 0.0)) {
        p->of[n] = pow(n, p->exponent);
    }
    return p->of[n];
}

/* --- uses of words --- */

typedef struct words {
    const pith_document *doc;
    pith_table table; /* the unit that was a word's first */
    uint32_t *uses;   /* [n_units] so far, of the word that unit was the first of */
} words;

static bool words_init(words *w, pith_arena *arena) {
    w->uses = pith_arena_alloc(arena, w->doc->n_units, sizeof *w->uses);
    return w->uses != NULL && pith_table_init(&w->table, arena, w->doc->n_units);
}

static unsigned char lower(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool in_word(char c) {
    unsigned char l = lower(c);
    return (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || l == '_' || l >= 0x80;
}

/* The unit without ASCII punctuation at its ends; may be empty. */
static pith_range bare(const pith_document *doc, uint32_t u) {
    pith_range r = {doc->units[u].start, doc->units[u].end};
    while (r.start < r.end && !in_word(doc->text[r.start])) {
        r.start++;
    }
    while (r.end > r.start && !in_word(doc->text[r.end - 1])) {
        r.end--;
    }
    return r;
}

static bool same(const char *text, pith_range a, pith_range b) {
    if (a.end - a.start != b.end - b.start) {
        return false;
    }
    for (uint32_t i = 0; i < a.end - a.start; i++) {
        if (lower(text[a.start + i]) != lower(text[b.start + i])) {
            return false;
        }
    }
    return true;
}

/* The use of its word that unit u is: 1 for the first, and for one whose place in the table too
 * many others share. */
static uint32_t use_of(words *w, uint32_t u) {
    pith_range word = bare(w->doc, u);
    if (word.start == word.end) {
        return 1;
    }
    uint64_t hash = PITH_HASH_START;
    for (uint32_t i = word.start; i < word.end; i++) {
        hash = pith_hash_add(hash, lower(w->doc->text[i]));
    }
    for (uint32_t probe = 0; probe < PITH_TABLE_PROBES_MAX; probe++) {
        uint32_t *slot = pith_table_at(&w->table, pith_hash_end(hash), probe);
        if (*slot == 0) {
            *slot = u + 1;
            w->uses[u] = 1;
            return 1;
        }
        if (same(w->doc->text, bare(w->doc, *slot - 1), word)) {
            return ++w->uses[*slot - 1];
        }
    }
    return 1;
}

pith_status pith_odds_apply(pith_decision *d, pith_err *err) {
    powers length = {.exponent = d->config == NULL ? 0.0 : d->config->length_exponent};
    powers repeat = {.exponent = d->config == NULL ? 0.0 : d->config->repeat_exponent};
    bool counted = repeat.exponent > 0.0;
    if (!counted && !(length.exponent > 0.0)) {
        return PITH_OK;
    }
    uint32_t n = d->doc->n_units;
    words w = {.doc = d->doc};
    float *scores = pith_arena_alloc(d->arena, n, sizeof *scores);
    if (scores == NULL || (counted && !words_init(&w, d->arena))) {
        return pith_fail(err, PITH_EXHAUSTED, "no memory for %u scores", n);
    }
    for (uint32_t u = 0; u < n; u++) {
        double divisor = power_of(&length, d->doc->units[u].n_tok) *
                         power_of(&repeat, counted ? use_of(&w, u) : 1);
        double keep = (double)d->scores[u];
        scores[u] = (float)(keep / (keep + (1.0 - keep) * divisor));
    }
    d->scores = scores;
    return PITH_OK;
}
