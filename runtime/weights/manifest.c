#include "runtime/weights/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends one spec; `shape` holds n_dims extents, outermost first. */
static pith_tensor_spec *add(pith_manifest *manifest, uint32_t n_dims,
                             const size_t shape[PITH_DIMS_MAX]) {
    pith_tensor_spec *spec = &manifest->specs[manifest->n++];
    spec->n_dims = n_dims;
    memcpy(spec->shape, shape, sizeof spec->shape);
    return spec;
}

static void add_named(pith_manifest *manifest, const char *name, uint32_t n_dims,
                      const size_t shape[PITH_DIMS_MAX]) {
    pith_tensor_spec *spec = add(manifest, n_dims, shape);
    (void)snprintf(spec->name, sizeof spec->name, "%s", name);
}

static void add_layered(pith_manifest *manifest, uint32_t layer, const char *name, uint32_t n_dims,
                        const size_t shape[PITH_DIMS_MAX]) {
    pith_tensor_spec *spec = add(manifest, n_dims, shape);
    (void)snprintf(spec->name, sizeof spec->name, "encoder.layers.%" PRIu32 ".%s.weight", layer,
                   name);
}

static void add_layer(pith_manifest *manifest, const pith_model_config *config, uint32_t layer) {
    size_t hidden = config->hidden;
    size_t inner = config->intermediate;
    if (layer > 0) { /* attn_norm of layer 0 is the identity */
        add_layered(manifest, layer, "attn_norm", 1, (size_t[PITH_DIMS_MAX]){hidden});
    }
    add_layered(manifest, layer, "attn.Wqkv", 2, (size_t[PITH_DIMS_MAX]){3 * hidden, hidden});
    add_layered(manifest, layer, "attn.Wo", 2, (size_t[PITH_DIMS_MAX]){hidden, hidden});
    add_layered(manifest, layer, "mlp_norm", 1, (size_t[PITH_DIMS_MAX]){hidden});
    add_layered(manifest, layer, "mlp.Wi", 2, (size_t[PITH_DIMS_MAX]){2 * inner, hidden});
    add_layered(manifest, layer, "mlp.Wo", 2, (size_t[PITH_DIMS_MAX]){hidden, inner});
}

static void add_heads(pith_manifest *manifest, const pith_model_config *config) {
    size_t hidden = config->hidden;
    size_t channels = config->span_channels;
    add_named(manifest, "token_head.weight", 2, (size_t[PITH_DIMS_MAX]){2, hidden});
    add_named(manifest, "token_head.bias", 1, (size_t[PITH_DIMS_MAX]){2});
    add_named(manifest, "span_conv.0.weight", 3,
              (size_t[PITH_DIMS_MAX]){channels, hidden, PITH_SPAN_CONV_IN_WIDTH});
    add_named(manifest, "span_conv.0.bias", 1, (size_t[PITH_DIMS_MAX]){channels});
    add_named(manifest, "span_conv.2.weight", 3,
              (size_t[PITH_DIMS_MAX]){1, channels, PITH_SPAN_CONV_OUT_WIDTH});
    add_named(manifest, "span_conv.2.bias", 1, (size_t[PITH_DIMS_MAX]){1});
}

static int by_name(const void *a, const void *b) {
    const pith_tensor_spec *left = a;
    const pith_tensor_spec *right = b;
    return strcmp(left->name, right->name);
}

pith_status pith_manifest_init(pith_manifest *manifest, const pith_model_config *config,
                               pith_err *err) {
    *manifest = (pith_manifest){0};
    if (config->n_layers == 0 || config->n_layers > PITH_LAYERS_MAX) {
        return pith_fail(err, PITH_INTERNAL, "manifest: %" PRIu32 " layers, expected 1 to %d",
                         config->n_layers, PITH_LAYERS_MAX);
    }
    size_t n = 3 - 1 + (size_t)PITH_LAYER_TENSORS * config->n_layers + PITH_MANIFEST_HEAD_TENSORS;
    manifest->specs = calloc(n, sizeof *manifest->specs);
    if (manifest->specs == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "manifest: no memory for %zu tensors", n);
    }
    size_t hidden = config->hidden;
    add_named(manifest, "encoder.embeddings.tok_embeddings.weight", 2,
              (size_t[PITH_DIMS_MAX]){config->vocab_size, hidden});
    add_named(manifest, "encoder.embeddings.norm.weight", 1, (size_t[PITH_DIMS_MAX]){hidden});
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        add_layer(manifest, config, layer);
    }
    add_named(manifest, "encoder.final_norm.weight", 1, (size_t[PITH_DIMS_MAX]){hidden});
    add_heads(manifest, config);
    qsort(manifest->specs, manifest->n, sizeof *manifest->specs, by_name);
    return PITH_OK;
}

void pith_manifest_reset(pith_manifest *manifest) {
    free(manifest->specs);
    *manifest = (pith_manifest){0};
}

size_t pith_manifest_find(const pith_manifest *manifest, const char *name) {
    size_t low = 0;
    size_t high = manifest->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(manifest->specs[middle].name, name);
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return manifest->n;
}
