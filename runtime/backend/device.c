#include "runtime/backend/device.h"

#include "runtime/backend/host.h"

#include <stdbool.h>
#include <string.h>

static bool is_auto(const char *name) {
    return name == NULL || name[0] == '\0' || strcmp(name, "auto") == 0;
}

static pith_status open_cuda(pith_device *device, const pith_device_opts *opts, pith_err *err) {
    pith_device_opts named = *opts;
    named.dtype = is_auto(opts->dtype) ? NULL : opts->dtype;
    return pith_cuda_open(device, &named, err);
}

pith_status pith_device_open(pith_device *device, const pith_device_opts *opts, pith_err *err) {
    *device = (pith_device){0};
    if (!is_auto(opts->device) && strcmp(opts->device, "cpu") != 0) {
        if (strncmp(opts->device, "cuda", 4) == 0) {
            return open_cuda(device, opts, err);
        }
        return pith_fail(err, PITH_INVALID,
                         "device \"%.64s\" is unknown: expected auto, cpu or cuda:N", opts->device);
    }
    if (!is_auto(opts->dtype) && strcmp(opts->dtype, "f32") != 0 &&
        strcmp(opts->dtype, "bf16") != 0) {
        return pith_fail(err, PITH_INVALID, "dtype \"%s\" is unknown: expected auto, f32 or bf16",
                         opts->dtype);
    }
    if (opts->n_threads > PITH_DEVICE_THREADS_MAX) {
        return pith_fail(err, PITH_INVALID, "%u compute threads: at most %d", opts->n_threads,
                         PITH_DEVICE_THREADS_MAX);
    }
    pith_device_opts named = {
        .device = "cpu",
        .dtype = is_auto(opts->dtype) ? NULL : opts->dtype,
        .isa = is_auto(opts->isa) ? NULL : opts->isa,
        .n_threads = opts->n_threads,
    };
    if (named.isa != NULL && strcmp(named.isa, "ref") == 0) {
        return pith_ref_open(device, &named, err);
    }
    return pith_cpu_open(device, &named, err);
}

pith_status pith_devices_open(pith_device *devices, uint32_t *n, const pith_device_opts *opts,
                              pith_err *err) {
    *n = 0;
    if (is_auto(opts->device) || strncmp(opts->device, "cuda", 4) != 0) {
        pith_status status = pith_device_open(&devices[0], opts, err);
        *n = status == PITH_OK;
        return status;
    }
    pith_device_opts named = *opts;
    named.dtype = is_auto(opts->dtype) ? NULL : opts->dtype;
    pith_status status = pith_cuda_open_all(devices, n, &named, err);
    if (status != PITH_OK) {
        pith_devices_close(devices, *n);
        *n = 0;
    }
    return status;
}

void pith_devices_close(pith_device *devices, uint32_t n) {
    for (uint32_t d = 0; d < n; d++) {
        pith_device_close(&devices[d]);
    }
}

void pith_device_close(pith_device *device) {
    if (device->ops == &pith_ops_ref) {
        pith_ref_close(device->ctx);
    } else if (device->ops == &pith_ops_cpu) {
        pith_cpu_close(device->ctx);
    } else {
        pith_cuda_close(device->ctx);
    }
    *device = (pith_device){0};
}
