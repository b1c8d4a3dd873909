/* Made by bench/gpu/tune.py from bench/gpu/tune/sm_90a-132.json: not to be edited.
 * Not yet measured on a GPU. */
#ifndef PITH_BACKEND_CUDA_TILES_H
#define PITH_BACKEND_CUDA_TILES_H

#include "runtime/backend/cuda/kernels.h"

enum { CUDA_TILES_MEASURED = 0 }; /* on a GPU; else computed, as kernels.c has it */

static const cuda_tile cuda_tiles[] = {
    {PITH_PACK_QKV, 2304, 768, 512, PK_LINEAR_64_192, 6, true, 1},
    {PITH_PACK_QKV, 2304, 768, 2048, PK_LINEAR_128_192, 5, false, 1},
    {PITH_PACK_QKV, 2304, 768, 8448, PK_LINEAR_128_192, 5, true, 1},
    {PITH_PACK_GEGLU, 2304, 768, 512, PK_LINEAR_64_192, 6, true, 1},
    {PITH_PACK_GEGLU, 2304, 768, 2048, PK_LINEAR_128_192, 5, false, 1},
    {PITH_PACK_GEGLU, 2304, 768, 8448, PK_LINEAR_128_192, 5, true, 1},
    {PITH_PACK_LINEAR, 768, 768, 512, PK_LINEAR_64_64, 12, false, 1},
    {PITH_PACK_LINEAR, 768, 768, 2048, PK_LINEAR_128_192, 5, false, 1},
    {PITH_PACK_LINEAR, 768, 768, 8448, PK_LINEAR_128_192, 5, true, 1},
    {PITH_PACK_LINEAR, 768, 1152, 512, PK_LINEAR_64_64, 12, false, 1},
    {PITH_PACK_LINEAR, 768, 1152, 2048, PK_LINEAR_128_192, 5, false, 1},
    {PITH_PACK_LINEAR, 768, 1152, 8448, PK_LINEAR_128_192, 5, true, 1},
    {PITH_PACK_SPAN_CONV, 1280, 768, 512, PK_LINEAR_64_192, 6, true, 1},
    {PITH_PACK_SPAN_CONV, 1280, 768, 2048, PK_LINEAR_128_192, 5, false, 1},
    {PITH_PACK_SPAN_CONV, 1280, 768, 8448, PK_LINEAR_128_192, 5, true, 1},
};

#endif
