/* Checked arithmetic on sizes that come from foreign input. True means the result fits. */
#ifndef PITH_BASE_SIZE_H
#define PITH_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>

static inline bool pith_size_add(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool pith_size_mul(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

#endif
