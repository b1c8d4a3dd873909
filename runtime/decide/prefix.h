/* Search for the longest ranked prefix whose output fits a number of tokens.
 *
 * The tokens of the output do not grow evenly with the prefix, and now and then they even shrink
 * (two neighbours may merge). What is found is a k with count(k) <= limit and, unless k is n,
 * count(k + 1) > limit: adding the next-ranked item would exceed the budget. It is the only such k
 * where counts never shrink, and always the same one for the same text.
 *
 * Use: init, then while next gives a k, count it and report. O(log n) counts. Plain memory. */
#ifndef PITH_DECIDE_PREFIX_H
#define PITH_DECIDE_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

typedef struct pith_prefix {
    const uint64_t *cost; /* [n + 1] estimated tokens of each prefix, never shrinking */
    uint32_t limit;
    uint32_t low;  /* fits */
    uint32_t high; /* does not fit */
    uint32_t low_count;
    uint32_t high_count;
    uint32_t turn;
} pith_prefix;

/* count(0) = low_count fits and count(n) = high_count does not. */
void pith_prefix_init(pith_prefix *p, const uint64_t *cost, uint32_t n, uint32_t limit,
                      uint32_t low_count, uint32_t high_count);

/* The next prefix to count, or false when p->low is the answer. */
bool pith_prefix_next(pith_prefix *p, uint32_t *k);
void pith_prefix_report(pith_prefix *p, uint32_t k, uint32_t count);

#endif
