/* Model folders for tests: a temporary folder, its files, and the committed fixtures.
 *
 * A weights_folder owns the folder on disk until weights_folder_remove. Helpers fail the cmocka
 * test on any error of the file system. */
#ifndef PITH_TESTS_SUPPORT_WEIGHTS_FIXTURE_H
#define PITH_TESTS_SUPPORT_WEIGHTS_FIXTURE_H

#include <stddef.h>

enum { WEIGHTS_PATH_BYTES = 1024 };

typedef struct weights_folder {
    char path[WEIGHTS_PATH_BYTES];
} weights_folder;

void weights_folder_make(weights_folder *folder);
void weights_folder_remove(const weights_folder *folder);

/* Writes FOLDER/NAME. */
void weights_write(const weights_folder *folder, const char *name, const void *data, size_t len);

/* The bytes of DIR/NAME, malloc'd; *len their number. */
char *weights_read(const char *dir, const char *name, size_t *len);

/* Copies DIR/NAME into the folder. */
void weights_copy(const weights_folder *folder, const char *dir, const char *name);

/* tests/golden/weights/NAME of the source tree (PITH_SOURCE, else the current folder). */
void weights_golden(char path[WEIGHTS_PATH_BYTES], const char *name);

/* A safetensors file in memory: header_len (SIZE_MAX: the header's own), header, data; malloc'd. */
char *weights_safetensors(const char *header, size_t header_len, const void *data, size_t data_len,
                          size_t *len);

/* Fails unless every one of the NULL-ended parts is in the text, and the text is one line. */
void weights_assert_text(const char *text, const char *const *parts);

#endif
