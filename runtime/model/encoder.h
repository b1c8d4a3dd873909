/* The ModernBERT encoder with its two heads, written once over pith_ops.
 *
 * A pith_encoder owns its packed weights and the scratch of one step, all allocated at open. The
 * embedding table stays in the checkpoint's mapped file on host backends, so the checkpoint must
 * outlive the encoder. Used by the thread that uses the ops context. */
#ifndef PITH_MODEL_ENCODER_H
#define PITH_MODEL_ENCODER_H

#include "runtime/base/status.h"
#include "runtime/model/batch.h"
#include "runtime/ops.h"
#include "runtime/weights/checkpoint.h"
#include "runtime/weights/config.h"

#include <stdbool.h>
#include <stdint.h>

/* A cap that is never a padded size: one text of ModernBERT's 8,192 positions and some more. */
enum { PITH_ENCODER_TOKENS_MAX = 1 << 20 };

typedef struct pith_encoder pith_encoder;

/* Sees the residual stream x [n_tok, hidden] f32: stage 0 after the embedding norm, stage i + 1
 * after layer i, stage n_layers + 1 the final hidden state after its norm. For tests. */
typedef void (*pith_encoder_probe_fn)(void *user, uint32_t stage, const float *x, size_t count);

typedef struct pith_encoder_opts {
    const pith_ops *ops;
    pith_ops_ctx *ctx;
    uint32_t tokens_max;         /* tokens of one step, 1 .. PITH_ENCODER_TOKENS_MAX */
    uint32_t aside_tokens;       /* of a step of pith_encoder_aside; 0: there will be none */
    pith_encoder_probe_fn probe; /* may be NULL; slow */
    void *probe_user;
} pith_encoder_opts;

/* Where forward leaves its results; any may be NULL. */
typedef struct pith_encoder_out {
    float *z_tok;  /* [n_tok] logit_keep - logit_drop */
    float *z_span; /* [n_tok] before its sigmoid */
    float *score;  /* [n_tok] in [0, 1]; not finite when the model's output was not */
} pith_encoder_out;

/* Packs the weights, telling the checkpoint which file pages may go. Errors: PITH_UNSUPPORTED
 * (shape), PITH_NO_MEMORY, PITH_CORRUPT (tensor missing). */
PITH_MUST_USE pith_status pith_encoder_open(pith_encoder **encoder, const pith_model_config *config,
                                            const pith_checkpoint *checkpoint,
                                            const pith_encoder_opts *opts, pith_err *err);
void pith_encoder_close(pith_encoder *encoder);

/* The same encoder on further devices, its weights copied from device to device: they are neither
 * read nor packed again. copies [n_copies], one for each of ctxs. `note`: one line on how. Nothing
 * is left of a failure. */
PITH_MUST_USE pith_status pith_encoder_replicate(pith_encoder **copies, pith_encoder *encoder,
                                                 pith_ops_ctx *const *ctxs, uint32_t n_copies,
                                                 pith_err *note, pith_err *err);

/* One step. PITH_INVALID: more tokens than tokens_max, an empty sequence, one longer than the
 * model's positions, an id outside the vocabulary. An empty batch is PITH_OK. */
PITH_MUST_USE pith_status pith_encoder_forward(pith_encoder *encoder, const pith_batch *batch,
                                               const pith_encoder_out *out, pith_err *err);

/* The same in two halves, so that a device computes one step while the next is handed over. begin
 * copies the batch; `out` is written, and `batch` and `out` must stay, until wait returns. At most
 * pith_encoder_steps_in_flight begun steps; they are waited for in order. An empty batch has
 * ticket 0. */
PITH_MUST_USE pith_status pith_encoder_begin(pith_encoder *encoder, const pith_batch *batch,
                                             const pith_encoder_out *out, uint64_t *ticket,
                                             pith_err *err);
PITH_MUST_USE pith_status pith_encoder_wait(pith_encoder *encoder, uint64_t ticket, pith_err *err);
uint32_t pith_encoder_steps_in_flight(const pith_encoder *encoder);

/* A step put in front of one that is being computed, where steps_in_flight is 1: begin calls
 * `between` after every layer but the last, and in there any encoder of the same ops context may
 * compute a whole step with aside, on memory of its own. True: one was. Neither step's results
 * depend on the other. aside: PITH_INVALID for more than aside_tokens; it calls no `between`. */
typedef bool (*pith_encoder_between_fn)(void *user);
void pith_encoder_set_between(pith_encoder *encoder, pith_encoder_between_fn between, void *user);
PITH_MUST_USE pith_status pith_encoder_aside(pith_encoder *encoder, const pith_batch *batch,
                                             const pith_encoder_out *out, pith_err *err);

uint64_t pith_encoder_n_parameters(const pith_encoder *encoder);

#endif
