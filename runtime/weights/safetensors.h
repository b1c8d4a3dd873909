/* Reader of one safetensors file: 8 bytes of header length, a JSON header, a data section that the
 * tensors cover exactly, without gap or overlap.
 *
 * A pith_safetensors owns the mapping and its table until it is closed; entries and names borrow
 * from it. One thread. Nothing in the file is trusted: every length, product and offset is checked
 * before it is used. Limits: the header is at most 100 MB (the format's own limit), the table at
 * most PITH_SAFETENSORS_TENSORS_MAX entries of PITH_DIMS_MAX dimensions. */
#ifndef PITH_WEIGHTS_SAFETENSORS_H
#define PITH_WEIGHTS_SAFETENSORS_H

#include "runtime/base/file.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status.h"
#include "runtime/weights/checkpoint.h"
#include "runtime/weights/json.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_SAFETENSORS_HEADER_MAX = 100 * 1000 * 1000, /* bytes; the reference reader's limit */
    PITH_SAFETENSORS_TENSORS_MAX = 16384,            /* ModernBERT-large with adapters has 400 */
    PITH_SHAPE_TEXT_BYTES = 128 /* "[50368, 768]" and room for four huge extents */
};

typedef struct pith_safetensors_entry {
    const char *name;
    uint32_t dtype; /* row of the format's dtype table */
    uint32_t n_dims;
    size_t shape[PITH_DIMS_MAX];
    size_t begin; /* byte offset in the file */
    size_t bytes;
} pith_safetensors_entry;

typedef struct pith_safetensors {
    pith_file file;
    char label[PITH_LABEL_BYTES];
    json_t *header;                  /* owns the names */
    pith_safetensors_entry *entries; /* [n], ascending in begin */
    size_t n;
} pith_safetensors;

/* Maps and checks `path`. PITH_NOT_FOUND, PITH_IO, PITH_NO_MEMORY, PITH_CORRUPT. */
PITH_MUST_USE pith_status pith_safetensors_open(pith_safetensors *st, const char *path,
                                                pith_err *err);

/* The same on memory that outlives `st`. */
PITH_MUST_USE pith_status pith_safetensors_parse(pith_safetensors *st, const char *data, size_t len,
                                                 const char *label, pith_err *err);
void pith_safetensors_close(pith_safetensors *st);

/* One pass over the file in order: `sha` (may be NULL) absorbs every byte, and the first NaN or
 * infinity in a F32, F16 or BF16 tensor is PITH_CORRUPT. Pages are given back behind the pass. */
PITH_MUST_USE pith_status pith_safetensors_verify(const pith_safetensors *st, pith_sha256 *sha,
                                                  pith_err *err);

/* The pith_dtype of an entry; PITH_CORRUPT when it is none of the three. */
PITH_MUST_USE pith_status pith_safetensors_dtype(const pith_safetensors *st,
                                                 const pith_safetensors_entry *entry,
                                                 pith_dtype *dtype, pith_err *err);

const void *pith_safetensors_data(const pith_safetensors *st, const pith_safetensors_entry *entry);

/* Records "FILE: tensor NAME: TEXT". */
pith_status pith_safetensors_refuse(const pith_safetensors *st, const char *name, pith_err *err,
                                    const char *fmt, ...) PITH_PRINTF(4, 5);

/* "[2, 768]" */
void pith_shape_text(char text[PITH_SHAPE_TEXT_BYTES], const size_t *shape, uint32_t n_dims);

#endif
