/* Search for values that are NaN or infinite. A pure function; one pass, linear. */
#ifndef PITH_WEIGHTS_FINITE_H
#define PITH_WEIGHTS_FINITE_H

#include "runtime/weights/checkpoint.h"

#include <stddef.h>

/* Index of the first non-finite of data[count], or count when all are finite. `data` needs no
 * alignment. */
size_t pith_finite_prefix(const void *data, pith_dtype dtype, size_t count);

#endif
