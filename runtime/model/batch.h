/* A packed batch: sequences of token ids one after the other, no padding. Plain data, borrowed. */
#ifndef PITH_MODEL_BATCH_H
#define PITH_MODEL_BATCH_H

#include <stdint.h>

typedef struct pith_batch {
    const uint32_t *ids; /* [n_tok] */
    const uint32_t
        *cu_seqlens; /* [n_seq + 1]: sequence s is ids[cu_seqlens[s], cu_seqlens[s + 1]) */
    uint32_t n_seq;
    uint32_t n_tok;
} pith_batch;

#endif
