/* kernels/attn.h with AVX512-BF16. */
#include "kernels/cpu/vec_avx512bf16.h"

#include "kernels/cpu/attn_body.h"
