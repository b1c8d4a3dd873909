#include "runtime/decide/prefix.h"

void pith_prefix_init(pith_prefix *p, const uint64_t *cost, uint32_t n, uint32_t limit,
                      uint32_t low_count, uint32_t high_count) {
    *p = (pith_prefix){.cost = cost,
                       .limit = limit,
                       .low = 0,
                       .high = n,
                       .low_count = low_count,
                       .high_count = high_count};
}

/* Where the limit falls if tokens grow with the estimate between low and high. */
static uint32_t interpolate(const pith_prefix *p) {
    uint64_t base = p->cost[p->low];
    double span = (double)(p->cost[p->high] - base);
    double share =
        (double)(p->limit - p->low_count) / ((double)p->high_count - (double)p->low_count);
    double target = (double)base + share * span;
    uint32_t low = p->low;
    uint32_t high = p->high;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if ((double)p->cost[mid] <= target) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

bool pith_prefix_next(pith_prefix *p, uint32_t *k) {
    if (p->high - p->low <= 1) {
        return false;
    }
    /* Every third step halves the range whatever the estimates say. */
    uint32_t guess = ++p->turn % 3 == 0 ? p->low + (p->high - p->low) / 2 : interpolate(p);
    if (guess <= p->low) {
        guess = p->low + 1;
    }
    if (guess >= p->high) {
        guess = p->high - 1;
    }
    *k = guess;
    return true;
}

void pith_prefix_report(pith_prefix *p, uint32_t k, uint32_t count) {
    if (count <= p->limit) {
        p->low = k;
        p->low_count = count;
    } else {
        p->high = k;
        p->high_count = count;
    }
}
