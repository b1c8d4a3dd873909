/* A loaded model: config, weights packed for the backend, tokenizer.
 *
 * Immutable after open but for the encoder's scratch, which the runner's thread alone uses. */
#ifndef PITH_ENGINE_MODEL_H
#define PITH_ENGINE_MODEL_H

#include "runtime/backend/device.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/plan.h"
#include "runtime/model/encoder.h"
#include "runtime/weights/checkpoint.h"

/* Of a step put in front of another: a text of one window of pith-mini's, or some shorter ones. 25
 * KB of activations a token at ModernBERT-base's width: 19 MB. */
enum { PITH_ASIDE_TOKENS_MAX = 768 };

typedef struct pith_model {
    char name[PITH_MODEL_NAME_BYTES];
    char *dir;
    pith_model_config config;
    pith_checkpoint *checkpoint; /* stays open: the embedding table is read where it is mapped */
    pith_tokenizer *tokenizer;
    pith_encoder *encoders[PITH_DEVICES_MAX]; /* one on each device */
    uint32_t n_devices;
    pith_document_opts document; /* profile filled in per job */
} pith_model;

/* On every device; the weights are read for the first and copied to the others, `note` says how.
 * tokens_max: the largest step. */
PITH_MUST_USE pith_status pith_model_open(pith_model **model, const pith_model_spec *spec,
                                          const pith_device *devices, uint32_t n_devices,
                                          uint32_t tokens_max, pith_err *note, pith_err *err);
void pith_model_close(pith_model *model);

/* How fast the model is: times steps of one window and of tokens_max, in at most some seconds, on
 * each device; they are alike, and the slowest counts. The first steps of a process pay for first
 * touches: this is its warm-up too. */
PITH_MUST_USE pith_status pith_model_calibrate(pith_model *model, const pith_clock *clock,
                                               uint32_t tokens_max, pith_speed *speed,
                                               pith_err *err);

/* What is said about the model to clients, but for fingerprint and is_default; the strings live as
 * long as model and device. */
void pith_model_describe(const pith_model *model, const pith_device *device, pith_model_info *info);

#endif
