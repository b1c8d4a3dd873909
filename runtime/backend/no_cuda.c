/* What stands in for the CUDA backend where it was not built. */
#include "runtime/backend/host.h"

pith_status pith_cuda_open(pith_device *device, const pith_device_opts *opts, pith_err *err) {
    (void)device;
    return pith_fail(err, PITH_UNSUPPORTED, "device \"%.64s\": this build has no CUDA backend",
                     opts->device);
}

pith_status pith_cuda_open_all(pith_device *devices, uint32_t *n, const pith_device_opts *opts,
                               pith_err *err) {
    *n = 0;
    return pith_cuda_open(devices, opts, err);
}

void pith_cuda_close(pith_ops_ctx *ctx) {
    (void)ctx;
}
