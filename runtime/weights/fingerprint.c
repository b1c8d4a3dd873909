#include "runtime/weights/fingerprint.h"

#include "runtime/base/file.h"
#include "runtime/weights/json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pith_status hash_file(const char *path, uint8_t digest[PITH_SHA256_BYTES], pith_err *err) {
    pith_file file;
    pith_sha256 sha;
    pith_status status = pith_file_map(&file, path, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_sha256_init(&sha);
    pith_sha256_update(&sha, file.data, file.len);
    pith_sha256_final(&sha, digest);
    pith_file_close(&file);
    return PITH_OK;
}

pith_status pith_fingerprint(const char *dir, const uint8_t tensors[PITH_SHA256_BYTES],
                             char hex[PITH_SHA256_HEX_BYTES], pith_err *err) {
    static const char *const names[] = {"adapter_config.json", "config.json", "model.safetensors",
                                        "tokenizer.json"};
    enum { TENSORS = 2 };
    pith_sha256 whole;
    pith_sha256_init(&whole);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PITH_PATH_BYTES];
        char line[PITH_SHA256_HEX_BYTES + 64];
        uint8_t digest[PITH_SHA256_BYTES];
        pith_status status = pith_join_path(path, dir, names[i], err);
        if (status == PITH_OK && i != TENSORS && access(path, F_OK) != 0) {
            continue;
        }
        memcpy(digest, tensors, sizeof digest);
        if (status == PITH_OK && i != TENSORS) {
            status = hash_file(path, digest, err);
        }
        if (status != PITH_OK) {
            return status;
        }
        pith_sha256_hex(digest, hex);
        int len = snprintf(line, sizeof line, "%s  %s\n", hex, names[i]);
        pith_sha256_update(&whole, line, (size_t)len);
    }
    uint8_t digest[PITH_SHA256_BYTES];
    pith_sha256_final(&whole, digest);
    pith_sha256_hex(digest, hex);
    return PITH_OK;
}
