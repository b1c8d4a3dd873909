#include "runtime/backend/cuda/library.h"

#include <dlfcn.h>
#include <string.h>

_Static_assert(sizeof(void *) == sizeof(void (*)(void)), "dlsym's result holds a function");

pith_status cuda_library_open(const char *file, const cuda_symbol *symbols, size_t n_symbols,
                              pith_err *err) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return pith_fail(err, PITH_UNSUPPORTED, "%.128s cannot be loaded", file);
    }
    for (size_t i = 0; i < n_symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (found == NULL) {
            return pith_fail(err, PITH_UNSUPPORTED, "%.128s has no %s", file, symbols[i].name);
        }
        memcpy(symbols[i].slot, &found, sizeof found);
    }
    return PITH_OK;
}
