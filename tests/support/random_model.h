/* A model directory of any shape whose weights come from an integer generator, so that a large
 * model can stand in a test without a large committed file. random_model.py beside this file gives
 * the same bits; tests/runtime/weights/random_model_test.c holds the two together.
 *
 * The generator. All arithmetic on 64-bit unsigned integers wraps.
 *   key(name, seed) = FNV-1a-64(bytes of name) XOR seed        (offset 0xcbf29ce484222325,
 *                                                               prime 0x100000001b3)
 *   x(i)            = SplitMix64 output for state key + (i + 1) * 0x9e3779b97f4a7c15
 *   v(i)            = 2 * (x >> 40) - (2^24 - 1)               an odd integer, |v| < 2^24
 *   w(i)            = mean + f32(v) * f32(sqrt(3) * std / 2^24)   f32, one rounding per operation
 * so w is uniform in mean +- sqrt(3) std. f32(v) is exact. sqrt(3) * std / 2^24 is computed in f64
 * and rounded once to f32. A bf16 file holds w rounded to nearest, ties to even. */
#ifndef PITH_TESTS_SUPPORT_RANDOM_MODEL_H
#define PITH_TESTS_SUPPORT_RANDOM_MODEL_H

#include "runtime/base/status.h"
#include "runtime/weights/checkpoint.h"
#include "runtime/weights/config.h"

#include <stddef.h>
#include <stdint.h>

/* Standard deviations per kind of tensor. fan_in is the product of all extents but the first. */
typedef struct pith_random_model_opts {
    uint64_t seed;
    pith_dtype dtype;      /* PITH_F32 or PITH_BF16 */
    double gain_linear;    /* Wqkv, Wi: std = gain / sqrt(fan_in) */
    double gain_residual;  /* attn.Wo, mlp.Wo: std = gain / sqrt(fan_in) */
    double gain_head;      /* token_head, span_conv weights: std = gain / sqrt(fan_in) */
    double std_embedding;  /* the token embedding; a norm follows it */
    double std_norm;       /* norm weights, around a mean of 1 */
    double std_bias;       /* biases, around 0 */
    const char *word_mode; /* "raw" or "split" in the pith object; NULL writes no pith object */
} pith_random_model_opts;

/* seed 0, f32, gains 1, 1, 4 (scores spread over most of (0, 1)), embedding 1, norm 0.1, bias 0.1,
 * word_mode "raw". */
pith_random_model_opts pith_random_model_defaults(void);

/* ModernBERT-base with the published heads; a 4-layer model of width 64 for quick tests (vocab 512,
 * 2 heads of 32, intermediate 96, 16 span channels, window 64 and halo 8). */
pith_model_config pith_random_config_base(void);
pith_model_config pith_random_config_tiny(void);

/* out[count] = the first `count` elements of the tensor `name`. */
void pith_random_tensor(float *out, size_t count, const char *name, uint64_t seed, double mean,
                        double std);

/* f32 to bf16, nearest, ties to even; `value` is finite. */
uint16_t pith_random_bf16(float value);

/* Mean and std of a tensor of `config`'s manifest under `opts`. */
void pith_random_moments(const pith_random_model_opts *opts, const char *name, size_t fan_in,
                         double *mean, double *std);

/* Writes DIR/config.json (transformers 5 spelling; the directory is made when absent) and
 * DIR/model.safetensors (flat layout). No tokenizer is written. */
PITH_MUST_USE pith_status pith_random_model_write(const char *dir, const pith_model_config *config,
                                                  const pith_random_model_opts *opts,
                                                  pith_err *err);

#endif
