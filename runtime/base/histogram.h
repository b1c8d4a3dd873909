/* Histogram of unsigned values over fixed bounds, for metrics.
 *
 * Owns nothing: the bounds are constants of the caller. Any number of threads may add and read; a
 * view taken while others add may lack their last values. */
#ifndef PITH_BASE_HISTOGRAM_H
#define PITH_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { PITH_HISTOGRAM_BOUNDS_MAX = 20 };

typedef struct pith_histogram_bounds {
    uint32_t n;                                /* at most PITH_HISTOGRAM_BOUNDS_MAX */
    uint64_t upper[PITH_HISTOGRAM_BOUNDS_MAX]; /* ascending; a bucket holds values up to its own */
} pith_histogram_bounds;

/* Nanoseconds: 100 us to 60 s. */
extern const pith_histogram_bounds pith_histogram_seconds;
/* Counts: powers of two, 1 to 2^19. */
extern const pith_histogram_bounds pith_histogram_powers;

typedef struct pith_histogram {
    const pith_histogram_bounds *bounds;
    atomic_uint_fast64_t counts[PITH_HISTOGRAM_BOUNDS_MAX + 1]; /* the last: above every bound */
    atomic_uint_fast64_t sum;
} pith_histogram;

/* What a histogram held at one time. */
typedef struct pith_histogram_view {
    const pith_histogram_bounds *bounds;
    uint64_t counts[PITH_HISTOGRAM_BOUNDS_MAX + 1]; /* per bucket, not summed up; bounds->n + 1 */
    uint64_t count;                                 /* of all buckets */
    uint64_t sum;
} pith_histogram_view;

void pith_histogram_init(pith_histogram *histogram, const pith_histogram_bounds *bounds);
void pith_histogram_add(pith_histogram *histogram, uint64_t value);
void pith_histogram_read(const pith_histogram *histogram, pith_histogram_view *view);

#endif
