#include "runtime/weights/safetensors.h"

#include "runtime/base/size.h"
#include "runtime/weights/finite.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_BYTES = 8, /* the header length, little-endian */
    REFUSAL_BYTES = 256,
    VERIFY_BLOCK_BYTES = 1 << 20 /* hashed and scanned while it is in L2 */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors data is little-endian");

/* The format's dtypes of whole bytes, and their sizes. */
static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},     {"I64", 8},
              {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},
              {"U16", 2}, {"U8", 1},  {"BOOL", 1}, {"F8_E5M2", 1}, {"F8_E4M3", 1}};
enum { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPES = sizeof dtypes / sizeof *dtypes };

pith_status pith_safetensors_refuse(const pith_safetensors *st, const char *name, pith_err *err,
                                    const char *fmt, ...) {
    char text[REFUSAL_BYTES];
    char printable[PITH_FOUND_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    pith_printable(printable, sizeof printable, name);
    return pith_fail(err, PITH_CORRUPT, "%s: tensor %s: %s", st->label, printable, text);
}

void pith_shape_text(char text[PITH_SHAPE_TEXT_BYTES], const size_t *shape, uint32_t n_dims) {
    size_t len = (size_t)snprintf(text, PITH_SHAPE_TEXT_BYTES, "[");
    for (uint32_t i = 0; i < n_dims && i < PITH_DIMS_MAX; i++) {
        /* 20 digits and ", " at most each: four of them fit. */
        len += (size_t)snprintf(text + len, PITH_SHAPE_TEXT_BYTES - len, "%s%zu",
                                i == 0 ? "" : ", ", shape[i]);
    }
    (void)snprintf(text + len, PITH_SHAPE_TEXT_BYTES - len, "]");
}

static pith_status refuse_value(const pith_safetensors *st, const char *name, const char *key,
                                const json_t *value, const char *expected, pith_err *err) {
    char found[PITH_FOUND_BYTES];
    pith_json_found(value, found);
    return pith_safetensors_refuse(st, name, err, "%s: found %s, expected %s", key, found,
                                   expected);
}

static pith_status read_dtype(const pith_safetensors *st, const json_t *object,
                              pith_safetensors_entry *entry, pith_err *err) {
    const json_t *value = json_object_get(object, "dtype");
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    for (uint32_t i = 0; i < DTYPES; i++) {
        if (strcmp(text, dtypes[i].name) == 0) {
            entry->dtype = i;
            return PITH_OK;
        }
    }
    return refuse_value(st, entry->name, "dtype", value, "F32, F16 or BF16", err);
}

/* The shape, and in *bytes what it takes. */
static pith_status read_shape(const pith_safetensors *st, const json_t *object,
                              pith_safetensors_entry *entry, size_t *bytes, pith_err *err) {
    const json_t *value = json_object_get(object, "shape");
    if (!json_is_array(value) || json_array_size(value) > PITH_DIMS_MAX) {
        return refuse_value(st, entry->name, "shape", value, "an array of at most 4", err);
    }
    entry->n_dims = (uint32_t)json_array_size(value);
    *bytes = dtypes[entry->dtype].bytes;
    for (uint32_t i = 0; i < entry->n_dims; i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            return refuse_value(st, entry->name, "shape", item, "an integer of 0 or more", err);
        }
        entry->shape[i] = (size_t)json_integer_value(item);
        if (!pith_size_mul(*bytes, entry->shape[i], bytes)) {
            return refuse_value(st, entry->name, "shape", item, "a size under 2^64 bytes", err);
        }
    }
    return PITH_OK;
}

/* data_offsets count from the start of the data section. */
static pith_status read_offsets(const pith_safetensors *st, const json_t *object, size_t data_begin,
                                size_t shape_bytes, pith_safetensors_entry *entry, pith_err *err) {
    const json_t *value = json_object_get(object, "data_offsets");
    const json_t *first = json_array_get(value, 0);
    const json_t *last = json_array_get(value, 1);
    size_t data_len = st->file.len - data_begin;
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last)) {
        return refuse_value(st, entry->name, "data_offsets", value, "two integers", err);
    }
    json_int_t begin = json_integer_value(first);
    json_int_t end = json_integer_value(last);
    if (begin < 0 || end < begin) {
        return pith_safetensors_refuse(st, entry->name, err,
                                       "data_offsets: found %lld to %lld, expected 0 or more, "
                                       "ascending",
                                       (long long)begin, (long long)end);
    }
    if ((size_t)end > data_len) {
        return pith_safetensors_refuse(st, entry->name, err,
                                       "data_offsets: found an end of %lld, expected at most %zu, "
                                       "the data that the file holds",
                                       (long long)end, data_len);
    }
    entry->begin = data_begin + (size_t)begin;
    entry->bytes = (size_t)(end - begin);
    if (entry->bytes != shape_bytes) {
        char shape[PITH_SHAPE_TEXT_BYTES];
        pith_shape_text(shape, entry->shape, entry->n_dims);
        return pith_safetensors_refuse(st, entry->name, err,
                                       "data_offsets: found %zu bytes, expected %zu for %s %s",
                                       entry->bytes, shape_bytes, dtypes[entry->dtype].name, shape);
    }
    return PITH_OK;
}

