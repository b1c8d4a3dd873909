/* A loaded model: config, weights packed for the backend, tokenizer, decision settings.
 *
 * Immutable after open but for the encoder's scratch, which the runner's thread alone uses. */
#ifndef PITH_ENGINE_MODEL_H
#define PITH_ENGINE_MODEL_H

#include "runtime/backend/device.h"
#include "runtime/engine/engine.h"
#include "runtime/model/encoder.h"
#include "runtime/weights/checkpoint.h"

typedef struct pith_model {
    char name[PITH_MODEL_NAME_BYTES];
    char fingerprint[33]; /* 32 hex digits */
    pith_model_config config;
    pith_checkpoint *checkpoint; /* stays open: the embedding table is read where it is mapped */
    pith_tokenizer *tokenizer;
    pith_encoder *encoder;
    pith_decide_config decide;
    pith_document_opts document; /* profile filled in per job */
} pith_model;

/* What is said to every model about decisions; a part of the fingerprint. */
typedef struct pith_model_decisions {
    const struct pith_critical *critical; /* borrowed */
    const char *patterns;                 /* the text it was opened with; NULL: built in */
    uint32_t fold_after;                  /* 0: the default */
} pith_model_decisions;

/* tokens_max: the largest step. */
PITH_MUST_USE pith_status pith_model_open(pith_model **model, const pith_model_spec *spec,
                                          const pith_device *device,
                                          const pith_model_decisions *decisions,
                                          uint32_t tokens_max, pith_err *err);
void pith_model_close(pith_model *model);

/* What is said about the model to clients; the strings live as long as model and device. */
void pith_model_describe(const pith_model *model, const pith_device *device, pith_model_info *info);

#endif
