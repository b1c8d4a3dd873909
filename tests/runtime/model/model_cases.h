/* What the model tests share: a random model in a temporary directory, encoders over it, batches.
 */
#ifndef TESTS_RUNTIME_MODEL_MODEL_CASES_H
#define TESTS_RUNTIME_MODEL_MODEL_CASES_H

#include "runtime/backend/device.h"
#include "runtime/base/file.h"
#include "runtime/model/encoder.h"
#include "tests/support/random_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        pith_err must_err = {0};                                                                   \
        pith_err *err = &must_err;                                                                 \
        pith_status must_status = (call);                                                          \
        if (must_status != PITH_OK) {                                                              \
            print_error("%s\n", must_err.text);                                                    \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

enum { CASE_PATH_BYTES = 256 };

/* A model directory that random_directory_close removes. */
typedef struct random_directory {
    char path[CASE_PATH_BYTES];
} random_directory;

static inline void random_directory_open(random_directory *dir, const pith_model_config *config,
                                         const pith_random_model_opts *opts) {
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir->path, sizeof dir->path, "%s/pith-model-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir->path));
    MUST(pith_random_model_write(dir->path, config, opts, err));
}

static inline void random_directory_close(random_directory *dir) {
    const char *const files[] = {"config.json", "model.safetensors"};
    char path[CASE_PATH_BYTES + 32];
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir->path, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir->path);
}

/* Turns the embedding row of `id` into f32's largest number: its norm overflows to NaN. The model
 * was written with the defaults' seed and moments, in f32. */
static inline void random_directory_poison(const random_directory *dir,
                                           const pith_model_config *config, uint32_t id) {
    pith_random_model_opts opts = pith_random_model_defaults();
    const char *name = "encoder.embeddings.tok_embeddings.weight";
    size_t count = (size_t)config->vocab_size * config->hidden;
    float *table = malloc(count * sizeof *table);
    double mean;
    double std;
    pith_random_moments(&opts, name, config->hidden, &mean, &std);
    pith_random_tensor(table, count, name, opts.seed, mean, std);
    float *row = table + (size_t)id * config->hidden;
    size_t row_bytes = config->hidden * sizeof *row;
    char path[CASE_PATH_BYTES + 32];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir->path);
    pith_file file;
    MUST(pith_file_read(&file, path, 64 << 20, err));
    const char *at = memmem(file.data, file.len, row, row_bytes);
    assert_non_null(at);
    for (uint32_t d = 0; d < config->hidden; d++) {
        row[d] = 3.4e38f;
    }
    FILE *stream = fopen(path, "r+b");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, at - (const char *)file.data, SEEK_SET), 0);
    assert_int_equal(fwrite(row, row_bytes, 1, stream), 1);
    assert_int_equal(fclose(stream), 0);
    pith_file_close(&file);
    free(table);
}

/* An encoder with everything below it. */
typedef struct opened {
    pith_model_config config;
    pith_checkpoint *checkpoint;
    pith_device device;
    pith_encoder *encoder;
} opened;

typedef struct open_how {
    const char *device; /* NULL: "cpu" */
    const char *isa;
    const char *dtype;
    const char *gpu_kernels;
    uint32_t n_threads;
    uint32_t tokens_max;
    uint32_t aside_tokens;
    pith_encoder_probe_fn probe;
    void *probe_user;
} open_how;

static inline void open_model(opened *o, const char *dir, const open_how *how) {
    *o = (opened){0};
    pith_device_opts device = {.device = how->device != NULL ? how->device : "cpu",
                               .dtype = how->dtype,
                               .isa = how->isa,
                               .gpu_kernels = how->gpu_kernels,
                               .n_threads = how->n_threads};
    MUST(pith_model_config_read(&o->config, dir, err));
    MUST(pith_checkpoint_open(&o->checkpoint, dir, &o->config, err));
    MUST(pith_device_open(&o->device, &device, err));
    pith_encoder_opts opts = {.ops = o->device.ops,
                              .ctx = o->device.ctx,
                              .tokens_max = how->tokens_max,
                              .aside_tokens = how->aside_tokens,
                              .probe = how->probe,
                              .probe_user = how->probe_user};
    MUST(pith_encoder_open(&o->encoder, &o->config, o->checkpoint, &opts, err));
}

static inline void close_model(opened *o) {
    pith_encoder_close(o->encoder);
    pith_device_close(&o->device);
    pith_checkpoint_close(o->checkpoint);
}

/* Whether this CPU runs `isa`. */
static inline bool has_isa(const char *isa) {
    pith_device device;
    pith_err err;
    pith_device_opts opts = {.device = "cpu", .isa = isa, .n_threads = 1};
    bool has = pith_device_open(&device, &opts, &err) == PITH_OK;
    pith_device_close(&device);
    return has;
}

static inline uint64_t case_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Positive form: a NaN on either side fails. */
static inline void check_near(double found, double expected, double limit, const char *what,
                              size_t at) {
    if (!(fabs(found - expected) <= limit)) {
        print_error("%s[%zu]: found %.9g, expected %.9g, limit %.3g\n", what, at, found, expected,
                    limit);
        fail();
    }
}

#endif