static pith_status read_entry(const pith_safetensors *st, const char *name, const json_t *object,
                              size_t data_begin, pith_safetensors_entry *entry, pith_err *err) {
    *entry = (pith_safetensors_entry){.name = name};
    if (!json_is_object(object) || json_object_size(object) != 3) {
        return refuse_value(st, name, "entry", object, "an object of dtype, shape and data_offsets",
                            err);
    }
    size_t shape_bytes = 0;
    pith_status status = read_dtype(st, object, entry, err);
    if (status == PITH_OK) {
        status = read_shape(st, object, entry, &shape_bytes, err);
    }
    if (status == PITH_OK) {
        status = read_offsets(st, object, data_begin, shape_bytes, entry, err);
    }
    return status;
}

/* "__metadata__" maps strings to strings and is not used. */
static pith_status check_metadata(const pith_safetensors *st, const json_t *object, pith_err *err) {
    if (!json_is_object(object)) {
        return refuse_value(st, "__metadata__", "entry", object, "an object of strings", err);
    }
    const char *key;
    json_t *value;
    /* jansson's iterators take a non-const object and do not change it. */
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (!json_is_string(value)) {
            return refuse_value(st, "__metadata__", "value", value, "a string", err);
        }
    }
    return PITH_OK;
}

static int by_begin(const void *a, const void *b) {
    const pith_safetensors_entry *left = a;
    const pith_safetensors_entry *right = b;
    if (left->begin != right->begin) {
        return left->begin < right->begin ? -1 : 1;
    }
    return (left->bytes > right->bytes) - (left->bytes < right->bytes);
}

/* Tensors follow each other without gap or overlap from the start of the data to its end. */
static pith_status check_cover(const pith_safetensors *st, size_t data_begin, pith_err *err) {
    size_t at = data_begin;
    const char *before = "the header";
    char printable[PITH_FOUND_BYTES];
    for (size_t i = 0; i < st->n; i++) {
        const pith_safetensors_entry *entry = &st->entries[i];
        if (entry->begin != at) {
            pith_printable(printable, sizeof printable, before);
            return pith_safetensors_refuse(
                st, entry->name, err, "data_offsets: found a begin of %zu, expected %zu (%s %s)",
                entry->begin - data_begin, at - data_begin,
                entry->begin < at ? "it overlaps" : "a gap after", printable);
        }
        at += entry->bytes;
        before = entry->name;
    }
    if (at != st->file.len) {
        return pith_safetensors_refuse(st, before, err,
                                       "data_offsets: found an end of %zu, expected %zu, the end "
                                       "of the file",
                                       at - data_begin, st->file.len - data_begin);
    }
    return PITH_OK;
}

/* Every entry of the header; `st->entries` has room for all of them. */
static pith_status read_entries(pith_safetensors *st, size_t data_begin, pith_err *err) {
    const char *name;
    json_t *object;
    json_object_foreach(st->header, name, object) {
        pith_status status;
        if (strcmp(name, "__metadata__") == 0) {
            status = check_metadata(st, object, err);
        } else {
            status = read_entry(st, name, object, data_begin, &st->entries[st->n], err);
            st->n++;
        }
        if (status != PITH_OK) {
            return status;
        }
    }
    qsort(st->entries, st->n, sizeof *st->entries, by_begin);
    return check_cover(st, data_begin, err);
}

static pith_status read_header(pith_safetensors *st, pith_err *err) {
    const char *data = st->file.data;
    uint64_t header_len;
    if (st->file.len < LENGTH_BYTES) {
        return pith_fail(err, PITH_CORRUPT,
                         "%s: header: found a file of %zu bytes, expected 8 or "
                         "more",
                         st->label, st->file.len);
    }
    memcpy(&header_len, data, LENGTH_BYTES);
    size_t rest = st->file.len - LENGTH_BYTES;
    size_t header_max = rest < PITH_SAFETENSORS_HEADER_MAX ? rest : PITH_SAFETENSORS_HEADER_MAX;
    if (header_len < 2 || header_len > header_max) {
        return pith_fail(err, PITH_CORRUPT,
                         "%s: header: found a length of %llu bytes, expected 2 to %zu", st->label,
                         (unsigned long long)header_len, header_max);
    }
    if (data[LENGTH_BYTES] != '{') {
        return pith_fail(err, PITH_CORRUPT, "%s: header: found byte 0x%02x, expected '{'",
                         st->label, (unsigned char)data[LENGTH_BYTES]);
    }
    char label[PITH_LABEL_BYTES + 16];
    (void)snprintf(label, sizeof label, "%s: header", st->label);
    return pith_json_parse(&st->header, data + LENGTH_BYTES, (size_t)header_len, label, err);
}

