/* A flat YAML file: scalars, and lists of scalars, under top-level keys. */
#ifndef PITH_SERVER_COMMON_YAML_FILE_H
#define PITH_SERVER_COMMON_YAML_FILE_H

#include "runtime/base/status.h"

enum { PITH_YAML_FILE_BYTES_MAX = 1024 * 1024 };

typedef pith_status (*pith_yaml_entry_fn)(void *user, const char *path, const char *key,
                                          const char *value, pith_err *err);

/* Calls `entry` for each "key: value" and each item of "key: [a, b]", in order; stops at the first
 * failure. Nested mappings, aliases and duplicate keys are PITH_INVALID with the line. */
PITH_MUST_USE pith_status pith_yaml_file_read(const char *path, pith_yaml_entry_fn entry,
                                              void *user, pith_err *err);

#endif
