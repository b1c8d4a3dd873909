/* LoRA adapters of an unmerged PEFT checkpoint: W' = W + scale * B A, with scale = alpha / r, or
 * alpha / sqrt(r) where adapter_config.json says use_rslora.
 *
 * A pith_lora owns the parsed adapter_config.json until it is closed. One thread. */
#ifndef PITH_WEIGHTS_LORA_H
#define PITH_WEIGHTS_LORA_H

#include "runtime/base/status.h"
#include "runtime/weights/json.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PITH_LORA_RANK_MAX = 1024 }; /* 16 in kompress-v2-base */

typedef struct pith_lora {
    json_t *config;
    char label[PITH_LABEL_BYTES];
    uint32_t rank;
    double alpha;
    bool rslora;
} pith_lora;

/* Reads DIR/adapter_config.json. DoRA, fan_in_fan_out and other adapter kinds than LORA are
 * PITH_UNSUPPORTED; r and lora_alpha are required. */
PITH_MUST_USE pith_status pith_lora_open(pith_lora *lora, const char *dir, pith_err *err);

/* The same from memory. */
PITH_MUST_USE pith_status pith_lora_parse(pith_lora *lora, const char *data, size_t len,
                                          const char *label, pith_err *err);
void pith_lora_close(pith_lora *lora);

/* Rank and scale of one module ("layers.0.attn.Wqkv"): the first key of rank_pattern and of
 * alpha_pattern that is the module's name or its end after a dot, else r and lora_alpha. Keys with
 * other regular-expression signs than a dot are PITH_UNSUPPORTED. */
PITH_MUST_USE pith_status pith_lora_scale(const pith_lora *lora, const char *module, uint32_t *rank,
                                          double *scale, pith_err *err);

typedef struct pith_lora_shape {
    size_t rows; /* outputs of the linear */
    size_t cols; /* inputs */
    size_t rank;
} pith_lora_shape;

/* w [rows, cols] += scale * b [rows, rank] @ a [rank, cols], all f32, row-major. Each element's
 * product is summed over the rank in ascending order in f32, then scaled, then added.
 * scratch [cols]. */
void pith_lora_merge(float *w, const float *a, const float *b, float *scratch,
                     pith_lora_shape shape, float scale);

#endif
