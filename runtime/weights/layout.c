#include "runtime/weights/layout.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char ENCODER[] = "encoder.";
static const char PEFT_ENCODER[] = "encoder.base_model.model.";

static bool ends_with(const char *text, size_t len, const char *end) {
    size_t end_len = strlen(end);
    return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

/* Position ids, and the rotary frequencies that transformers computes from the config. */
static bool is_harmless(const char *name) {
    return strncmp(name, ENCODER, strlen(ENCODER)) == 0 &&
           (strcmp(name + strlen(ENCODER), "embeddings.position_ids") == 0 ||
            (strstr(name, "rotary_emb.") != NULL && ends_with(name, strlen(name), "inv_freq")));
}

pith_layout_role pith_layout_role_of(const char *name, char canonical[PITH_TENSOR_NAME_BYTES]) {
    static const struct {
        const char *end;
        pith_layout_role role;
    } ends[] = {{".base_layer.weight", PITH_ROLE_BASE},
                {".lora_A.weight", PITH_ROLE_LORA_A},
                {".lora_A.default.weight", PITH_ROLE_LORA_A},
                {".lora_B.weight", PITH_ROLE_LORA_B},
                {".lora_B.default.weight", PITH_ROLE_LORA_B}};
    const char *rest = name;
    const char *prefix = "";
    const char *suffix = "";
    pith_layout_role role = PITH_ROLE_PLAIN;
    if (strncmp(name, PEFT_ENCODER, strlen(PEFT_ENCODER)) == 0) {
        rest = name + strlen(PEFT_ENCODER);
        prefix = ENCODER;
    }
    size_t len = strlen(rest);
    for (size_t i = 0; i < sizeof ends / sizeof *ends && prefix[0] != '\0'; i++) {
        if (ends_with(rest, len, ends[i].end)) {
            role = ends[i].role;
            len -= strlen(ends[i].end);
            suffix = ".weight";
            break;
        }
    }
    size_t whole = strlen(prefix) + len + strlen(suffix);
    if (whole < PITH_TENSOR_NAME_BYTES) {
        (void)snprintf(canonical, PITH_TENSOR_NAME_BYTES, "%s%.*s%s", prefix, (int)len, rest,
                       suffix);
    } else {
        canonical[0] = '\0';
    }
    return is_harmless(canonical) ? PITH_ROLE_HARMLESS : role;
}
