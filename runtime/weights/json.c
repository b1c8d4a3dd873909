#include "runtime/weights/json.h"

#include "runtime/base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void pith_printable(char *out, size_t cap, const char *text) {
    size_t len = 0;
    for (; text[len] != '\0' && len + 1 < cap; len++) {
        unsigned char c = (unsigned char)text[len];
        out[len] = (char)(c < 0x20 || c >= 0x7f ? '?' : c);
    }
    out[len] = '\0';
    if (text[len] != '\0' && len >= 3) {
        memcpy(out + len - 3, "...", 3);
    }
}

void pith_label(char label[PITH_LABEL_BYTES], const char *path) {
    size_t len = strlen(path);
    if (len < PITH_LABEL_BYTES) {
        pith_printable(label, PITH_LABEL_BYTES, path);
        return;
    }
    pith_printable(label, PITH_LABEL_BYTES, path + len - (PITH_LABEL_BYTES - 1));
    memcpy(label, "...", 3);
}

pith_status pith_join_path(char path[PITH_PATH_BYTES], const char *dir, const char *name,
                           pith_err *err) {
    int len = snprintf(path, PITH_PATH_BYTES, "%s/%s", dir, name);
    if (len < 0 || len >= PITH_PATH_BYTES) {
        return pith_fail(err, PITH_INVALID, "%s: path of %d bytes, expected under %d", name, len,
                         PITH_PATH_BYTES);
    }
    return PITH_OK;
}

pith_status pith_json_parse(json_t **root, const char *data, size_t len, const char *label,
                            pith_err *err) {
    json_error_t error;
    *root = json_loadb(data, len, JSON_REJECT_DUPLICATES, &error);
    if (*root == NULL) {
        char text[PITH_FOUND_BYTES + 32];
        pith_printable(text, sizeof text, error.text);
        return pith_fail(err, PITH_CORRUPT, "%s: JSON at byte %d: found: %s, expected an object",
                         label, error.position, text);
    }
    if (!json_is_object(*root)) {
        char found[PITH_FOUND_BYTES];
        pith_json_found(*root, found);
        json_decref(*root);
        *root = NULL;
        return pith_fail(err, PITH_CORRUPT, "%s: found %s, expected a JSON object", label, found);
    }
    return PITH_OK;
}

pith_status pith_json_read(json_t **root, const char *dir, const char *name,
                           char label[PITH_LABEL_BYTES], pith_err *err) {
    char path[PITH_PATH_BYTES];
    pith_file file;
    *root = NULL;
    pith_status status = pith_join_path(path, dir, name, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_label(label, path);
    status = pith_file_read(&file, path, PITH_JSON_FILE_BYTES, err);
    if (status == PITH_OK) {
        status = pith_json_parse(root, file.data, file.len, label, err);
        pith_file_close(&file);
    }
    return status;
}

void pith_json_found(const json_t *value, char found[PITH_FOUND_BYTES]) {
    char text[PITH_FOUND_BYTES - 2];
    switch (value == NULL ? JSON_NULL : json_typeof(value)) {
    case JSON_OBJECT:
        (void)snprintf(found, PITH_FOUND_BYTES, "an object of %zu", json_object_size(value));
        return;
    case JSON_ARRAY:
        (void)snprintf(found, PITH_FOUND_BYTES, "an array of %zu", json_array_size(value));
        return;
    case JSON_STRING:
        pith_printable(text, sizeof text, json_string_value(value));
        (void)snprintf(found, PITH_FOUND_BYTES, "\"%s\"", text);
        return;
    case JSON_INTEGER:
        (void)snprintf(found, PITH_FOUND_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        (void)snprintf(found, PITH_FOUND_BYTES, "%.9g", json_real_value(value));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        (void)snprintf(found, PITH_FOUND_BYTES, "%s", json_is_true(value) ? "true" : "false");
        return;
    case JSON_NULL:
        break;
    }
    (void)snprintf(found, PITH_FOUND_BYTES, "nothing");
}

static pith_status refuse_as(pith_status status, const pith_json_scope *scope, const char *key,
                             const json_t *value, const char *expected, pith_err *err) {
    char found[PITH_FOUND_BYTES];
    char name[PITH_FOUND_BYTES];
    pith_json_found(value, found);
    pith_printable(name, sizeof name, key);
    return pith_fail(err, status, "%s: %s%s: found %s, expected %s", scope->label, scope->prefix,
                     name, found, expected);
}

pith_status pith_json_refuse(const pith_json_scope *scope, const char *key, const json_t *value,
                             const char *expected, pith_err *err) {
    return refuse_as(PITH_CORRUPT, scope, key, value, expected, err);
}

pith_status pith_json_unsupported(const pith_json_scope *scope, const char *key,
                                  const json_t *value, const char *expected, pith_err *err) {
    return refuse_as(PITH_UNSUPPORTED, scope, key, value, expected, err);
}

const json_t *pith_json_get(const pith_json_scope *scope, const char *key) {
    const json_t *value = json_object_get(scope->object, key);
    return json_is_null(value) ? NULL : value;
}

pith_status pith_json_u32(const pith_json_scope *scope, const char *key, uint32_t min, uint32_t max,
                          uint32_t *out, pith_err *err) {
    const json_t *value = pith_json_get(scope, key);
    if (value == NULL) {
        return PITH_OK;
    }
    json_int_t number = json_integer_value(value); /* 0 when it is none */
    if (!json_is_integer(value) || number < (json_int_t)min || number > (json_int_t)max) {
        char expected[PITH_FOUND_BYTES];
        (void)snprintf(expected, sizeof expected, "an integer from %u to %u", min, max);
        return pith_json_refuse(scope, key, value, expected, err);
    }
    *out = (uint32_t)number;
    return PITH_OK;
}

pith_status pith_json_real(const pith_json_scope *scope, const char *key, double min, double max,
                           double *out, pith_err *err) {
    const json_t *value = pith_json_get(scope, key);
    if (value == NULL) {
        return PITH_OK;
    }
    double number = json_is_number(value) ? json_number_value(value) : (double)NAN;
    if (!(number >= min && number <= max)) {
        char expected[PITH_FOUND_BYTES];
        (void)snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
        return pith_json_refuse(scope, key, value, expected, err);
    }
    *out = number;
    return PITH_OK;
}

pith_status pith_json_bool(const pith_json_scope *scope, const char *key, bool *out,
                           pith_err *err) {
    const json_t *value = pith_json_get(scope, key);
    if (value == NULL) {
        return PITH_OK;
    }
    if (!json_is_boolean(value)) {
        return pith_json_refuse(scope, key, value, "true or false", err);
    }
    *out = json_is_true(value);
    return PITH_OK;
}

pith_status pith_json_text(const pith_json_scope *scope, const char *key, const char **out,
                           pith_err *err) {
    const json_t *value = pith_json_get(scope, key);
    if (value == NULL) {
        return PITH_OK;
    }
    if (!json_is_string(value) || json_string_length(value) > PITH_JSON_STRING_BYTES) {
        return pith_json_refuse(scope, key, value, "a string of at most 4096 bytes", err);
    }
    *out = json_string_value(value);
    return PITH_OK;
}

pith_status pith_json_object(const pith_json_scope *scope, const char *key, const json_t **out,
                             pith_err *err) {
    *out = pith_json_get(scope, key);
    if (*out != NULL && !json_is_object(*out)) {
        return pith_json_refuse(scope, key, *out, "an object", err);
    }
    return PITH_OK;
}
