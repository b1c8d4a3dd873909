#include "tests/support/weights_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void join(char path[WEIGHTS_PATH_BYTES], const char *dir, const char *name) {
    int len = snprintf(path, WEIGHTS_PATH_BYTES, "%s/%s", dir, name);
    assert_in_range(len, 1, WEIGHTS_PATH_BYTES - 1);
}

void weights_folder_make(weights_folder *folder) {
    const char *base = getenv("TMPDIR");
    join(folder->path, base == NULL ? "/tmp" : base, "pith-weights-??????");
    /* mkdtemp asks for six letters of this kind. */
    memset(folder->path + strlen(folder->path) - 6, 'X', 6);
    assert_non_null(mkdtemp(folder->path));
}

void weights_folder_remove(const weights_folder *folder) {
    static const char *const names[] = {"config.json", "model.safetensors", "adapter_config.json",
                                        "tokenizer.json", "merged.pt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[WEIGHTS_PATH_BYTES];
        join(path, folder->path, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder->path), 0);
}

void weights_write(const weights_folder *folder, const char *name, const void *data, size_t len) {
    char path[WEIGHTS_PATH_BYTES];
    join(path, folder->path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

char *weights_read(const char *dir, const char *name, size_t *len) {
    char path[WEIGHTS_PATH_BYTES];
    join(path, dir, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long end = ftell(file);
    assert_true(end >= 0);
    *len = (size_t)end;
    rewind(file);
    char *data = malloc(*len + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *len, file), *len);
    data[*len] = '\0';
    (void)fclose(file);
    return data;
}

void weights_copy(const weights_folder *folder, const char *dir, const char *name) {
    size_t len;
    char *data = weights_read(dir, name, &len);
    weights_write(folder, name, data, len);
    free(data);
}

void weights_golden(char path[WEIGHTS_PATH_BYTES], const char *name) {
    const char *source = getenv("PITH_SOURCE");
    int len = snprintf(path, WEIGHTS_PATH_BYTES, "%s/tests/golden/weights/%s",
                       source == NULL ? "." : source, name);
    assert_in_range(len, 1, WEIGHTS_PATH_BYTES - 1);
}

char *weights_safetensors(const char *header, size_t header_len, const void *data, size_t data_len,
                          size_t *len) {
    size_t text_len = strlen(header);
    uint64_t written = header_len == SIZE_MAX ? text_len : header_len;
    *len = sizeof written + text_len + data_len;
    char *file = malloc(*len);
    assert_non_null(file);
    memcpy(file, &written, sizeof written);
    memcpy(file + sizeof written, header, text_len);
    if (data_len > 0) {
        memcpy(file + sizeof written + text_len, data, data_len);
    }
    return file;
}

void weights_assert_text(const char *text, const char *const *parts) {
    if (strchr(text, '\n') != NULL) {
        fail_msg("more than one line: %s", text);
    }
    for (; *parts != NULL; parts++) {
        if (strstr(text, *parts) == NULL) {
            fail_msg("\"%s\" is missing in: %s", *parts, text);
        }
    }
}
