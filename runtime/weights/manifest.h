/* The tensors that a model of a given shape must have: name and shape, sorted by name.
 *
 * A pith_manifest owns its table until reset; one thread. Names are the flat layout of
 * kompress-base: `encoder.*` as transformers names ModernBERT's, `token_head.*`, `span_conv.*`.
 * Every dtype of pith_dtype is accepted for every tensor. */
#ifndef PITH_WEIGHTS_MANIFEST_H
#define PITH_WEIGHTS_MANIFEST_H

#include "runtime/base/status.h"
#include "runtime/weights/checkpoint.h"
#include "runtime/weights/config.h"

#include <stddef.h>
#include <stdint.h>

enum {
    PITH_TENSOR_NAME_BYTES = 64,    /* "encoder.layers.63.mlp_norm.weight" and room */
    PITH_SPAN_CONV_IN_WIDTH = 5,    /* taps of span_conv.0 (the published module) */
    PITH_SPAN_CONV_OUT_WIDTH = 3,   /* taps of span_conv.2 (the published module) */
    PITH_MANIFEST_HEAD_TENSORS = 6, /* token_head: 2, span_conv: 4 */
    PITH_LAYER_TENSORS = 6,         /* two norms, Wqkv, Wo, Wi, Wo */
    /* 3 outside the layers, and layer 0 has no attn_norm */
    PITH_MANIFEST_TENSORS_MAX =
        3 - 1 + PITH_LAYER_TENSORS * PITH_LAYERS_MAX + PITH_MANIFEST_HEAD_TENSORS
};

typedef struct pith_tensor_spec {
    char name[PITH_TENSOR_NAME_BYTES];
    uint32_t n_dims;
    size_t shape[PITH_DIMS_MAX];
} pith_tensor_spec;

typedef struct pith_manifest {
    pith_tensor_spec *specs; /* [n], ascending in strcmp order of name */
    size_t n;
} pith_manifest;

/* Builds the table for `config` (its ranges were checked when it was read). PITH_NO_MEMORY. */
PITH_MUST_USE pith_status pith_manifest_init(pith_manifest *manifest,
                                             const pith_model_config *config, pith_err *err);
void pith_manifest_reset(pith_manifest *manifest);

/* Index of a name among the specs, or manifest->n when it is not there. O(log n). */
size_t pith_manifest_find(const pith_manifest *manifest, const char *name);

#endif
