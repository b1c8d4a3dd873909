/* Names in a serialized google.protobuf.FileDescriptorSet -> the file that declares them.
 *
 * The index borrows the set's bytes (they are embedded in the program) and owns its tables; it is
 * immutable after open: any thread. Files are handed out as the raw bytes of the set, so nothing is
 * lost by re-encoding. */
#ifndef PITH_SERVER_GRPC_DESCRIPTOR_INDEX_H
#define PITH_SERVER_GRPC_DESCRIPTOR_INDEX_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pith_descriptor_index pith_descriptor_index;

enum {
    PITH_DESCRIPTOR_FILES_MAX = 64,
    PITH_DESCRIPTOR_IMPORTS_MAX = 16, /* of one file */
    PITH_DESCRIPTOR_SYMBOLS_MAX = 4096,
    PITH_DESCRIPTOR_NESTING_MAX = 8 /* message in message */
};

#define PITH_DESCRIPTOR_NONE SIZE_MAX

typedef struct pith_descriptor_file {
    const uint8_t *data; /* [len] FileDescriptorProto */
    size_t len;
} pith_descriptor_file;

/* PITH_CORRUPT: the set is malformed or over a limit; PITH_NO_MEMORY. */
PITH_MUST_USE pith_status pith_descriptor_index_open(pith_descriptor_index **index,
                                                     const uint8_t *set, size_t len, pith_err *err);
void pith_descriptor_index_close(pith_descriptor_index *index);

/* The file of that name ("pith/v1/compression.proto"), or PITH_DESCRIPTOR_NONE. */
size_t pith_descriptor_find_file(const pith_descriptor_index *index, const char *name);

/* The file that declares a fully qualified name: package.Service, .Service.Method, .Message, its
 * fields, oneofs, nested types, enums and their values (which live beside their enum). */
size_t pith_descriptor_find_symbol(const pith_descriptor_index *index, const char *name);

/* `file`, then everything it imports, each once, in files[PITH_DESCRIPTOR_FILES_MAX]; returns how
 * many. A client without a cache can load them all from one answer. */
size_t pith_descriptor_closure(const pith_descriptor_index *index, size_t file,
                               pith_descriptor_file *files);

#endif
