/* Made by bench/gpu/tune.py from bench/gpu/tune/sm_90a-132.json: not to be edited.
 * Not yet measured on a GPU. */
#ifndef PITH_BACKEND_CUDA_TILES_H
#define PITH_BACKEND_CUDA_TILES_H

#include "kernels/cuda/linear.h"
#include "runtime/ops.h"

/* The tile of a product in steps of at most rows_max rows; rows ascend. */
typedef struct cuda_tile {
    pith_pack_kind kind;
    uint32_t n; /* packed weight [n, k] */
    uint32_t k;
    uint32_t rows_max;
    pk_linear_cuda_tile tile;
    bool multicast;
    uint32_t ctas_per_sm;
} cuda_tile;

static const cuda_tile cuda_tiles[] = {
    {PITH_PACK_QKV, 2304, 768, 512, PK_LINEAR_64_192, false, 2},
    {PITH_PACK_QKV, 2304, 768, 2048, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_QKV, 2304, 768, 8448, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_GEGLU, 2304, 768, 512, PK_LINEAR_64_192, false, 2},
    {PITH_PACK_GEGLU, 2304, 768, 2048, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_GEGLU, 2304, 768, 8448, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_LINEAR, 768, 768, 512, PK_LINEAR_64_64, false, 3},
    {PITH_PACK_LINEAR, 768, 768, 2048, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_LINEAR, 768, 768, 8448, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_LINEAR, 768, 1152, 512, PK_LINEAR_64_64, false, 3},
    {PITH_PACK_LINEAR, 768, 1152, 2048, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_LINEAR, 768, 1152, 8448, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_SPAN_CONV, 1280, 768, 512, PK_LINEAR_64_192, false, 2},
    {PITH_PACK_SPAN_CONV, 1280, 768, 2048, PK_LINEAR_128_192, false, 1},
    {PITH_PACK_SPAN_CONV, 1280, 768, 8448, PK_LINEAR_128_192, false, 1},
};

#endif
