#include "runtime/weights/checkpoint.h"

#include "runtime/base/sha256.h"
#include "runtime/weights/fingerprint.h"
#include "runtime/weights/finite.h"
#include "runtime/weights/layout.h"
#include "runtime/weights/lora.h"
#include "runtime/weights/manifest.h"
#include "runtime/weights/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    TENSOR_ALIGN = 8, /* bytes; promised by checkpoint.h */
    MODULE_BYTES = PITH_TENSOR_NAME_BYTES
};

/* What the file has for one tensor of the manifest. */
typedef struct source {
    const pith_safetensors_entry *weight; /* plain, or the weight under an adapter */
    const pith_safetensors_entry *lora_a;
    const pith_safetensors_entry *lora_b;
    bool is_base;
} source;

/* Memory for a tensor that cannot be borrowed from the file: merged, or moved for alignment. */
typedef struct owned {
    void *data; /* anonymous mapping, NULL when the tensor is borrowed */
    size_t bytes;
} owned;

struct pith_checkpoint {
    pith_safetensors file;
    pith_manifest manifest;
    source *sources;      /* [manifest.n]; freed when open is done */
    pith_tensor *tensors; /* [manifest.n] */
    owned *owned;         /* [manifest.n] */
    char sha256[PITH_SHA256_HEX_BYTES];
};

static pith_status claim(const pith_safetensors *file, const pith_safetensors_entry **slot,
                         const pith_safetensors_entry *entry, pith_err *err) {
    if (*slot != NULL) {
        char first[PITH_FOUND_BYTES];
        pith_printable(first, sizeof first, (*slot)->name);
        return pith_safetensors_refuse(
            file, entry->name, err, "found it and %s for one tensor, expected one of them", first);
    }
    *slot = entry;
    return PITH_OK;
}

/* Gives every tensor of the file its place in the manifest. */
static pith_status assign(pith_checkpoint *checkpoint, pith_err *err) {
    const pith_safetensors *file = &checkpoint->file;
    for (size_t i = 0; i < file->n; i++) {
        const pith_safetensors_entry *entry = &file->entries[i];
        char canonical[PITH_TENSOR_NAME_BYTES];
        pith_layout_role role = pith_layout_role_of(entry->name, canonical);
        if (role == PITH_ROLE_HARMLESS) {
            continue;
        }
        size_t index = pith_manifest_find(&checkpoint->manifest, canonical);
        if (index == checkpoint->manifest.n) {
            return pith_safetensors_refuse(file, entry->name, err,
                                           "found it in the file, expected none of this name for "
                                           "the shape in config.json");
        }
        source *from = &checkpoint->sources[index];
        const pith_safetensors_entry **slot = role == PITH_ROLE_LORA_A   ? &from->lora_a
                                              : role == PITH_ROLE_LORA_B ? &from->lora_b
                                                                         : &from->weight;
        pith_status status = claim(file, slot, entry, err);
        if (status != PITH_OK) {
            return status;
        }
        from->is_base = from->is_base || role == PITH_ROLE_BASE;
    }
    return PITH_OK;
}

static pith_status check_shape(const pith_safetensors *file, const pith_safetensors_entry *entry,
                               const size_t *shape, uint32_t n_dims, pith_err *err) {
    bool same = entry->n_dims == n_dims;
    for (uint32_t i = 0; i < n_dims && same; i++) {
        same = entry->shape[i] == shape[i];
    }
    if (same) {
        return PITH_OK;
    }
    char found[PITH_SHAPE_TEXT_BYTES];
    char expected[PITH_SHAPE_TEXT_BYTES];
    pith_shape_text(found, entry->shape, entry->n_dims);
    pith_shape_text(expected, shape, n_dims);
    return pith_safetensors_refuse(file, entry->name, err, "shape: found %s, expected %s", found,
                                   expected);
}

