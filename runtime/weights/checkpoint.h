/* A model's tensors, whatever layout they were published in.
 *
 * A pith_checkpoint owns the mapped files and any merged tensors until it is closed; tensors
 * borrow from it. Opened and read by one thread. Every tensor of the manifest is present with the
 * expected name, dtype and shape, and its values are finite, or open fails with one line that names
 * file, tensor, found and expected. */
#ifndef PITH_WEIGHTS_CHECKPOINT_H
#define PITH_WEIGHTS_CHECKPOINT_H

#include "runtime/base/status.h"
#include "runtime/weights/config.h"

#include <stddef.h>
#include <stdint.h>

typedef enum pith_dtype { PITH_F32, PITH_F16, PITH_BF16 } pith_dtype;

enum { PITH_DIMS_MAX = 4 };

typedef struct pith_tensor {
    const void *data; /* row-major, densely packed, aligned to 8 bytes at least */
    pith_dtype dtype;
    uint32_t n_dims;
    size_t shape[PITH_DIMS_MAX];
} pith_tensor;

typedef struct pith_checkpoint pith_checkpoint;

/* Opens DIR/model.safetensors against `config`. */
PITH_MUST_USE pith_status pith_checkpoint_open(pith_checkpoint **checkpoint, const char *dir,
                                               const pith_model_config *config, pith_err *err);
void pith_checkpoint_close(pith_checkpoint *checkpoint);

/* The tensor of a canonical name: the flat layout of kompress-base, e.g.
 * "encoder.layers.3.attn.Wqkv.weight" or "span_conv.0.bias". NULL when the manifest has none
 * (layer 0 has no attn_norm). */
const pith_tensor *pith_checkpoint_tensor(const pith_checkpoint *checkpoint, const char *name);

/* Tells the system that a tensor was packed elsewhere and its pages may go. The tensor must not be
 * read afterwards: a merged or moved one has lost its values. */
void pith_checkpoint_discard(const pith_checkpoint *checkpoint, const pith_tensor *tensor);

/* SHA-256 over config.json, tokenizer.json, model.safetensors and adapter_config.json, as 64 hex
 * digits; runtime/weights/fingerprint.h says how it is put together. */
const char *pith_checkpoint_sha256(const pith_checkpoint *checkpoint);

/* Numbers in all tensors together, merged adapters not counted. */
size_t pith_checkpoint_parameters(const pith_checkpoint *checkpoint);

/* A whole tensor converted: out[count] f32. */
void pith_tensor_to_f32(const pith_tensor *tensor, float *out);
size_t pith_tensor_count(const pith_tensor *tensor);
size_t pith_dtype_bytes(pith_dtype dtype);

#endif
