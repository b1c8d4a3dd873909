/* The engine's floor as plain arrays, for the recipe: models/recipe/floor.py calls it by ctypes.
 *
 * The code is that of runtime/text and runtime/decide; here it is only called and copied out. A
 * pith_recipe_floor is immutable after open: any thread. What look fills is freed by
 * pith_recipe_look_free. Sizes and order of the fields are read by floor.py. */
#ifndef PITH_RECIPE_FLOOR_H
#define PITH_RECIPE_FLOOR_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pith_recipe_floor pith_recipe_floor;

/* A white-space word. What pithd keeps of it in the faithful profile whatever the score:
 * critical holds part of a critical span; forced also the other words of a table's row. */
typedef struct pith_recipe_word {
    uint64_t classes; /* bit i: part of a span of class i */
    uint32_t start;   /* byte offsets, half open */
    uint32_t end;
    uint32_t line;
    uint32_t item; /* words of one item are kept or dropped as one */
    uint8_t critical;
    uint8_t forced;
    uint8_t unused[6];
} pith_recipe_word;

/* A span as the reply counts it, and the classes that have one of their own in it. */
typedef struct pith_recipe_span {
    uint64_t classes;
    uint32_t start;
    uint32_t end;
} pith_recipe_span;

typedef struct pith_recipe_look {
    pith_recipe_word *words;
    pith_recipe_span *spans;
    uint32_t n_words;
    uint32_t n_spans;
    uint32_t domain; /* pith_domain, as routed where none was asked for */
    uint32_t unused;
} pith_recipe_look;

/* Compiles the built-in patterns, all together as pithd has them and each class alone. */
PITH_MUST_USE pith_status pith_recipe_floor_open(pith_recipe_floor **floor, pith_err *err);
void pith_recipe_floor_close(pith_recipe_floor *floor);

/* Name of class i, or NULL where there is none. */
const char *pith_recipe_class_name(uint32_t i);

/* domain: a name ("log"), or "auto". Errors: PITH_INVALID (not UTF-8, unknown domain, text over
 * PITH_DOCUMENT_BYTES_MAX), PITH_EXHAUSTED, PITH_NO_MEMORY. */
PITH_MUST_USE pith_status pith_recipe_floor_look(const pith_recipe_floor *floor, const char *text,
                                                 size_t len, const char *domain,
                                                 pith_recipe_look *look, pith_err *err);
void pith_recipe_look_free(pith_recipe_look *look);

#endif