/* Presence, dtype and shape of the tensor itself, and that adapters come in pairs. */
static pith_status check_source(const pith_checkpoint *checkpoint, size_t index, pith_err *err) {
    const pith_safetensors *file = &checkpoint->file;
    const pith_tensor_spec *spec = &checkpoint->manifest.specs[index];
    const source *from = &checkpoint->sources[index];
    if (from->weight == NULL) {
        char shape[PITH_SHAPE_TEXT_BYTES];
        pith_shape_text(shape, spec->shape, spec->n_dims);
        return pith_safetensors_refuse(file, spec->name, err,
                                       "found nothing of this name, expected shape %s", shape);
    }
    if ((from->lora_a == NULL) != (from->lora_b == NULL)) {
        const pith_safetensors_entry *half = from->lora_a == NULL ? from->lora_b : from->lora_a;
        return pith_safetensors_refuse(file, half->name, err,
                                       "found no lora_%s beside it, expected the pair",
                                       from->lora_a == NULL ? "A" : "B");
    }
    if (from->lora_a != NULL && (spec->n_dims != 2 || !from->is_base)) {
        return pith_safetensors_refuse(file, from->lora_a->name, err,
                                       "found an adapter without a base_layer matrix, expected "
                                       "%s as its base_layer",
                                       spec->name);
    }
    pith_dtype dtype;
    pith_status status = pith_safetensors_dtype(file, from->weight, &dtype, err);
    if (status == PITH_OK) {
        status = check_shape(file, from->weight, spec->shape, spec->n_dims, err);
    }
    return status;
}

static bool has_adapters(const pith_checkpoint *checkpoint) {
    for (size_t i = 0; i < checkpoint->manifest.n; i++) {
        if (checkpoint->sources[i].lora_a != NULL) {
            return true;
        }
    }
    return false;
}

static pith_status own(pith_checkpoint *checkpoint, size_t index, size_t bytes, pith_err *err) {
    owned *memory = &checkpoint->owned[index];
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: tensor %s: no memory for %zu bytes",
                         checkpoint->file.label, checkpoint->manifest.specs[index].name, bytes);
    }
    *memory = (owned){.data = data, .bytes = bytes};
    checkpoint->tensors[index].data = data;
    return PITH_OK;
}

/* Points the tensor at the file, or at a copy where the file has it unaligned. */
static pith_status borrow(pith_checkpoint *checkpoint, size_t index, pith_err *err) {
    const pith_safetensors_entry *entry = checkpoint->sources[index].weight;
    pith_tensor *tensor = &checkpoint->tensors[index];
    tensor->data = pith_safetensors_data(&checkpoint->file, entry);
    if ((uintptr_t)tensor->data % TENSOR_ALIGN == 0) {
        return PITH_OK;
    }
    pith_status status = own(checkpoint, index, entry->bytes, err);
    if (status == PITH_OK) {
        memcpy(checkpoint->owned[index].data, pith_safetensors_data(&checkpoint->file, entry),
               entry->bytes);
    }
    return status;
}

/* out[count] of an entry that may be unaligned; `dtype` was checked. */
static void entry_to_f32(const pith_safetensors *file, const pith_safetensors_entry *entry,
                         pith_dtype dtype, float *out) {
    pith_tensor tensor = {
        .data = pith_safetensors_data(file, entry), .dtype = dtype, .n_dims = entry->n_dims};
    memcpy(tensor.shape, entry->shape, sizeof tensor.shape);
    pith_tensor_to_f32(&tensor, out);
}

/* W + scale B A into memory of our own. `scratch` holds a, b and one row. */
static pith_status merge_into(pith_checkpoint *checkpoint, size_t index, pith_lora_shape shape,
                              double scale, float *scratch, pith_err *err) {
    const pith_safetensors *file = &checkpoint->file;
    const source *from = &checkpoint->sources[index];
    pith_dtype dtype_a;
    pith_dtype dtype_b;
    pith_status status = pith_safetensors_dtype(file, from->lora_a, &dtype_a, err);
    if (status == PITH_OK) {
        status = pith_safetensors_dtype(file, from->lora_b, &dtype_b, err);
    }
    size_t count = shape.rows * shape.cols;
    if (status == PITH_OK) {
        status = own(checkpoint, index, count * sizeof(float), err);
    }
    if (status != PITH_OK) {
        return status;
    }
    float *w = checkpoint->owned[index].data;
    float *a = scratch;
    float *b = a + shape.rank * shape.cols;
    entry_to_f32(file, from->weight, checkpoint->tensors[index].dtype, w);
    entry_to_f32(file, from->lora_a, dtype_a, a);
    entry_to_f32(file, from->lora_b, dtype_b, b);
    pith_lora_merge(w, a, b, b + shape.rows * shape.rank, shape, (float)scale);
    checkpoint->tensors[index].dtype = PITH_F32;
    pith_file_discard(&file->file, from->weight->begin, from->weight->bytes);
    size_t bad = pith_finite_prefix(w, PITH_F32, count);
    if (bad != count) {
        return pith_safetensors_refuse(file, from->weight->name, err,
                                       "value: found no finite number at element %zu after merging "
                                       "its adapter, expected finite numbers",
                                       bad);
    }
    return PITH_OK;
}

