/* The parts of config.json's reader; used by runtime/weights/config*.c and their tests only. */
#ifndef PITH_WEIGHTS_CONFIG_PARTS_H
#define PITH_WEIGHTS_CONFIG_PARTS_H

#include "runtime/base/status.h"
#include "runtime/weights/config.h"
#include "runtime/weights/json.h"

#include <stddef.h>

/* Largest values that a config may name; each is far above every published shape. */
enum {
    PITH_VOCAB_MAX = 1 << 20,        /* 50,368 in ModernBERT */
    PITH_INTERMEDIATE_MAX = 1 << 15, /* 2,624 in ModernBERT-large */
    PITH_HEADS_MAX = 128,            /* 16 in ModernBERT-large */
    PITH_POSITIONS_MAX = 1 << 17,    /* 8,192 in ModernBERT */
    PITH_SPAN_CHANNELS_MAX = 4096,   /* 256 in published checkpoints */
    PITH_WINDOW_TOKENS_MIN = 8       /* [CLS], [SEP] and a few tokens between */
};

/* ModernBERT-base, with the decisions of the published checkpoints, and no thresholds. */
void pith_config_defaults(pith_model_config *config);

/* The encoder's keys over the defaults already in `config`. */
PITH_MUST_USE pith_status pith_config_read_encoder(const pith_json_scope *root,
                                                   pith_model_config *config, pith_err *err);

/* The "pith" object over the defaults already in `config`. */
PITH_MUST_USE pith_status pith_config_read_pith(const pith_json_scope *root,
                                                pith_model_config *config, pith_err *err);

/* The whole of config.json from memory; `name` is the model's name where the file has none. */
PITH_MUST_USE pith_status pith_config_parse(pith_model_config *config, const char *name,
                                            const char *data, size_t len, const char *label,
                                            pith_err *err);

#endif
