#include "runtime/base/histogram.h"

#define MS UINT64_C(1000000)

const pith_histogram_bounds pith_histogram_seconds = {
    .n = 18,
    .upper = {MS / 10, MS / 4, MS / 2, MS, MS * 5 / 2, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS,
              250 * MS, 500 * MS, 1000 * MS, 2500 * MS, 5000 * MS, 10000 * MS, 30000 * MS,
              60000 * MS},
};

const pith_histogram_bounds pith_histogram_powers = {
    .n = 20,
    .upper = {1 << 0,  1 << 1,  1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,
              1 << 7,  1 << 8,  1 << 9,  1 << 10, 1 << 11, 1 << 12, 1 << 13,
              1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 19},
};

void pith_histogram_init(pith_histogram *histogram, const pith_histogram_bounds *bounds) {
    histogram->bounds = bounds;
    for (uint32_t i = 0; i <= PITH_HISTOGRAM_BOUNDS_MAX; i++) {
        atomic_init(&histogram->counts[i], 0);
    }
    atomic_init(&histogram->sum, 0);
}

void pith_histogram_add(pith_histogram *histogram, uint64_t value) {
    const pith_histogram_bounds *bounds = histogram->bounds;
    uint32_t i = 0;
    while (i < bounds->n && value > bounds->upper[i]) {
        i++;
    }
    (void)atomic_fetch_add_explicit(&histogram->counts[i], 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
}

void pith_histogram_read(const pith_histogram *histogram, pith_histogram_view *view) {
    *view = (pith_histogram_view){.bounds = histogram->bounds};
    for (uint32_t i = 0; i <= histogram->bounds->n; i++) {
        view->counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        view->count += view->counts[i];
    }
    view->sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
}
