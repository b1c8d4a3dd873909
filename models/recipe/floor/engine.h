/* The engine in process, for the recipe: models/recipe/engine.py calls it by ctypes.
 *
 * One call, one text, one reply, copied out of the engine's memory. A pith_recipe_engine may be
 * asked from any thread. Sizes and order of the fields are read by engine.py. */
#ifndef PITH_RECIPE_ENGINE_H
#define PITH_RECIPE_ENGINE_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pith_recipe_engine pith_recipe_engine;

typedef struct pith_recipe_engine_opts {
    const char *model_dir;
    const char *dtype;    /* "auto", "f32", "bf16" */
    const char *patterns; /* JSON text of runtime/text/critical.h; NULL: built in */
    uint32_t n_threads;
    uint32_t unused;
} pith_recipe_engine_opts;

typedef struct pith_recipe_ask {
    const char *text;
    size_t text_len;
    const char *domain; /* a name, or "auto" */
    double budget_value;
    uint32_t budget; /* pith_budget */
    uint8_t fold_repeats;
    uint8_t explain;
    uint8_t unused[2];
} pith_recipe_ask;

/* A unit of decision: a word, or a piece of one over 64 tokens. */
typedef struct pith_recipe_unit {
    uint32_t start; /* bytes of the input, half open */
    uint32_t end;
    float score;
    uint8_t kept;
    uint8_t critical;
    uint8_t unused[2];
} pith_recipe_unit;

typedef struct pith_recipe_range {
    uint32_t start;
    uint32_t end;
} pith_recipe_range;

/* Fields as in pith_compress_result. */
typedef struct pith_recipe_reply {
    char *text; /* [text_len] */
    size_t text_len;
    pith_recipe_unit *units;   /* [n_units], with explain */
    pith_recipe_range *ranges; /* [n_ranges] of the input that are kept */
    uint32_t n_units;
    uint32_t n_ranges;
    uint32_t input_words;
    uint32_t kept_words;
    uint32_t input_tokens;
    uint32_t kept_tokens;
    uint32_t critical_total;
    uint32_t critical_kept;
    uint32_t folded_lines;
    uint32_t folded_critical;
    uint32_t passthrough; /* pith_passthrough */
    uint32_t domain;
} pith_recipe_reply;

/* device (may be NULL): gets "cpu avx2 f32" or the like, at most device_bytes with the NUL. */
PITH_MUST_USE pith_status pith_recipe_engine_open(pith_recipe_engine **engine,
                                                  const pith_recipe_engine_opts *opts, char *device,
                                                  size_t device_bytes, pith_err *err);
void pith_recipe_engine_close(pith_recipe_engine *engine);

/* Waits for the reply; freed by pith_recipe_reply_free. Errors: those of pith_engine_submit and of
 * the reply. */
PITH_MUST_USE pith_status pith_recipe_engine_compress(pith_recipe_engine *engine,
                                                      const pith_recipe_ask *ask,
                                                      pith_recipe_reply *reply, pith_err *err);
void pith_recipe_reply_free(pith_recipe_reply *reply);

#endif
