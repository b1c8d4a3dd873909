/* CompressResponse as proto3 JSON: lowerCamel names, every scalar present, defaults included, enums
 * by name. Pure functions. */
#ifndef PITH_SERVER_GRPC_RESPONSE_JSON_H
#define PITH_SERVER_GRPC_RESPONSE_JSON_H

#include "pith/v1/compression.pb-c.h"
#include "runtime/base/status.h"

#include <stddef.h>
#include <stdio.h>

/* One object on one line, without a line end, in a malloc'ed, NUL-ended string; *len without the
 * NUL. An unset explanation or timing is left out; an enum value without a name is its number. */
PITH_MUST_USE pith_status pith_response_to_json(const Pith__V1__CompressResponse *response,
                                                char **json, size_t *len, pith_err *err);

/* The same, with a line end, to a file. PITH_IO when it cannot be written. */
PITH_MUST_USE pith_status pith_response_print_json(const Pith__V1__CompressResponse *response,
                                                   FILE *file, pith_err *err);

#endif
