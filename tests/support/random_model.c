#include "tests/support/random_model.h"

#include "runtime/weights/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096, BLOCK_ELEMENTS = 64 * 1024 };

pith_random_model_opts pith_random_model_defaults(void) {
    return (pith_random_model_opts){.seed = 0,
                                    .dtype = PITH_F32,
                                    .gain_linear = 1.0,
                                    .gain_residual = 1.0,
                                    .gain_head = 4.0,
                                    .std_embedding = 1.0,
                                    .std_norm = 0.1,
                                    .std_bias = 0.1,
                                    .word_mode = "raw"};
}

pith_model_config pith_random_config_base(void) {
    pith_model_config config = {.name = "random-base",
                                .vocab_size = 50368,
                                .hidden = 768,
                                .intermediate = 1152,
                                .n_layers = 22,
                                .n_heads = 12,
                                .local_window = 64,
                                .rope_theta_global = 160000.0,
                                .rope_theta_local = 10000.0,
                                .norm_eps = 1e-5,
                                .positions_max = 8192,
                                .cls_id = 50281,
                                .sep_id = 50282,
                                .pad_id = 50283,
                                .span_channels = 256,
                                .gate = PITH_GATE_MULTIPLICATIVE,
                                .window_tokens = 512,
                                .halo_tokens = 64,
                                .thresholds = {{"default", 0.5}},
                                .n_thresholds = 1};
    for (uint32_t i = 0; i < PITH_LAYERS_MAX; i++) {
        config.layer_global[i] = i % 3 == 0;
    }
    return config;
}

pith_model_config pith_random_config_tiny(void) {
    pith_model_config config = pith_random_config_base();
    (void)snprintf(config.name, sizeof config.name, "random-tiny");
    config.vocab_size = 512;
    config.hidden = 64;
    config.intermediate = 96;
    config.n_layers = 4;
    config.n_heads = 2;
    config.cls_id = 1;
    config.sep_id = 2;
    config.pad_id = 0;
    config.span_channels = 16;
    config.window_tokens = 64;
    config.halo_tokens = 8;
    return config;
}

static uint64_t fnv1a(const char *text) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    }
    return hash;
}

static uint64_t splitmix(uint64_t state) {
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
    state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
    return state ^ (state >> 31);
}

/* Elements [start, start + count) of the tensor. */
static void fill(float *out, size_t start, size_t count, uint64_t key, double mean, double std) {
    const float scale = (float)(sqrt(3.0) * std / 16777216.0);
    const float shift = (float)mean;
    for (size_t i = 0; i < count; i++) {
        uint64_t x = splitmix(key + (start + i + 1) * 0x9e3779b97f4a7c15u);
        int32_t v = (int32_t)(2 * (x >> 40)) - 16777215;
        float scaled = (float)v * scale;
        out[i] = shift + scaled;
    }
}

void pith_random_tensor(float *out, size_t count, const char *name, uint64_t seed, double mean,
                        double std) {
    fill(out, 0, count, fnv1a(name) ^ seed, mean, std);
}

uint16_t pith_random_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static bool has(const char *name, const char *part) {
    return strstr(name, part) != NULL;
}

void pith_random_moments(const pith_random_model_opts *opts, const char *name, size_t fan_in,
                         double *mean, double *std) {
    *mean = 0.0;
    if (has(name, "norm.weight")) {
        *mean = 1.0;
        *std = opts->std_norm;
    } else if (has(name, ".bias")) {
        *std = opts->std_bias;
    } else if (has(name, "tok_embeddings")) {
        *std = opts->std_embedding;
    } else if (has(name, "token_head") || has(name, "span_conv")) {
        *std = opts->gain_head / sqrt((double)fan_in);
    } else if (has(name, ".Wo.")) {
        *std = opts->gain_residual / sqrt((double)fan_in);
    } else {
        *std = opts->gain_linear / sqrt((double)fan_in);
    }
}

