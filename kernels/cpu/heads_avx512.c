/* kernels/heads.h with AVX-512. */
#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/heads_body.h"
