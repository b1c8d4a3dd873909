/* SHA-256 of the files that make a model.
 *
 * The fingerprint of a folder is what this prints there, with absent files left out:
 *   sha256sum adapter_config.json config.json model.safetensors tokenizer.json | sha256sum
 * so that anyone can check it. */
#ifndef PITH_WEIGHTS_FINGERPRINT_H
#define PITH_WEIGHTS_FINGERPRINT_H

#include "runtime/base/sha256.h"
#include "runtime/base/status.h"

/* `tensors` is the digest of model.safetensors, computed while its values were checked. */
PITH_MUST_USE pith_status pith_fingerprint(const char *dir,
                                           const uint8_t tensors[PITH_SHA256_BYTES],
                                           char hex[PITH_SHA256_HEX_BYTES], pith_err *err);

#endif
