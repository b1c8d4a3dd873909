/* Open Inference Protocol requests and answers <-> Pith's own. Pure functions; everything lives in
 * the caller's arena. */
#ifndef PITH_SERVER_GRPC_OIP_TENSOR_H
#define PITH_SERVER_GRPC_OIP_TENSOR_H

#include "inference/open_inference.pb-c.h"
#include "pith/v1/compression.pb-c.h"
#include "runtime/base/arena.h"
#include "runtime/engine/engine.h"
#include "server/grpc/fault.h"

#include <stdbool.h>

typedef Inference__ModelInferRequest pith_infer_request;
typedef Inference__ModelInferResponse pith_infer_response;

/* The outputs, in the order in which they are sent when none is named. */
typedef enum pith_infer_output {
    PITH_INFER_COMPRESSED_TEXT,
    PITH_INFER_INPUT_TOKENS,
    PITH_INFER_KEPT_TOKENS,
    PITH_INFER_OUTPUTS
} pith_infer_output;

/* What the answer's form takes from the request. */
typedef struct pith_infer_form {
    pith_infer_output outputs[PITH_INFER_OUTPUTS];
    size_t n_outputs;
    bool raw; /* raw_output_contents, as the request came */
} pith_infer_form;

enum { PITH_INFER_ARENA_BYTES = 8192, PITH_INFER_PARAMETERS_MAX = 64, PITH_INFER_SHAPE_MAX = 8 };

/* Fills `out` and `form` from a decoded request; texts are borrowed from it. PITH_INVALID names
 * the field: a tensor that is not there, of another type or not of one element, contents given
 * twice or not at all, a parameter that is not known or has no value of its kind. PITH_NOT_FOUND: a
 * version other than "" and "1". */
PITH_MUST_USE pith_status pith_infer_read(const pith_infer_request *message,
                                          Pith__V1__CompressRequest *out, pith_infer_form *form,
                                          pith_fault *fault);

/* Fills `out` from a reply of PITH_OK. Borrows from the reply and from `id` (NUL-terminated).
 * `arena` holds PITH_INFER_ARENA_BYTES and, for a raw form, the text. PITH_EXHAUSTED: it is full.
 */
PITH_MUST_USE pith_status pith_infer_write(const pith_reply *reply, const pith_infer_form *form,
                                           const char *id, pith_arena *arena,
                                           pith_infer_response *out, pith_err *err);

/* Fills the metadata of a model. */
PITH_MUST_USE pith_status pith_infer_describe(const pith_model_info *model, pith_arena *arena,
                                              Inference__ModelMetadataResponse *out, pith_err *err);

bool pith_infer_version_is_known(const char *version);

#endif
