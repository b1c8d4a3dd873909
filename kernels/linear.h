/* Dense products y = x W^T and the three things done to y while it is hot.
 *
 *   linear      out[r, n] = y[r, n]                                                     f32
 *   geglu       out[r, n] = gelu(y[r, n]) * y[r, N + n], gelu(a) = a/2 (1 + erf(a/sqrt 2))
 *   qkv_rope    y is [3, heads, head_dim]; with half = head_dim/2, p = position of row r:
 *               q, k: out[d] = y[d] cos(p, d) - y[d + half] sin(p, d)           for d < half
 *                     out[d + half] = y[d + half] cos(p, d) + y[d] sin(p, d)
 *               q is then multiplied by head_dim^-1/2; v is stored as it is.            f32
 *
 * Numerics: one f32 accumulator per output element, started at 0, k ascending, a fused
 * multiply-add per k. Where the product is bf16 both operands are bf16 and the sum stays f32;
 * avx512-bf16 adds them two k at a time as its instruction does. So an output element depends on
 * its row, its weight row and the ISA, never on which rows are computed beside it. `ref`: double.
 *
 * FLOPs 2 * rows * n * k. Bytes: weights once per PK_ROW_BLOCK rows, from L2 or L3. */
#ifndef PK_LINEAR_H
#define PK_LINEAR_H

#include "kernels/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows handled in one task: a multiple of every tile height (6 for 256-bit, 12 for 512-bit
 * vectors); 96 rows of 1,152 f32 fill 432 KiB, which stays in a 512 KiB L2. */
enum { PK_ROW_BLOCK = 96 };

/* How weight rows pair up in a panel of 2 * width columns [lo | hi]:
 * PK_PANEL_PLAIN lo and hi follow each other; otherwise the n rows are groups of 2 * half, and
 * row h of a group's lower half meets row h + half: RoPE's pairs, or GeGLU's value and gate. */
typedef enum pk_panel_kind { PK_PANEL_PLAIN, PK_PANEL_PAIRED } pk_panel_kind;

/* Packed weights: [n_panels][k][2 * width] f32, or for bf16 [n_panels][k / 2][2 * width][2].
 * Columns that a ragged end lacks are zero. Aligned to 64 bytes. */
typedef struct pk_panels {
    void *data;
    pk_dtype dtype; /* PK_F32 or PK_BF16 (k must be even) */
    pk_panel_kind kind;
    size_t width; /* vector width of the ISA in f32: 8 or 16 */
    size_t n;     /* weight rows */
    size_t k;
    size_t half; /* PK_PANEL_PAIRED: rows of half a group; n is a multiple of 2 * half */
    size_t n_panels;
} pk_panels;

/* Fills every field but `data`; returns the bytes that `data` needs. */
size_t pk_panels_plan(pk_panels *panels, pk_dtype dtype, pk_panel_kind kind, size_t width, size_t n,
                      size_t k, size_t half);

/* Packs `src` [n, k] of src_dtype. rows: scratch of 2 * width * k f32. */
void pk_panels_pack(const pk_panels *panels, const void *src, pk_dtype src_dtype, float *rows);

/* Where panel p's halves come from: the weight row of lo[0] and of hi[0], and how many of the
 * `width` columns of each exist. */
typedef struct pk_panel_columns {
    size_t lo;
    size_t hi;
    size_t lo_valid;
    size_t hi_valid;
} pk_panel_columns;

pk_panel_columns pk_panel_columns_of(const pk_panels *panels, size_t panel);

/* One task: rows [0, rows) with rows <= PK_ROW_BLOCK, panels [panel_begin, panel_end).
 * act [rows, k] of the panels' dtype, act_stride elements between rows.
 * scratch: PK_ROW_BLOCK * k f32, used where bf16 is widened; may be NULL for f32 panels. */
typedef struct pk_linear_task {
    const void *act;
    size_t act_stride;
    size_t rows;
    const pk_panels *weight;
    size_t panel_begin;
    size_t panel_end;
    float *scratch;
} pk_linear_task;

/* out [rows, out_stride]; columns by weight row. */
typedef void pk_linear_fn(float *out, size_t out_stride, const pk_linear_task *task);
/* out [rows, out_stride] of out_dtype; half of the weight's rows. Panels PAIRED, one group. */
typedef void pk_geglu_fn(void *out, pk_dtype out_dtype, size_t out_stride,
                         const pk_linear_task *task);
/* out [rows, n] f32. Panels PAIRED with half = head_dim / 2. rope [positions, 2, half];
 * positions [rows]. */
typedef void pk_qkv_rope_fn(float *out, const float *rope, const uint32_t *positions,
                            const pk_linear_task *task);

pk_linear_fn pk_linear_avx2, pk_linear_avx512, pk_linear_avx512bf16;
pk_geglu_fn pk_geglu_avx2, pk_geglu_avx512, pk_geglu_avx512bf16;
pk_qkv_rope_fn pk_qkv_rope_avx2, pk_qkv_rope_avx512, pk_qkv_rope_avx512bf16;

/* The oracle: act [rows, k] f32, weight [n, k] f32 row-major. */
void pk_linear_ref(float *out, const float *act, const float *weight, size_t rows, size_t n,
                   size_t k);
/* out [rows, n], weight [2 * n, k]. */
void pk_geglu_ref(float *out, const float *act, const float *weight, size_t rows, size_t n,
                  size_t k);
/* out [rows, 3 * heads * 2 * half], rope [positions, 2, half]. */
void pk_qkv_rope_ref(float *out, const float *act, const float *weight, const float *rope,
                     const uint32_t *positions, size_t rows, size_t heads, size_t half, size_t k);

#ifdef __cplusplus
}
#endif

#endif
