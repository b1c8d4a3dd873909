/* config.json of a ModernBERT encoder, in both spellings. */
#include "runtime/weights/config_parts.h"

#include <stdio.h>
#include <string.h>

enum { GLOBAL_EVERY_BASE = 3 };           /* ModernBERT-base and -large */
static const double ROPE_THETA_MAX = 1e9; /* 160,000 in ModernBERT */
static const double NORM_EPS_MIN = 1e-12;
static const double NORM_EPS_MAX = 0.1; /* 1e-5 in ModernBERT */

/* A config of another model type that leaves shape keys out says "ModernBERT-base"; the keys it
 * does name must then agree with that. */
static pith_status check_partial_shape(const pith_json_scope *scope,
                                       const pith_model_config *config, pith_err *err) {
    static const char *const keys[] = {"hidden_size", "intermediate_size", "num_hidden_layers",
                                       "num_attention_heads"};
    const uint32_t found[] = {config->hidden, config->intermediate, config->n_layers,
                              config->n_heads};
    pith_model_config base;
    pith_config_defaults(&base);
    const uint32_t expected[] = {base.hidden, base.intermediate, base.n_layers, base.n_heads};
    const char *missing = NULL;
    for (size_t i = 0; i < 4; i++) {
        missing = pith_json_get(scope, keys[i]) == NULL ? keys[i] : missing;
    }
    for (size_t i = 0; i < 4 && missing != NULL; i++) {
        if (found[i] != expected[i]) {
            return pith_fail(err, PITH_CORRUPT,
                             "%s: %s: found %u, expected %u (ModernBERT-base, because %s is "
                             "missing)",
                             scope->label, keys[i], found[i], expected[i], missing);
        }
    }
    return PITH_OK;
}

