/* The shipped forward pass on a GPU over random weights, one line of JSON for each run.
 *
 *   gpu_encoder MODEL KERNELS DTYPE LENGTH TOKENS STEPS
 *     MODEL base|mini, KERNELS auto|safe|cublas, or one operation that alone is fast (swap.h);
 *     DTYPE f16|bf16
 *     LENGTH tokens of each text, or "mixed": seeded uniform 32 .. 2048
 *     TOKENS most tokens of a step, STEPS timed steps
 *
 * Prints the kernels in use, tokens a second with two steps in flight, milliseconds of a step so,
 * the median wall time of a step alone (handed over until its scores are on the host), a hash of
 * the first step's score bits, some of its scores, and how many of its texts have other bits when
 * they run alone. */
#include "runtime/model/encoder.h"
#include "bench/gpu/random_weights.h"
#include "bench/gpu/swap.h"
#include "runtime/backend/host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TEXTS_MAX = 1024,
    TOKENS_MAX = 1 << 16,
    STEPS_MAX = 10000,
    WARM_STEPS = 4,
    ALONE_MAX = 8,
    SAMPLES = 32
};

typedef struct bench {
    pith_model_config config;
    pith_device device;
    pith_encoder *encoder;
    uint32_t *ids;
    uint32_t offsets[TEXTS_MAX + 1];
    uint32_t n_texts;
    float *score[3]; /* two steps in flight, and one text alone */
} bench;

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Texts until one does not fit. */
static void fill(bench *b, const char *length, uint32_t tokens) {
    uint32_t state = 7;
    bool mixed = strcmp(length, "mixed") == 0;
    for (uint32_t i = 0; i < tokens; i++) {
        b->ids[i] = next_random(&state) % b->config.vocab_size;
    }
    while (b->n_texts < TEXTS_MAX) {
        uint32_t n = mixed ? 32 + next_random(&state) % 2017 : (uint32_t)strtoul(length, NULL, 10);
        uint32_t end = b->offsets[b->n_texts] + n;
        if (n == 0 || end > tokens) {
            break;
        }
        b->offsets[++b->n_texts] = end;
    }
}

static pith_status begin(bench *b, uint32_t slot, uint64_t *ticket, pith_err *err) {
    pith_batch batch = {.ids = b->ids,
                        .cu_seqlens = b->offsets,
                        .n_seq = b->n_texts,
                        .n_tok = b->offsets[b->n_texts]};
    pith_encoder_out out = {.score = b->score[slot]};
    return pith_encoder_begin(b->encoder, &batch, &out, ticket, err);
}