static size_t spec_count(const pith_tensor_spec *spec) {
    size_t count = 1;
    for (uint32_t i = 0; i < spec->n_dims; i++) {
        count *= spec->shape[i];
    }
    return count;
}

static void write_layer_types(FILE *file, const pith_model_config *config) {
    for (uint32_t i = 0; i < config->n_layers; i++) {
        (void)fprintf(file, "%s\"%s\"", i == 0 ? "" : ", ",
                      config->layer_global[i] ? "full_attention" : "sliding_attention");
    }
}

static void write_pith_object(FILE *file, const pith_model_config *config, const char *word_mode) {
    static const char *const gates[] = {"multiplicative", "asymmetric", "or-boost"};
    (void)fprintf(file,
                  ",\n  \"pith\": {\"format\": 1, \"name\": \"%s\", \"word_mode\": \"%s\", "
                  "\"gate\": \"%s\", \"gamma\": %.17g, \"span_channels\": %" PRIu32
                  ", \"window_tokens\": %" PRIu32 ", \"halo_tokens\": %" PRIu32
                  ", \"thresholds\": {",
                  config->name, word_mode, gates[config->gate], config->gamma,
                  config->span_channels, config->window_tokens, config->halo_tokens);
    for (uint32_t i = 0; i < config->n_thresholds; i++) {
        (void)fprintf(file, "%s\"%s\": %.17g", i == 0 ? "" : ", ", config->thresholds[i].domain,
                      config->thresholds[i].value);
    }
    (void)fprintf(file, "}}");
}

static void write_config(FILE *file, const pith_model_config *config, const char *word_mode) {
    (void)fprintf(file,
                  "{\n  \"model_type\": \"modernbert\",\n  \"vocab_size\": %" PRIu32
                  ",\n  \"hidden_size\": %" PRIu32 ",\n  \"intermediate_size\": %" PRIu32
                  ",\n  \"num_hidden_layers\": %" PRIu32 ",\n  \"num_attention_heads\": %" PRIu32
                  ",\n  \"local_attention\": %" PRIu32 ",\n  \"max_position_embeddings\": %" PRIu32
                  ",\n",
                  config->vocab_size, config->hidden, config->intermediate, config->n_layers,
                  config->n_heads, 2 * config->local_window, config->positions_max);
    (void)fprintf(file, "  \"layer_types\": [");
    write_layer_types(file, config);
    (void)fprintf(file,
                  "],\n  \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\", "
                  "\"rope_theta\": %.17g}, \"sliding_attention\": {\"rope_type\": \"default\", "
                  "\"rope_theta\": %.17g}},\n  \"norm_eps\": %.17g,\n",
                  config->rope_theta_global, config->rope_theta_local, config->norm_eps);
    (void)fprintf(file,
                  "  \"cls_token_id\": %" PRIu32 ",\n  \"bos_token_id\": %" PRIu32
                  ",\n  \"sep_token_id\": %" PRIu32 ",\n  \"eos_token_id\": %" PRIu32
                  ",\n  \"pad_token_id\": %" PRIu32,
                  config->cls_id, config->cls_id, config->sep_id, config->sep_id, config->pad_id);
    if (word_mode != NULL) {
        write_pith_object(file, config, word_mode);
    }
    (void)fprintf(file, "\n}\n");
}

