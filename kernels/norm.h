/* Embedding + LayerNorm and residual + LayerNorm, without bias.
 *
 *   mean = sum(x) / dim;  var = sum((x - mean)^2) / dim;  y = (x - mean) / sqrt(var + eps) * weight
 *
 * Statistics in f32 over one fixed chain per row (`ref`: double). Rows are independent.
 * Bytes moved per row and element: embed 4 read (or 2), 8 written; add 12 read, 8 written (or 6).
 */
#ifndef PK_NORM_H
#define PK_NORM_H

#include "kernels/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x[rows, dim] = y of the table rows ids[rows]; out[rows, dim] the same, as out_dtype (f32, bf16).
 * table [vocab, dim] of table_dtype; ids below vocab. x and out must not alias. */
typedef void pk_embed_norm_fn(float *x, void *out, pk_dtype out_dtype, const uint32_t *ids,
                              const void *table, pk_dtype table_dtype, const float *weight,
                              size_t rows, size_t dim, float eps);

/* x[rows, dim] += delta[rows, dim]; out[rows, dim] = y(x) as out_dtype. out may alias delta when
 * out is f32; x aliases nothing. */
typedef void pk_add_norm_fn(float *x, void *out, pk_dtype out_dtype, const float *delta,
                            const float *weight, size_t rows, size_t dim, float eps);

pk_embed_norm_fn pk_embed_norm_ref, pk_embed_norm_avx2, pk_embed_norm_avx512;
pk_add_norm_fn pk_add_norm_ref, pk_add_norm_avx2, pk_add_norm_avx512;

#ifdef __cplusplus
}
#endif

#endif
