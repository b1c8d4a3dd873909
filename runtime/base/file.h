/* Whole files: read into memory, or mapped read-only.
 *
 * A pith_file owns its bytes until pith_file_close. Any thread may read a mapped file. A mapped
 * file that another process truncates raises SIGBUS: model files are not written in place. */
#ifndef PITH_BASE_FILE_H
#define PITH_BASE_FILE_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct pith_file {
    const char *data; /* [len], then a NUL when read, not when mapped */
    size_t len;
    bool mapped;
} pith_file;

/* Reads at most `bytes_max` bytes of `path` ("-" is standard input). A longer file is
 * PITH_INVALID; one that cannot be read is PITH_NOT_FOUND or PITH_IO. */
PITH_MUST_USE pith_status pith_file_read(pith_file *file, const char *path, size_t bytes_max,
                                         pith_err *err);

/* Maps a regular file read-only. An empty file is PITH_CORRUPT. */
PITH_MUST_USE pith_status pith_file_map(pith_file *file, const char *path, pith_err *err);

/* Tells the system that the mapped bytes [offset, offset + len) will not be read again soon. */
void pith_file_discard(const pith_file *file, size_t offset, size_t len);

void pith_file_close(pith_file *file);

#endif