/* The JSON header, padded with spaces so that the data section begins on a multiple of 8 bytes. */
static void write_header(FILE *file, const pith_manifest *manifest, pith_dtype dtype) {
    char *text = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&text, &len);
    size_t offset = 0;
    (void)fprintf(memory, "{");
    for (size_t t = 0; t < manifest->n; t++) {
        const pith_tensor_spec *spec = &manifest->specs[t];
        size_t bytes = spec_count(spec) * pith_dtype_bytes(dtype);
        (void)fprintf(memory, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", t == 0 ? "" : ",",
                      spec->name, dtype == PITH_F32 ? "F32" : "BF16");
        for (uint32_t i = 0; i < spec->n_dims; i++) {
            (void)fprintf(memory, "%s%zu", i == 0 ? "" : ",", spec->shape[i]);
        }
        (void)fprintf(memory, "],\"data_offsets\":[%zu,%zu]}", offset, offset + bytes);
        offset += bytes;
    }
    (void)fprintf(memory, "}");
    (void)fflush(memory);
    while (len % 8 != 0) {
        (void)fputc(' ', memory);
        (void)fflush(memory);
    }
    (void)fclose(memory);
    uint64_t header_len = len; /* little-endian on every machine this runs on */
    (void)fwrite(&header_len, sizeof header_len, 1, file);
    (void)fwrite(text, 1, len, file);
    free(text);
}

static void write_tensor(FILE *file, const pith_tensor_spec *spec,
                         const pith_random_model_opts *opts, float *block, uint16_t *half) {
    size_t count = spec_count(spec);
    double mean;
    double std;
    pith_random_moments(opts, spec->name, count / spec->shape[0], &mean, &std);
    uint64_t key = fnv1a(spec->name) ^ opts->seed;
    for (size_t start = 0; start < count; start += BLOCK_ELEMENTS) {
        size_t n = count - start < BLOCK_ELEMENTS ? count - start : BLOCK_ELEMENTS;
        fill(block, start, n, key, mean, std);
        if (opts->dtype == PITH_F32) {
            (void)fwrite(block, sizeof *block, n, file);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            half[i] = pith_random_bf16(block[i]);
        }
        (void)fwrite(half, sizeof *half, n, file);
    }
}

static pith_status write_tensors(FILE *file, const pith_manifest *manifest,
                                 const pith_random_model_opts *opts, pith_err *err) {
    float *block = malloc(BLOCK_ELEMENTS * sizeof *block);
    uint16_t *half = malloc(BLOCK_ELEMENTS * sizeof *half);
    pith_status status = PITH_OK;
    if (block == NULL || half == NULL) {
        status = pith_fail(err, PITH_NO_MEMORY, "random model: no memory for a block");
    }
    write_header(file, manifest, opts->dtype);
    for (size_t t = 0; t < manifest->n && status == PITH_OK; t++) {
        write_tensor(file, &manifest->specs[t], opts, block, half);
    }
    free(block);
    free(half);
    return status;
}

static FILE *create(const char *dir, const char *name, pith_err *err) {
    char path[PATH_BYTES];
    int len = snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = len > 0 && len < PATH_BYTES ? fopen(path, "wb") : NULL;
    if (file == NULL) {
        (void)pith_fail(err, PITH_IO, "%s/%s: cannot create: %s", dir, name, strerror(errno));
    }
    return file;
}

static pith_status finish(FILE *file, const char *dir, pith_err *err) {
    bool bad = ferror(file) != 0;
    if (fclose(file) != 0 || bad) {
        return pith_fail(err, PITH_IO, "%s: cannot write: %s", dir, strerror(errno));
    }
    return PITH_OK;
}

pith_status pith_random_model_write(const char *dir, const pith_model_config *config,
                                    const pith_random_model_opts *opts, pith_err *err) {
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return pith_fail(err, PITH_IO, "%s: cannot make: %s", dir, strerror(errno));
    }
    FILE *file = create(dir, "config.json", err);
    if (file == NULL) {
        return PITH_IO;
    }
    write_config(file, config, opts->word_mode);
    pith_status status = finish(file, dir, err);
    pith_manifest manifest = {0};
    if (status == PITH_OK) {
        status = pith_manifest_init(&manifest, config, err);
    }
    if (status == PITH_OK) {
        file = create(dir, "model.safetensors", err);
        status = file == NULL ? PITH_IO : write_tensors(file, &manifest, opts, err);
        if (file != NULL) {
            pith_status closed = finish(file, dir, err);
            status = status == PITH_OK ? closed : status;
        }
    }
    pith_manifest_reset(&manifest);
    return status;
}
