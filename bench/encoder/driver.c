/* The shipped forward pass on request, for bench/encoder/run.py.
 *
 * driver MODEL_DIR THREADS DTYPE ISA TOKENS_MAX: opens the model, prints one line about the
 * device, then answers each line of standard input with one line:
 *   run N S      wall and CPU seconds of one forward over S texts (1 when left out) of N tokens,
 *                ids counted on from text to text as in tests/golden/encoder/make_goldens.py
 *   sum N S      the sum of their scores, to see that both sides computed the same
 *   peak         GFLOP/s of the f32 and of the bf16 multiply-add peak
 *   ops          seconds per operation since the last time
 *   hwm          peak resident memory, kB */
#include "bench/encoder/peak.h"
#include "bench/encoder/timed_ops.h"
#include "runtime/backend/device.h"
#include "runtime/model/encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct driver {
    pith_model_config config;
    pith_checkpoint *checkpoint;
    pith_device device;
    pith_encoder *encoder;
    uint32_t *ids;
    float *score;
} driver;

static uint32_t number(const char *text) {
    return (uint32_t)strtoul(text, NULL, 10);
}

enum { SEQUENCES_MAX = 64 };

typedef struct shape {
    uint32_t tokens; /* of one text */
    uint32_t n_seq;
} shape;

typedef struct seconds {
    double wall;
    double cpu; /* of all threads */
} seconds;

static double clock_seconds(clockid_t clock) {
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static pith_status open_driver(driver *d, char **args, pith_err *err) {
    pith_device_opts opts = {
        .device = "cpu", .dtype = args[3], .isa = args[4], .n_threads = number(args[2])};
    pith_status status = pith_model_config_read(&d->config, args[1], err);
    if (status == PITH_OK) {
        status = pith_checkpoint_open(&d->checkpoint, args[1], &d->config, err);
    }
    if (status == PITH_OK) {
        status = pith_device_open(&d->device, &opts, err);
    }
    if (status == PITH_OK) {
        pith_encoder_opts encoder = {.ops = bench_timed_ops(d->device.ops),
                                     .ctx = d->device.ctx,
                                     .tokens_max = number(args[5])};
        status = pith_encoder_open(&d->encoder, &d->config, d->checkpoint, &encoder, err);
    }
    size_t tokens = number(args[5]);
    d->ids = malloc(tokens * sizeof *d->ids);
    d->score = malloc(tokens * sizeof *d->score);
    for (uint32_t i = 0; status == PITH_OK && i < tokens; i++) {
        d->ids[i] = ((i * 2654435761u + 12345u) >> 8) % d->config.vocab_size;
    }
    return status;
}

/* "N" or "N S" behind the command's four characters; n_seq is at most SEQUENCES_MAX. */
static shape read_shape(const char *line) {
    char *rest;
    uint32_t tokens = (uint32_t)strtoul(line + 4, &rest, 10);
    uint32_t n_seq = number(rest);
    n_seq = n_seq == 0 ? 1 : n_seq > SEQUENCES_MAX ? SEQUENCES_MAX : n_seq;
    return (shape){tokens, n_seq};
}

static pith_status run(driver *d, shape texts, seconds *time, pith_err *err) {
    uint32_t offsets[SEQUENCES_MAX + 1];
    for (uint32_t s = 0; s <= texts.n_seq; s++) {
        offsets[s] = s * texts.tokens;
    }
    pith_batch batch = {.ids = d->ids,
                        .cu_seqlens = offsets,
                        .n_seq = texts.n_seq,
                        .n_tok = texts.n_seq * texts.tokens};
    pith_encoder_out out = {.score = d->score};
    seconds from = {clock_seconds(CLOCK_MONOTONIC), clock_seconds(CLOCK_PROCESS_CPUTIME_ID)};
    pith_status status = pith_encoder_forward(d->encoder, &batch, &out, err);
    time->wall = clock_seconds(CLOCK_MONOTONIC) - from.wall;
    time->cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - from.cpu;
    return status;
}

static long peak_memory_kb(void) {
    char line[256];
    long kb = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kb = (long)number(line + 6);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return kb;
}

static pith_status answer(driver *d, const char *line, pith_err *err) {
    seconds time = {0};
    pith_status status = PITH_OK;
    if (strncmp(line, "run ", 4) == 0) {
        status = run(d, read_shape(line), &time, err);
        printf("%.9f %.9f\n", time.wall, time.cpu);
    } else if (strncmp(line, "sum ", 4) == 0) {
        double sum = 0.0;
        shape texts = read_shape(line);
        status = run(d, texts, &time, err);
        for (uint32_t i = 0; i < texts.tokens * texts.n_seq; i++) {
            sum += d->score[i];
        }
        printf("%.6f\n", sum);
    } else if (strncmp(line, "peak", 4) == 0) {
        printf("%.2f %.2f\n", bench_peak_f32(d->device.n_threads),
               bench_peak_bf16(d->device.n_threads));
    } else if (strncmp(line, "ops", 3) == 0) {
        bench_timed_print(stdout);
    } else if (strncmp(line, "hwm", 3) == 0) {
        printf("%ld\n", peak_memory_kb());
    }
    (void)fflush(stdout);
    return status;
}

int main(int argc, char **argv) {
    driver d = {0};
    pith_err err = {.text = "usage: driver MODEL_DIR THREADS DTYPE ISA TOKENS_MAX"};
    pith_status status = PITH_INVALID;
    char line[64];
    double from = clock_seconds(CLOCK_MONOTONIC);
    if (argc == 6) {
        status = open_driver(&d, argv, &err);
    }
    if (status == PITH_OK) {
        printf("%s %s threads %u open %.3f s\n", d.device.isa, d.device.dtype, d.device.n_threads,
               clock_seconds(CLOCK_MONOTONIC) - from);
        (void)fflush(stdout);
    }
    while (status == PITH_OK && fgets(line, sizeof line, stdin) != NULL) {
        status = answer(&d, line, &err);
    }
    if (status != PITH_OK) {
        (void)fprintf(stderr, "driver: %s\n", err.text);
    }
    pith_encoder_close(d.encoder);
    pith_device_close(&d.device);
    pith_checkpoint_close(d.checkpoint);
    free(d.ids);
    free(d.score);
    return status == PITH_OK ? 0 : 1;
}
