/* Libraries that are opened at run time, so that the program starts and serves where they are not.
 *
 * An open library stays for the process: its kernels may still be loaded. */
#ifndef PITH_BACKEND_CUDA_LIBRARY_H
#define PITH_BACKEND_CUDA_LIBRARY_H

#include "runtime/base/status.h"

#include <stddef.h>

typedef struct cuda_symbol {
    const char *name;
    void *slot; /* a function pointer of the symbol's type */
} cuda_symbol;

/* Fills every slot. PITH_UNSUPPORTED: no such library, or a symbol is missing; the text says which.
 */
PITH_MUST_USE pith_status cuda_library_open(const char *file, const cuda_symbol *symbols,
                                            size_t n_symbols, pith_err *err);

#endif