static pith_status merge(pith_checkpoint *checkpoint, size_t index, const pith_lora *lora,
                         pith_err *err) {
    const pith_tensor_spec *spec = &checkpoint->manifest.specs[index];
    const source *from = &checkpoint->sources[index];
    /* "encoder.layers.0.attn.Wqkv.weight" is module "layers.0.attn.Wqkv" of the adapter. */
    char module[MODULE_BYTES];
    const char *name = spec->name + strlen("encoder.");
    (void)snprintf(module, sizeof module, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
    uint32_t rank;
    double scale;
    pith_status status = pith_lora_scale(lora, module, &rank, &scale, err);
    pith_lora_shape shape = {.rows = spec->shape[0], .cols = spec->shape[1], .rank = rank};
    if (status == PITH_OK) {
        status = check_shape(&checkpoint->file, from->lora_a,
                             (size_t[PITH_DIMS_MAX]){shape.rank, shape.cols}, 2, err);
    }
    if (status == PITH_OK) {
        status = check_shape(&checkpoint->file, from->lora_b,
                             (size_t[PITH_DIMS_MAX]){shape.rows, shape.rank}, 2, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    /* Under 2^33 bytes: rank <= 1024, rows and cols <= 3 * 8192 and 32768. */
    size_t floats = shape.rank * (shape.rows + shape.cols) + shape.cols;
    float *scratch = malloc(floats * sizeof *scratch);
    if (scratch == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: tensor %s: no memory to merge its adapter",
                         checkpoint->file.label, spec->name);
    }
    status = merge_into(checkpoint, index, shape, scale, scratch, err);
    free(scratch);
    return status;
}

static pith_status fill(pith_checkpoint *checkpoint, const pith_lora *lora, pith_err *err) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < checkpoint->manifest.n && status == PITH_OK; i++) {
        const pith_tensor_spec *spec = &checkpoint->manifest.specs[i];
        pith_tensor *tensor = &checkpoint->tensors[i];
        tensor->n_dims = spec->n_dims;
        memcpy(tensor->shape, spec->shape, sizeof tensor->shape);
        status = pith_safetensors_dtype(&checkpoint->file, checkpoint->sources[i].weight,
                                        &tensor->dtype, err);
        if (status == PITH_OK) {
            status = checkpoint->sources[i].lora_a == NULL ? borrow(checkpoint, i, err)
                                                           : merge(checkpoint, i, lora, err);
        }
    }
    return status;
}