/* Everything after st->file is set. */
static pith_status parse(pith_safetensors *st, const char *label, pith_err *err) {
    pith_label(st->label, label);
    pith_status status = read_header(st, err);
    if (status != PITH_OK) {
        return status;
    }
    uint64_t header_len;
    memcpy(&header_len, st->file.data, LENGTH_BYTES);
    size_t n = json_object_size(st->header);
    if (n == 0 || n > PITH_SAFETENSORS_TENSORS_MAX) {
        return pith_fail(err, PITH_CORRUPT, "%s: header: found %zu tensors, expected 1 to %d",
                         st->label, n, PITH_SAFETENSORS_TENSORS_MAX);
    }
    st->entries = calloc(n, sizeof *st->entries);
    if (st->entries == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for %zu tensors", st->label, n);
    }
    return read_entries(st, LENGTH_BYTES + (size_t)header_len, err);
}

pith_status pith_safetensors_open(pith_safetensors *st, const char *path, pith_err *err) {
    *st = (pith_safetensors){0};
    pith_status status = pith_file_map(&st->file, path, err);
    if (status == PITH_OK) {
        status = parse(st, path, err);
    }
    if (status != PITH_OK) {
        pith_safetensors_close(st);
    }
    return status;
}

pith_status pith_safetensors_parse(pith_safetensors *st, const char *data, size_t len,
                                   const char *label, pith_err *err) {
    *st = (pith_safetensors){.file = {.data = data, .len = len}};
    pith_status status = parse(st, label, err);
    if (status != PITH_OK) {
        pith_safetensors_close(st);
    }
    return status;
}

void pith_safetensors_close(pith_safetensors *st) {
    json_decref(st->header);
    free(st->entries);
    if (st->file.mapped) { /* memory given to _parse stays the caller's */
        pith_file_close(&st->file);
    }
    *st = (pith_safetensors){0};
}

pith_status pith_safetensors_dtype(const pith_safetensors *st, const pith_safetensors_entry *entry,
                                   pith_dtype *dtype, pith_err *err) {
    switch (entry->dtype) {
    case DTYPE_F32:
        *dtype = PITH_F32;
        return PITH_OK;
    case DTYPE_F16:
        *dtype = PITH_F16;
        return PITH_OK;
    case DTYPE_BF16:
        *dtype = PITH_BF16;
        return PITH_OK;
    default:
        return pith_safetensors_refuse(st, entry->name, err,
                                       "dtype: found %s, expected F32, F16 or BF16",
                                       dtypes[entry->dtype].name);
    }
}

const void *pith_safetensors_data(const pith_safetensors *st, const pith_safetensors_entry *entry) {
    return st->file.data + entry->begin;
}

/* The finite check of one block of an entry; `from` is the block's first byte in the tensor. */
static pith_status verify_block(const pith_safetensors *st, const pith_safetensors_entry *entry,
                                size_t from, size_t len, pith_err *err) {
    static const pith_dtype floats[] = {PITH_F32, PITH_F16, PITH_BF16};
    if (entry->dtype > DTYPE_BF16) {
        return PITH_OK;
    }
    pith_dtype dtype = floats[entry->dtype];
    size_t size = pith_dtype_bytes(dtype);
    const char *block = st->file.data + entry->begin + from;
    size_t bad = pith_finite_prefix(block, dtype, len / size);
    if (bad == len / size) {
        return PITH_OK;
    }
    pith_tensor tensor = {.data = block + bad * size, .dtype = dtype};
    uint32_t aligned = 0;
    memcpy(&aligned, tensor.data, size);
    tensor.data = &aligned;
    float value;
    pith_tensor_to_f32(&tensor, &value); /* no dimensions: one element */
    return pith_safetensors_refuse(st, entry->name, err,
                                   "value: found %s at element %zu, expected finite numbers",
                                   value != value ? "NaN" : "infinity", from / size + bad);
}

pith_status pith_safetensors_verify(const pith_safetensors *st, pith_sha256 *sha, pith_err *err) {
    size_t data_begin = st->n == 0 ? st->file.len : st->entries[0].begin;
    if (sha != NULL) {
        pith_sha256_update(sha, st->file.data, data_begin);
    }
    for (size_t i = 0; i < st->n; i++) {
        const pith_safetensors_entry *entry = &st->entries[i];
        for (size_t from = 0; from < entry->bytes; from += VERIFY_BLOCK_BYTES) {
            size_t left = entry->bytes - from;
            size_t len = left < VERIFY_BLOCK_BYTES ? left : VERIFY_BLOCK_BYTES;
            pith_status status = verify_block(st, entry, from, len, err);
            if (status != PITH_OK) {
                return status;
            }
            if (sha != NULL) {
                pith_sha256_update(sha, st->file.data + entry->begin + from, len);
            }
            pith_file_discard(&st->file, entry->begin + from, len);
        }
    }
    return PITH_OK;
}
