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

enum {
    PITH_INFER_ARENA_BYTES = 8192,
    PITH_INFER_PARAMETERS_MAX = 64,
    PITH_INFER_SHAPE_MAX = 8,
    PITH_INFER_ELEMENTS_MAX = 256 /* texts of one call: as BatchCompress takes */
};

/* What the answer's form takes from the request. */
typedef struct pith_infer_form {
    pith_infer_output outputs[PITH_INFER_OUTPUTS];
    size_t n_outputs;
    int64_t shape[PITH_INFER_SHAPE_MAX]; /* [n_shape] of the request's tensor and of each output */
    size_t n_shape;
    size_t n; /* elements: the product of `shape`, 1 to PITH_INFER_ELEMENTS_MAX */
    bool raw; /* raw_output_contents, as the request came */
} pith_infer_form;

/* Fills `out`, but for the text, and `form` from a decoded request; what they name is borrowed from
 * it. PITH_INVALID names the field: a tensor that is not there, of another type, with no or too
 * many elements or with others than its shape says, contents given twice or not at all, a parameter
 * that is not known or has no value of its kind. PITH_NOT_FOUND: a version other than "" and "1".
 */
PITH_MUST_USE pith_status pith_infer_read(const pith_infer_request *message,
                                          Pith__V1__CompressRequest *out, pith_infer_form *form,
                                          pith_fault *fault);

/* The next text of a request that was read, form->n of them; *at is 0 at first. False at the end.
 */
bool pith_infer_next_text(const pith_infer_request *message, size_t *at, ProtobufCBinaryData *text);

/* One text's answer. */
typedef struct pith_infer_element {
    const char *text; /* [text_len] */
    size_t text_len;
    uint32_t input_tokens;
    uint32_t kept_tokens;
} pith_infer_element;

/* Fills `out` with elements [form->n]. Borrows from them, from `form`, and from `model` and `id`
 * (NUL-terminated). `arena` holds pith_infer_arena_bytes. PITH_EXHAUSTED: it is full. */
size_t pith_infer_arena_bytes(const pith_infer_form *form, const pith_infer_element *elements);
PITH_MUST_USE pith_status pith_infer_write(const pith_infer_element *elements,
                                           const pith_infer_form *form, const char *model,
                                           const char *id, pith_arena *arena,
                                           pith_infer_response *out, pith_err *err);

/* Fills the metadata of a model. */
PITH_MUST_USE pith_status pith_infer_describe(const pith_model_info *model, pith_arena *arena,
                                              Inference__ModelMetadataResponse *out, pith_err *err);

bool pith_infer_version_is_known(const char *version);

#endif
