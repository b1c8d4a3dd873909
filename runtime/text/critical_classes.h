/* The built-in classes of critical spans, as data. Private to runtime/text/critical*.c. */
#ifndef PITH_TEXT_CRITICAL_CLASSES_H
#define PITH_TEXT_CRITICAL_CLASSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_critical_class {
    const char *name;
    const char *pattern; /* PCRE2 with UTF and UCP */
    uint32_t domains;    /* bit 1 << pith_domain: where it is on */
    bool published;      /* one of the ten of headroom-ai 0.42.0, in its order */
} pith_critical_class;

extern const pith_critical_class pith_critical_classes[];
extern const size_t pith_critical_n_classes;

#endif
