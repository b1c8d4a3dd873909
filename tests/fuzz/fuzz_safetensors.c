/* Fuzz target for what a model folder may hold. The first byte of the input chooses the reader:
 * 0 (or '0') model.safetensors, 1 config.json, 2 adapter_config.json; the rest is the file. */
#include "runtime/weights/config_parts.h"
#include "runtime/weights/layout.h"
#include "runtime/weights/lora.h"
#include "runtime/weights/manifest.h"
#include "runtime/weights/safetensors.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A status without a text, or a text of several lines, is a mistake of ours. */
static void check_error(pith_status status, const pith_err *err) {
    size_t len = 0;
    while (len < sizeof err->text && err->text[len] != '\0' && err->text[len] != '\n') {
        len++;
    }
    if (status != PITH_OK &&
        (len == 0 || len == sizeof err->text || err->text[len] != '\0' || err->status != status)) {
        abort();
    }
}

static void read_safetensors(const char *data, size_t len) {
    pith_safetensors st;
    pith_err err = {0};
    pith_status status = pith_safetensors_parse(&st, data, len, "model.safetensors", &err);
    check_error(status, &err);
    if (status != PITH_OK) {
        return;
    }
    size_t covered = 0;
    for (size_t i = 0; i < st.n; i++) {
        char canonical[PITH_TENSOR_NAME_BYTES];
        pith_dtype dtype;
        (void)pith_layout_role_of(st.entries[i].name, canonical);
        check_error(pith_safetensors_dtype(&st, &st.entries[i], &dtype, &err), &err);
        covered += st.entries[i].bytes;
    }
    if (covered > len) {
        abort();
    }
    pith_sha256 sha;
    pith_sha256_init(&sha);
    status = pith_safetensors_verify(&st, &sha, &err);
    check_error(status, &err);
    if (status == PITH_OK && sha.bytes != len) {
        abort();
    }
    pith_safetensors_close(&st);
}

static void read_config(const char *data, size_t len) {
    pith_model_config config;
    pith_manifest manifest;
    pith_err err = {0};
    pith_status status = pith_config_parse(&config, "fuzz", data, len, "config.json", &err);
    check_error(status, &err);
    if (status == PITH_OK && pith_manifest_init(&manifest, &config, &err) != PITH_OK) {
        abort(); /* an accepted config has a manifest */
    }
    if (status == PITH_OK) {
        pith_manifest_reset(&manifest);
    }
}

static void read_adapter(const char *data, size_t len) {
    pith_lora lora;
    pith_err err = {0};
    uint32_t rank;
    double scale;
    pith_status status = pith_lora_parse(&lora, data, len, "adapter_config.json", &err);
    check_error(status, &err);
    if (status == PITH_OK) {
        status = pith_lora_scale(&lora, "layers.0.attn.Wqkv", &rank, &scale, &err);
        check_error(status, &err);
        pith_lora_close(&lora);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    const char *file = (const char *)data + 1;
    switch (data[0] % 3) { /* '0', '1', '2' are 48, 49, 50 */
    case 0:
        read_safetensors(file, size - 1);
        break;
    case 1:
        read_config(file, size - 1);
        break;
    default:
        read_adapter(file, size - 1);
        break;
    }
    return 0;
}