static pith_status read_shape(const pith_json_scope *scope, pith_model_config *config,
                              pith_err *err) {
    const struct {
        const char *key;
        uint32_t max;
        uint32_t *out;
    } rows[] = {{"vocab_size", PITH_VOCAB_MAX, &config->vocab_size},
                {"hidden_size", PITH_HIDDEN_MAX, &config->hidden},
                {"intermediate_size", PITH_INTERMEDIATE_MAX, &config->intermediate},
                {"num_hidden_layers", PITH_LAYERS_MAX, &config->n_layers},
                {"num_attention_heads", PITH_HEADS_MAX, &config->n_heads},
                {"max_position_embeddings", PITH_POSITIONS_MAX, &config->positions_max}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pith_status status = pith_json_u32(scope, rows[i].key, 1, rows[i].max, rows[i].out, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    if (config->hidden % config->n_heads != 0 || config->hidden / config->n_heads % 2 != 0) {
        return pith_fail(err, PITH_CORRUPT,
                         "%s: hidden_size: found %u for %u heads, expected an even head dimension",
                         scope->label, config->hidden, config->n_heads);
    }
    uint32_t both_sides = 2 * config->local_window;
    pith_status status =
        pith_json_u32(scope, "local_attention", 2, 2 * PITH_POSITIONS_MAX, &both_sides, err);
    config->local_window = both_sides / 2;
    return status;
}

/* [CLS] and [SEP] fall back on the bos and eos keys, which hold the same ids in ModernBERT. */
static pith_status read_specials(const pith_json_scope *scope, pith_model_config *config,
                                 pith_err *err) {
    const struct {
        const char *key;
        const char *other;
        uint32_t *out;
    } rows[] = {{"cls_token_id", "bos_token_id", &config->cls_id},
                {"sep_token_id", "eos_token_id", &config->sep_id},
                {"pad_token_id", "pad_token_id", &config->pad_id}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool first = pith_json_get(scope, rows[i].key) != NULL;
        const char *key = first ? rows[i].key : rows[i].other;
        pith_status status = pith_json_u32(scope, key, 0, PITH_VOCAB_MAX, rows[i].out, err);
        if (status != PITH_OK) {
            return status;
        }
        if (*rows[i].out >= config->vocab_size) {
            return pith_fail(err, PITH_CORRUPT, "%s: %s: found %u, expected under vocab_size %u",
                             scope->label, rows[i].key, *rows[i].out, config->vocab_size);
        }
    }
    return PITH_OK;
}

/* What the forward pass does not have must not be asked for. */
static pith_status refuse_variants(const pith_json_scope *scope, pith_err *err) {
    static const char *const biases[] = {"attention_bias", "mlp_bias", "norm_bias"};
    for (size_t i = 0; i < sizeof biases / sizeof *biases; i++) {
        bool bias = false;
        pith_status status = pith_json_bool(scope, biases[i], &bias, err);
        if (status != PITH_OK) {
            return status;
        }
        if (bias) {
            return pith_fail(err, PITH_UNSUPPORTED, "%s: %s: found true, expected false",
                             scope->label, biases[i]);
        }
    }
    const char *activation = "gelu";
    pith_status status = pith_json_text(scope, "hidden_activation", &activation, err);
    if (status == PITH_OK && strcmp(activation, "gelu") != 0) {
        status = pith_json_unsupported(scope, "hidden_activation",
                                       pith_json_get(scope, "hidden_activation"), "\"gelu\"", err);
    }
    if (status == PITH_OK && pith_json_get(scope, "rope_scaling") != NULL) {
        status = pith_json_unsupported(scope, "rope_scaling", pith_json_get(scope, "rope_scaling"),
                                       "nothing", err);
    }
    return status;
}

static pith_status read_layer_types(const pith_json_scope *scope, const json_t *types,
                                    pith_model_config *config, pith_err *err) {
    if (!json_is_array(types) || json_array_size(types) != config->n_layers) {
        char expected[PITH_FOUND_BYTES];
        (void)snprintf(expected, sizeof expected, "an array of %u (num_hidden_layers)",
                       config->n_layers);
        return pith_json_refuse(scope, "layer_types", types, expected, err);
    }
    for (uint32_t i = 0; i < config->n_layers; i++) {
        const json_t *item = json_array_get(types, i);
        const char *type = json_is_string(item) ? json_string_value(item) : "";
        config->layer_global[i] = strcmp(type, "full_attention") == 0;
        if (!config->layer_global[i] && strcmp(type, "sliding_attention") != 0) {
            return pith_json_refuse(scope, "layer_types", item,
                                    "\"full_attention\" or \"sliding_attention\"", err);
        }
    }
    return PITH_OK;
}

/* Which layers see everything: layer_types (transformers 5) or every n-th (transformers 4); where
 * both stand they must agree. */
static pith_status read_layers(const pith_json_scope *scope, pith_model_config *config,
                               pith_err *err) {
    uint32_t every = GLOBAL_EVERY_BASE;
    pith_status status =
        pith_json_u32(scope, "global_attn_every_n_layers", 1, PITH_LAYERS_MAX, &every, err);
    if (status != PITH_OK) {
        return status;
    }
    const json_t *types = pith_json_get(scope, "layer_types");
    if (types != NULL) {
        status = read_layer_types(scope, types, config, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    bool check = types != NULL && pith_json_get(scope, "global_attn_every_n_layers") != NULL;
    for (uint32_t i = 0; i < config->n_layers; i++) {
        bool global = i % every == 0;
        if (check && config->layer_global[i] != global) {
            return pith_fail(err, PITH_CORRUPT,
                             "%s: layer_types: found layer %u %s, expected the other "
                             "(global_attn_every_n_layers is %u)",
                             scope->label, i, global ? "local" : "global", every);
        }
        config->layer_global[i] = types == NULL ? global : config->layer_global[i];
    }
    return PITH_OK;
}

/* One of rope_parameters' two objects. */
static pith_status read_rope_of(const pith_json_scope *rope, const char *kind, double *theta,
                                pith_err *err) {
    const json_t *object;
    pith_status status = pith_json_object(rope, kind, &object, err);
    if (status != PITH_OK) {
        return status;
    }
    if (object == NULL) {
        return pith_json_refuse(rope, kind, NULL, "an object with rope_theta", err);
    }
    char prefix[PITH_FOUND_BYTES];
    (void)snprintf(prefix, sizeof prefix, "%s%s.", rope->prefix, kind);
    pith_json_scope scope = {.object = object, .label = rope->label, .prefix = prefix};
    if (pith_json_get(&scope, "rope_theta") == NULL) {
        return pith_json_refuse(&scope, "rope_theta", NULL, "a number", err);
    }
    status = pith_json_real(&scope, "rope_theta", 1.0, ROPE_THETA_MAX, theta, err);
    const char *type = "default";
    if (status == PITH_OK) {
        status = pith_json_text(&scope, "rope_type", &type, err);
    }
    if (status == PITH_OK && strcmp(type, "default") != 0) {
        return pith_json_unsupported(&scope, "rope_type", pith_json_get(&scope, "rope_type"),
                                     "\"default\"", err);
    }
    return status;
}

static pith_status same_theta(const pith_json_scope *scope, const char *key, double found,
                              double expected, pith_err *err) {
    if (pith_json_get(scope, key) != NULL && !(found == expected)) {
        return pith_fail(err, PITH_CORRUPT, "%s: %s: found %g, expected %g as in rope_parameters",
                         scope->label, key, found, expected);
    }
    return PITH_OK;
}

/* Both spellings; where both stand they must agree. A null local_rope_theta means the global one
 * (transformers 4). */
static pith_status read_rope(const pith_json_scope *scope, pith_model_config *config,
                             pith_err *err) {
    double global = config->rope_theta_global;
    double local = config->rope_theta_local;
    pith_status status =
        pith_json_real(scope, "global_rope_theta", 1.0, ROPE_THETA_MAX, &global, err);
    if (status == PITH_OK) {
        status = pith_json_real(scope, "local_rope_theta", 1.0, ROPE_THETA_MAX, &local, err);
    }
    if (status == PITH_OK && json_is_null(json_object_get(scope->object, "local_rope_theta"))) {
        local = global;
    }
    config->rope_theta_global = global;
    config->rope_theta_local = local;
    const json_t *object = NULL;
    if (status == PITH_OK) {
        status = pith_json_object(scope, "rope_parameters", &object, err);
    }
    if (status != PITH_OK || object == NULL) {
        return status;
    }
    pith_json_scope rope = {.object = object, .label = scope->label, .prefix = "rope_parameters."};
    status = read_rope_of(&rope, "full_attention", &config->rope_theta_global, err);
    if (status == PITH_OK) {
        status = read_rope_of(&rope, "sliding_attention", &config->rope_theta_local, err);
    }
    if (status == PITH_OK) {
        status = same_theta(scope, "global_rope_theta", global, config->rope_theta_global, err);
    }
    if (status == PITH_OK) {
        status = same_theta(scope, "local_rope_theta", local, config->rope_theta_local, err);
    }
    return status;
}

pith_status pith_config_read_encoder(const pith_json_scope *scope, pith_model_config *config,
                                     pith_err *err) {
    const char *type = "";
    pith_status status = pith_json_text(scope, "model_type", &type, err);
    if (status == PITH_OK) {
        status = read_shape(scope, config, err);
    }
    if (status == PITH_OK && strcmp(type, "modernbert") != 0) {
        status = check_partial_shape(scope, config, err);
    }
    if (status == PITH_OK) {
        status = read_specials(scope, config, err);
    }
    if (status == PITH_OK) {
        status = refuse_variants(scope, err);
    }
    if (status == PITH_OK) {
        status = read_layers(scope, config, err);
    }
    if (status == PITH_OK) {
        status = read_rope(scope, config, err);
    }
    if (status == PITH_OK) {
        status =
            pith_json_real(scope, "norm_eps", NORM_EPS_MIN, NORM_EPS_MAX, &config->norm_eps, err);
    }
    return status;
}
