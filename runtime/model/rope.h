/* RoPE table: cosines and sines of position * theta^(-2 d / head_dim), computed in double. */
#ifndef PITH_MODEL_ROPE_H
#define PITH_MODEL_ROPE_H

#include <stddef.h>

/* table [positions, 2, head_dim / 2] f32: for each position the cosines, then the sines. */
void pith_rope_fill(float *table, double theta, size_t positions, size_t head_dim);

#endif
