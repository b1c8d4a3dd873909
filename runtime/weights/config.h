/* config.json of a model directory: the encoder's shape and what the model means for decisions.
 *
 * Both spellings of ModernBERT's config are read (transformers 4: global_rope_theta,
 * local_rope_theta, global_attn_every_n_layers; transformers 5: rope_parameters, layer_types), and
 * an optional "pith" object. Plain data after reading. */
#ifndef PITH_WEIGHTS_CONFIG_H
#define PITH_WEIGHTS_CONFIG_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PITH_LAYERS_MAX = 64,
    PITH_HIDDEN_MAX = 8192,
    PITH_MODEL_NAME_BYTES = 64,
    PITH_DOMAIN_THRESHOLDS_MAX = 16
};

typedef enum pith_gate {
    PITH_GATE_MULTIPLICATIVE, /* p * (0.5 + 0.5 s): published checkpoints */
    PITH_GATE_ASYMMETRIC,     /* 1 - sigma(-z_tok - gamma * softplus(z_span)): pith-mini */
    PITH_GATE_OR_BOOST        /* max(p, 0.5 + (s - 0.5) / 2 where 0.3 < p <= 0.5 and s > 0.5) */
} pith_gate;

/* A named threshold of the "pith" object, e.g. {"log", 0.55}; "default" holds for the others. */
typedef struct pith_named_threshold {
    char domain[PITH_MODEL_NAME_BYTES];
    double value;
} pith_named_threshold;

typedef struct pith_model_config {
    char name[PITH_MODEL_NAME_BYTES]; /* pith.name, else the directory's last component */
    uint32_t vocab_size;
    uint32_t hidden;       /* model width D */
    uint32_t intermediate; /* GeGLU width I */
    uint32_t n_layers;
    uint32_t n_heads;      /* head dim = hidden / n_heads; 64 in all published shapes */
    uint32_t local_window; /* keys on each side: local_attention / 2 (64) */
    bool layer_global[PITH_LAYERS_MAX];
    double rope_theta_global; /* 160000 */
    double rope_theta_local;  /* 10000 */
    double norm_eps;          /* 1e-5 */
    uint32_t positions_max;   /* 8192 */
    uint32_t cls_id;
    uint32_t sep_id;
    uint32_t pad_id;
    double length_exponent; /* see pith_decide_config; 0 in published checkpoints */
    double repeat_exponent; /* likewise */
    uint32_t span_channels; /* 256 in published checkpoints */
    pith_gate gate;
    double gamma;           /* asymmetric gate only, >= 0 */
    bool split_words;       /* pith.word_mode "split": words encoded one by one, no prefix space */
    uint32_t window_tokens; /* 512 */
    uint32_t halo_tokens;   /* 64 */
    pith_named_threshold thresholds[PITH_DOMAIN_THRESHOLDS_MAX];
    uint32_t n_thresholds;
} pith_model_config;

/* Reads DIR/config.json. Errors name the file, the key, what was found and what was expected. */
PITH_MUST_USE pith_status pith_model_config_read(pith_model_config *config, const char *dir,
                                                 pith_err *err);

#endif
