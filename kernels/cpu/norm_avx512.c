/* kernels/norm.h with AVX-512. */
#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/norm_body.h"
