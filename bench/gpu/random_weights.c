#include "bench/gpu/random_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pith_checkpoint {
    const pith_model_config *config;
    pith_tensor tensor;
    float *data;
};

bool bench_model_shape(const char *name, pith_model_config *config) {
    bool mini = strcmp(name, "mini") == 0;
    if (!mini && strcmp(name, "base") != 0) {
        return false;
    }
    *config = (pith_model_config){
        .vocab_size = mini ? 8192 : 50368,
        .hidden = mini ? 192 : 768,
        .intermediate = mini ? 288 : 1152,
        .n_layers = mini ? 6 : 22,
        .n_heads = mini ? 3 : 12,
        .local_window = 64,
        .rope_theta_global = 160000.0,
        .rope_theta_local = 10000.0,
        .norm_eps = 1e-5,
        .positions_max = 8192,
        .span_channels = mini ? 32 : 256,
        .gate = PITH_GATE_MULTIPLICATIVE,
    };
    for (uint32_t i = 0; i < config->n_layers; i++) {
        config->layer_global[i] = i % 3 == 0;
    }
    return true;
}

pith_checkpoint *bench_weights(const pith_model_config *config) {
    static pith_checkpoint made;
    made.config = config;
    return &made;
}

/* Elements by the name's end, and how large they are: norms 1, others such that activations keep
 * their size. */
static size_t shape_of(const pith_model_config *c, const char *name, float *scale) {
    size_t d = c->hidden;
    size_t wide = c->intermediate;
    size_t channels = c->span_channels;
    const struct {
        const char *end;
        size_t count;
        float scale; /* 0: all 1 */
    } rows[] = {
        {"tok_embeddings.weight", c->vocab_size * d, 1.0f},
        {"norm.weight", d, 0.0f},
        {"Wqkv.weight", 3 * d * d, 1.0f / sqrtf((float)d)},
        {"attn.Wo.weight", d * d, 1.0f / sqrtf((float)d)},
        {"mlp.Wi.weight", 2 * wide * d, 1.0f / sqrtf((float)d)},
        {"mlp.Wo.weight", d * wide, 1.0f / sqrtf((float)wide)},
        {"token_head.weight", 2 * d, 1.0f / sqrtf((float)d)},
        {"token_head.bias", 2, 0.1f},
        {"span_conv.0.weight", channels * d * 5, 1.0f / sqrtf(5.0f * (float)d)},
        {"span_conv.0.bias", channels, 0.1f},
        {"span_conv.2.weight", channels * 3, 1.0f / sqrtf(3.0f * (float)channels)},
        {"span_conv.2.bias", 1, 0.1f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = strlen(rows[i].end);
        if (strlen(name) >= len && strcmp(name + strlen(name) - len, rows[i].end) == 0) {
            *scale = rows[i].scale;
            return rows[i].count;
        }
    }
    return 0;
}

const pith_tensor *pith_checkpoint_tensor(const pith_checkpoint *checkpoint, const char *name) {
    pith_checkpoint *made = (pith_checkpoint *)checkpoint;
    float scale = 0.0f;
    size_t count = shape_of(made->config, name, &scale);
    uint32_t state = 2166136261u;
    for (const char *c = name; *c != '\0'; c++) {
        state = (state ^ (uint8_t)*c) * 16777619u;
    }
    free(made->data);
    made->data = count > 0 ? malloc(count * sizeof(float)) : NULL;
    if (made->data == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        /* uniform with standard deviation `scale` */
        float x = ((float)(state >> 8) * 0x1p-23f - 1.0f) * 1.7320508f;
        made->data[i] = scale == 0.0f ? 1.0f : x * scale;
    }
    made->tensor = (pith_tensor){.data = made->data, .dtype = PITH_F32, .n_dims = 1};
    made->tensor.shape[0] = count;
    return &made->tensor;
}

size_t pith_tensor_count(const pith_tensor *tensor) {
    return tensor->shape[0];
}

void pith_tensor_to_f32(const pith_tensor *tensor, float *out) {
    memcpy(out, tensor->data, tensor->shape[0] * sizeof *out);
}

void pith_checkpoint_discard(const pith_checkpoint *checkpoint, const pith_tensor *tensor) {
    (void)checkpoint;
    (void)tensor;
}