/* Seconds for `steps` steps with two in flight. */
static pith_status run_steps(bench *b, uint32_t steps, double *seconds, pith_err *err) {
    uint64_t tickets[2] = {0};
    double from = now();
    pith_status status = PITH_OK;
    for (uint32_t i = 0; status == PITH_OK && i <= steps; i++) {
        if (i < steps) {
            status = begin(b, i % 2, &tickets[i % 2], err);
        }
        if (status == PITH_OK && i > 0) {
            status = pith_encoder_wait(b->encoder, tickets[(i - 1) % 2], err);
        }
    }
    *seconds = now() - from;
    return status;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static pith_status run_alone(bench *b, uint32_t steps, double *median, pith_err *err) {
    double *walls = malloc(steps * sizeof *walls);
    pith_status status = walls != NULL ? PITH_OK : PITH_NO_MEMORY;
    for (uint32_t i = 0; status == PITH_OK && i < steps; i++) {
        uint64_t ticket;
        double from = now();
        status = begin(b, 0, &ticket, err);
        status = status == PITH_OK ? pith_encoder_wait(b->encoder, ticket, err) : status;
        walls[i] = now() - from;
    }
    if (status == PITH_OK) {
        qsort(walls, steps, sizeof *walls, ascending);
        *median = walls[steps / 2];
    }
    free(walls);
    return status;
}

/* Texts of the batch whose scores have other bits when they run alone. */
static pith_status count_changed(bench *b, uint32_t *changed, pith_err *err) {
    *changed = 0;
    for (uint32_t s = 0; s < b->n_texts && s < ALONE_MAX; s++) {
        uint32_t first = b->offsets[s];
        uint32_t offsets[2] = {0, b->offsets[s + 1] - first};
        pith_batch batch = {
            .ids = b->ids + first, .cu_seqlens = offsets, .n_seq = 1, .n_tok = offsets[1]};
        pith_encoder_out out = {.score = b->score[2]};
        pith_status status = pith_encoder_forward(b->encoder, &batch, &out, err);
        if (status != PITH_OK) {
            return status;
        }
        *changed += memcmp(b->score[2], b->score[0] + first, offsets[1] * sizeof(float)) != 0;
    }
    return PITH_OK;
}

static uint64_t hash_of(const float *score, size_t count) {
    const uint8_t *bytes = (const uint8_t *)score;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < count * sizeof *score; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return hash;
}

static pith_status open_bench(bench *b, char **args, uint32_t tokens, pith_err *err) {
    if (!bench_model_shape(args[1], &b->config)) {
        return pith_fail(err, PITH_INVALID, "model \"%.32s\": expected base or mini", args[1]);
    }
    pith_device_opts opts = {
        .device = "cuda:0", .gpu_kernels = bench_swap(args[2]), .dtype = args[3]};
    pith_status status = pith_cuda_open(&b->device, &opts, err);
    if (status == PITH_OK) {
        pith_encoder_opts encoder = {
            .ops = b->device.ops, .ctx = b->device.ctx, .tokens_max = tokens};
        status =
            pith_encoder_open(&b->encoder, &b->config, bench_weights(&b->config), &encoder, err);
    }
    b->ids = malloc(tokens * sizeof *b->ids);
    for (size_t i = 0; i < 3; i++) {
        b->score[i] = calloc(tokens, sizeof(float));
    }
    return status;
}

/* "[s, ...]", of tokens all over the step. */
static void format_sample(char *text, size_t room, const float *score, uint32_t tokens) {
    size_t at = 0;
    for (uint32_t i = 0; i < SAMPLES && at < room; i++) {
        uint32_t token = (uint32_t)((uint64_t)tokens * i / SAMPLES);
        const char *before = i == 0 ? "[" : ", ";
        int n = isfinite(score[token])
                    ? snprintf(text + at, room - at, "%s%.6f", before, (double)score[token])
                    : snprintf(text + at, room - at, "%sNaN", before);
        at += n > 0 ? (size_t)n : room;
    }
    (void)snprintf(text + (at < room ? at : room - 1), at < room ? room - at : 1, "]");
}

static pith_status measure(bench *b, char **args, uint32_t steps, pith_err *err) {
    double seconds = 0.0;
    double wall = 0.0;
    uint32_t changed = 0;
    pith_status status = run_steps(b, WARM_STEPS, &seconds, err);
    uint64_t hash = hash_of(b->score[0], b->offsets[b->n_texts]);
    char sample[SAMPLES * 16];
    format_sample(sample, sizeof sample, b->score[0], b->offsets[b->n_texts]);
    if (status == PITH_OK) {
        status = count_changed(b, &changed, err);
    }
    if (status == PITH_OK) {
        status = run_steps(b, steps, &seconds, err);
    }
    if (status == PITH_OK) {
        status = run_alone(b, steps, &wall, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    double tokens = b->offsets[b->n_texts];
    double squares = 0.0; /* global attention is quadratic in each text */
    for (uint32_t s = 0; s < b->n_texts; s++) {
        double n = b->offsets[s + 1] - b->offsets[s];
        squares += n * n;
    }
    (void)printf("{\"model\": \"%s\", \"kernels\": \"%s\", \"asked\": \"%s\", \"dtype\": \"%s\", "
                 "\"length\": \"%s\", "
                 "\"texts\": %u, \"tokens\": %.0f, \"sum_of_squares\": %.0f, \"tok_per_s\": %.0f, "
                 "\"step_ms\": %.5f, "
                 "\"wall_ms\": %.5f, \"hash\": \"%016llx\", \"changed_alone\": %u, "
                 "\"sample\": %s, \"saturated\": %llu}\n",
                 args[1], b->device.isa, args[2], b->device.dtype, args[4], b->n_texts, tokens,
                 squares, tokens * steps / seconds, 1e3 * seconds / steps, 1e3 * wall,
                 (unsigned long long)hash, changed, sample,
                 (unsigned long long)b->device.ops->saturated(b->device.ctx));
    return PITH_OK;
}

int main(int argc, char **argv) {
    static bench b;
    pith_err err = {.text = "usage: gpu_encoder MODEL KERNELS DTYPE LENGTH TOKENS STEPS"};
    pith_status status = PITH_INVALID;
    unsigned long tokens = argc == 7 ? strtoul(argv[5], NULL, 10) : 0;
    unsigned long steps = argc == 7 ? strtoul(argv[6], NULL, 10) : 0;
    if (tokens > 0 && tokens <= TOKENS_MAX && steps > 0 && steps <= STEPS_MAX) {
        status = open_bench(&b, argv, (uint32_t)tokens, &err);
    }
    if (status == PITH_OK) {
        fill(&b, argv[4], (uint32_t)tokens);
        status = b.n_texts > 0
                     ? measure(&b, argv, (uint32_t)steps, &err)
                     : pith_fail(&err, PITH_INVALID, "no text of length %.16s fits", argv[4]);
    }
    if (status != PITH_OK) {
        (void)fprintf(stderr, "gpu_encoder: %s\n", err.text);
    }
    pith_encoder_close(b.encoder);
    if (b.device.ctx != NULL) {
        pith_cuda_close(b.device.ctx);
    }
    free(b.ids);
    for (size_t i = 0; i < 3; i++) {
        free(b.score[i]);
    }
    return status == PITH_OK ? 0 : 1;
}