/* Names, shapes and dtypes first, because they cost nothing; then every byte once. */
static pith_status bind(pith_checkpoint *checkpoint, const char *dir, pith_err *err) {
    pith_sha256 sha;
    uint8_t digest[PITH_SHA256_BYTES];
    pith_status status = assign(checkpoint, err);
    for (size_t i = 0; i < checkpoint->manifest.n && status == PITH_OK; i++) {
        status = check_source(checkpoint, i, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    pith_lora lora = {0};
    if (has_adapters(checkpoint)) {
        status = pith_lora_open(&lora, dir, err);
    }
    if (status == PITH_OK) {
        pith_sha256_init(&sha);
        status = pith_safetensors_verify(&checkpoint->file, &sha, err);
    }
    if (status == PITH_OK) {
        pith_sha256_final(&sha, digest);
        status = pith_fingerprint(dir, digest, checkpoint->sha256, err);
    }
    if (status == PITH_OK) {
        status = fill(checkpoint, &lora, err);
    }
    pith_lora_close(&lora);
    return status;
}

static pith_status allocate(pith_checkpoint *checkpoint, pith_err *err) {
    size_t n = checkpoint->manifest.n;
    checkpoint->sources = calloc(n, sizeof *checkpoint->sources);
    checkpoint->tensors = calloc(n, sizeof *checkpoint->tensors);
    checkpoint->owned = calloc(n, sizeof *checkpoint->owned);
    if (checkpoint->sources == NULL || checkpoint->tensors == NULL || checkpoint->owned == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for %zu tensors",
                         checkpoint->file.label, n);
    }
    return PITH_OK;
}

static pith_status open_file(pith_checkpoint *checkpoint, const char *dir, pith_err *err) {
    char path[PITH_PATH_BYTES];
    pith_status status = pith_join_path(path, dir, "model.safetensors", err);
    if (status == PITH_OK) {
        status = pith_safetensors_open(&checkpoint->file, path, err);
    }
    if (status == PITH_NOT_FOUND) {
        char pickle[PITH_PATH_BYTES];
        if (pith_join_path(pickle, dir, "merged.pt", NULL) == PITH_OK &&
            access(pickle, F_OK) == 0) {
            char label[PITH_LABEL_BYTES];
            pith_label(label, path);
            return pith_fail(err, PITH_NOT_FOUND,
                             "%s: found merged.pt instead, expected it to be converted by "
                             "models/convert.py",
                             label);
        }
    }
    return status;
}

pith_status pith_checkpoint_open(pith_checkpoint **checkpoint, const char *dir,
                                 const pith_model_config *config, pith_err *err) {
    *checkpoint = NULL;
    pith_checkpoint *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "checkpoint: no memory");
    }
    pith_status status = open_file(made, dir, err);
    if (status == PITH_OK) {
        status = pith_manifest_init(&made->manifest, config, err);
    }
    if (status == PITH_OK) {
        status = allocate(made, err);
    }
    if (status == PITH_OK) {
        status = bind(made, dir, err);
    }
    if (status != PITH_OK) {
        pith_checkpoint_close(made);
        return status;
    }
    free(made->sources);
    made->sources = NULL;
    *checkpoint = made;
    return PITH_OK;
}

void pith_checkpoint_close(pith_checkpoint *checkpoint) {
    if (checkpoint == NULL) {
        return;
    }
    for (size_t i = 0; checkpoint->owned != NULL && i < checkpoint->manifest.n; i++) {
        if (checkpoint->owned[i].data != NULL) {
            (void)munmap(checkpoint->owned[i].data, checkpoint->owned[i].bytes);
        }
    }
    free(checkpoint->owned);
    free(checkpoint->tensors);
    free(checkpoint->sources);
    pith_manifest_reset(&checkpoint->manifest);
    pith_safetensors_close(&checkpoint->file);
    free(checkpoint);
}

const pith_tensor *pith_checkpoint_tensor(const pith_checkpoint *checkpoint, const char *name) {
    size_t index = pith_manifest_find(&checkpoint->manifest, name);
    return index == checkpoint->manifest.n ? NULL : &checkpoint->tensors[index];
}

void pith_checkpoint_discard(const pith_checkpoint *checkpoint, const pith_tensor *tensor) {
    size_t index = (size_t)(tensor - checkpoint->tensors);
    const owned *memory = &checkpoint->owned[index];
    if (memory->data != NULL) {
        (void)madvise(memory->data, memory->bytes, MADV_DONTNEED);
        return;
    }
    size_t offset = (size_t)((const char *)tensor->data - checkpoint->file.file.data);
    pith_file_discard(&checkpoint->file.file, offset,
                      pith_tensor_count(tensor) * pith_dtype_bytes(tensor->dtype));
}

const char *pith_checkpoint_sha256(const pith_checkpoint *checkpoint) {
    return checkpoint->sha256;
}

size_t pith_checkpoint_parameters(const pith_checkpoint *checkpoint) {
    size_t count = 0;
    for (size_t i = 0; i < checkpoint->manifest.n; i++) {
        count += pith_tensor_count(&checkpoint->tensors[i]);
    }
    return count;
}
