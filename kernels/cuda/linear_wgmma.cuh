/* Launch of the sm_90a products; chosen by kernels/cuda/linear.cu, which has checked the task. */
#ifndef PK_CUDA_LINEAR_WGMMA_CUH
#define PK_CUDA_LINEAR_WGMMA_CUH

#include "kernels/cuda/linear_epilogue.cuh"

namespace pk {

/* 0 or an error: the tensor map's or the launch's. task.tile is not PK_LINEAR_SAFE. */
int launch_wgmma(const pk_linear_cuda_task &task, const Product &product, Form form);

} // namespace pk

#endif
