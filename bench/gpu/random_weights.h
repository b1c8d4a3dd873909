/* Random weights of a model's shapes in place of a checkpoint: speed and bits need no trained ones,
 * and the program needs no JSON library. */
#ifndef PITH_BENCH_GPU_RANDOM_WEIGHTS_H
#define PITH_BENCH_GPU_RANDOM_WEIGHTS_H

#include "runtime/weights/checkpoint.h"

/* "base": ModernBERT-base with the published heads; "mini": the shape of models/pith-mini. False
 * for another name. */
bool bench_model_shape(const char *name, pith_model_config *config);

/* What pith_encoder_open is given; pith_checkpoint_tensor makes each tensor when it is asked for
 * and frees it at the next. */
pith_checkpoint *bench_weights(const pith_model_config *config);

#endif
