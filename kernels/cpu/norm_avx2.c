/* kernels/norm.h with AVX2. */
#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/norm_body.h"
