/* Strict reading of the small JSON files beside the weights, and text that is safe in one line.
 *
 * Owns nothing beyond what a caller opens and decrefs. Duplicate keys, invalid UTF-8 and numbers
 * that do not fit are refused. Errors read "FILE: KEY: found X, expected Y". */
#ifndef PITH_WEIGHTS_JSON_H
#define PITH_WEIGHTS_JSON_H

#include "runtime/base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_LABEL_BYTES = 160,         /* a path in an error text: a third of PITH_ERR_TEXT_BYTES */
    PITH_FOUND_BYTES = 96,          /* a found value in an error text */
    PITH_PATH_BYTES = 4096,         /* PATH_MAX of Linux */
    PITH_JSON_FILE_BYTES = 1 << 20, /* config.json and adapter_config.json: 1-4 KiB are usual */
    PITH_JSON_STRING_BYTES = 4096   /* one string value of them */
};

/* The last part of `path` that fits PITH_LABEL_BYTES, without control characters. */
void pith_label(char label[PITH_LABEL_BYTES], const char *path);

/* `text` with control and non-ASCII bytes as '?', cut to `cap` bytes with "..." at the end. */
void pith_printable(char *out, size_t cap, const char *text);

/* DIR/NAME into path; PITH_INVALID when it is too long. */
PITH_MUST_USE pith_status pith_join_path(char path[PITH_PATH_BYTES], const char *dir,
                                         const char *name, pith_err *err);

/* Parses [len] bytes that must hold one object. *root is owned by the caller (json_decref). */
PITH_MUST_USE pith_status pith_json_parse(json_t **root, const char *data, size_t len,
                                          const char *label, pith_err *err);

/* Reads and parses DIR/NAME. */
PITH_MUST_USE pith_status pith_json_read(json_t **root, const char *dir, const char *name,
                                         char label[PITH_LABEL_BYTES], pith_err *err);

/* A value as it is shown in an error: a number, "text", true, an array of n, ... */
void pith_json_found(const json_t *value, char found[PITH_FOUND_BYTES]);

/* An object of a file that is being read, and where it is, for errors. */
typedef struct pith_json_scope {
    const json_t *object;
    const char *label;  /* file */
    const char *prefix; /* "" or "pith." or the like, before each key in an error */
} pith_json_scope;

/* A key's value, NULL when it is absent or null. */
const json_t *pith_json_get(const pith_json_scope *scope, const char *key);

/* Each reader leaves *out alone when the key is absent or null. */
PITH_MUST_USE pith_status pith_json_u32(const pith_json_scope *scope, const char *key, uint32_t min,
                                        uint32_t max, uint32_t *out, pith_err *err);
PITH_MUST_USE pith_status pith_json_real(const pith_json_scope *scope, const char *key, double min,
                                         double max, double *out, pith_err *err);
PITH_MUST_USE pith_status pith_json_bool(const pith_json_scope *scope, const char *key, bool *out,
                                         pith_err *err);
/* Borrowed from the object. */
PITH_MUST_USE pith_status pith_json_text(const pith_json_scope *scope, const char *key,
                                         const char **out, pith_err *err);
/* A nested object, borrowed; NULL when absent or null. */
PITH_MUST_USE pith_status pith_json_object(const pith_json_scope *scope, const char *key,
                                           const json_t **out, pith_err *err);

/* Records "FILE: KEY: found X, expected EXPECTED" as PITH_CORRUPT. */
pith_status pith_json_refuse(const pith_json_scope *scope, const char *key, const json_t *value,
                             const char *expected, pith_err *err);

/* The same as PITH_UNSUPPORTED. */
pith_status pith_json_unsupported(const pith_json_scope *scope, const char *key,
                                  const json_t *value, const char *expected, pith_err *err);

#endif
