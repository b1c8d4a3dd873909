/* Dense products on a GPU: kernels/linear.h's three forms over 16-bit operands.
 *
 *   pk_linear_cuda    out[r, n] = y[r, n]                                              f32
 *   pk_geglu_cuda     out[r, j] = gelu(value) * gate, weight rows interleaved           dtype
 *   pk_qkv_rope_cuda  q and k rotated by positions[r], q times head_dim^-1/2            dtype
 *
 * Not yet measured on a GPU. PK_LINEAR_SAFE runs on sm_80 and later (mma.sync), the others on
 * sm_90a (wgmma).
 *
 * Numerics: operands f16 or bf16; one f32 accumulator chain per output element, started at 0, k
 * ascending in steps of 16, never split; rotation, GELU and product in f32; one rounding to a
 * 16-bit output, where f16 saturates (counted; a NaN stays a NaN). So an output element depends on
 * its row of act, its row of weight, the dtype and the instruction family, never on rows, row
 * offset, tile or grid: the sm_90a tiles, paired or not, give each other's bits (shown in the
 * emulation; on a GPU to be shown by hashes of the outputs), the safe tile's differ where mma and
 * wgmma sum the 16 products of a step differently.
 *
 * FLOPs 2 * rows * n * k. Bytes at best: act and out once, weight once; from L2 a 128 x 192 tile
 * asks (128 + 192) * 2 bytes per k and 2 * 128 * 192 FLOPs, 77 FLOP/B. H200's limit is its tensor
 * cores, 790 TFLOP/s (bf16, measured): rows 8,448, n 2,304, k 768 take 38 us at that rate, and
 * their 54 MB 12 us at 4.3 TB/s. */
#ifndef PK_CUDA_LINEAR_H
#define PK_CUDA_LINEAR_H

#include "kernels/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PK_LINEAR_CUDA_HEAD_DIM = 64, /* of pk_qkv_rope_cuda */
    PK_LINEAR_CUDA_K_STEP = 16,   /* k is a multiple */
    PK_LINEAR_CUDA_INVALID = 1    /* cudaErrorInvalidValue */
};

/* Which kernel; fixed per (n, k) and class of rows_max, never timed at start. */
typedef enum pk_linear_cuda_tile {
    PK_LINEAR_SAFE,    /* mma.sync, 128 x 128 */
    PK_LINEAR_128_192, /* wgmma; rows x columns */
    PK_LINEAR_64_192,
    PK_LINEAR_64_64
} pk_linear_cuda_tile;

/* All pointers are device memory, aligned to 16 bytes, but `rows` and `saturated` to 4. out aliases
 * nothing. With `dependent` the grid before must not write weight, rope, positions or rows: they
 * are read while it may be running. act has rows_max rows that may be read; those from *rows on may
 * hold anything, and the same rows of out are not written. */
typedef struct pk_linear_cuda_task {
    void *out;                 /* linear [rows, n] f32; geglu [rows, n / 2], qkv [rows, n] dtype */
    const void *act;           /* [rows_max, k] dtype */
    const void *weight;        /* [n, k] dtype, packed: linear_pack.h */
    const float *rope;         /* qkv: [positions, 2, 32] f32, cosines, then sines */
    const uint32_t *positions; /* qkv: [rows] position of each row in its sequence */
    const uint32_t *rows;      /* [1], at most rows_max; read on the device */
    uint32_t *saturated;       /* [1] added to: f16 outputs that did not fit; or NULL */
    uint32_t rows_max;         /* sizes the grid */
    uint32_t n;                /* weight rows: a multiple of 16; geglu 64; qkv 3 * 64 */
    uint32_t k;                /* a multiple of PK_LINEAR_CUDA_K_STEP */
    pk_dtype dtype;            /* PK_F16 or PK_BF16 */
    pk_linear_cuda_tile tile;
    uint32_t stages; /* of the ring of a wgmma tile; 0: the first of pk_linear_cuda_choices */
    uint32_t ctas;   /* the grid's size at most, not 0; each takes tiles in turn */
    bool multicast;  /* pairs of CTAs share each weight tile. ctas is then at most what is resident
                        at once in pairs (pk_linear_cuda_pairs): a pair that has to wait takes its
                        share of the tiles after all others */
    bool dependent;  /* programmatic dependent launch */
    void *stream;
} pk_linear_cuda_task;

/* Every wgmma kernel that there is, tile by tile; a deeper ring hides more of memory's latency and
 * leaves less room for other CTAs. All give the same bits. */
enum { PK_LINEAR_CUDA_CHOICES = 7 };
typedef struct pk_linear_cuda_choice {
    pk_linear_cuda_tile tile;
    uint32_t stages;
    bool multicast;
    uint32_t ctas_per_sm; /* resident at once on compute capability 9.0 */
} pk_linear_cuda_choice;
extern const pk_linear_cuda_choice pk_linear_cuda_choices[PK_LINEAR_CUDA_CHOICES];

/* *pairs: how many pairs of CTAs of a multicast product are resident at once, of any tile and form.
 * 0, or a cudaError_t. */
int pk_linear_cuda_pairs(pk_dtype dtype, int *pairs);

/* 0, PK_LINEAR_CUDA_INVALID, or the cudaError_t of the launch; rows_max == 0 launches nothing. */
int pk_linear_cuda(const pk_linear_cuda_task *task);
int pk_geglu_cuda(const pk_linear_cuda_task *task);
int pk_qkv_rope_cuda(const pk_linear_cuda_task *task);

typedef enum pk_linear_cuda_form {
    PK_LINEAR_CUDA_FORM_PLAIN,
    PK_LINEAR_CUDA_FORM_GEGLU,
    PK_LINEAR_CUDA_FORM_QKV
} pk_linear_cuda_form;

/* What is left of a product that a library multiplied: sums in the order of the weight's packed
 * rows become one of the three outputs above, with their bits for the same sums. Fields as above;
 * `sums` is aligned to 16 bytes and may come from the grid before. Bytes: 4 read, then 4 (plain), 1
 * (geglu) or 2 (qkv) written for each of rows * n. Not yet measured on a GPU. */
typedef struct pk_finish_cuda_task {
    void *out;
    const float *sums; /* [rows_max, n] f32, act times the packed weight's rows */
    const float *rope;
    const uint32_t *positions;
    const uint32_t *rows;
    uint32_t *saturated;
    uint32_t rows_max;
    uint32_t n;
    pk_linear_cuda_form form;
    pk_dtype dtype;
    uint32_t ctas;
    bool dependent;
    void *stream;
} pk_finish_cuda_task;

int pk_finish_cuda(const pk_finish_cuda_task *task);

#ifdef __cplusplus
}
#endif

#endif
