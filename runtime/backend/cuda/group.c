/* Several devices of one process: their names, and that they compute alike. */
#include "runtime/backend/cuda/kernels.h"

#include "runtime/backend/host.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 32 };

/* "cuda:all": every device of the machine, written out. */
static pith_status all_devices(char *out, size_t size, pith_err *err) {
    int count = pith_cu_count();
    if (count > PITH_DEVICES_MAX) {
        return pith_fail(err, PITH_INVALID, "cuda:all: this machine has %d devices, at most %d",
                         count, PITH_DEVICES_MAX);
    }
    size_t used = (size_t)snprintf(out, size, "cuda:0"); /* without a driver it says so */
    for (int i = 1; i < count; i++) {
        used += (size_t)snprintf(out + used, size - used, ",cuda:%d", i);
    }
    return PITH_OK;
}

static pith_status open_one(pith_device *devices, uint32_t n, const char *name,
                            const pith_device_opts *opts, pith_err *err) {
    pith_device_opts named = *opts;
    named.device = name;
    if (n == PITH_DEVICES_MAX) {
        return pith_fail(err, PITH_INVALID, "device \"%.64s\": more than %d", opts->device,
                         PITH_DEVICES_MAX);
    }
    pith_status status = pith_cuda_open(&devices[n], &named, err);
    if (status != PITH_OK) {
        return status;
    }
    const pith_ops_ctx *ctx = devices[n].ctx;
    const pith_ops_ctx *first = devices[0].ctx;
    for (uint32_t d = 0; d < n; d++) {
        if (devices[d].ctx->ordinal == ctx->ordinal) {
            return pith_fail(err, PITH_INVALID, "device \"%.64s\": %s twice", opts->device,
                             ctx->device_name);
        }
    }
    /* Another class of device has other instructions, and so other bits. */
    if (ctx->info.major != first->info.major || ctx->info.minor != first->info.minor) {
        return pith_fail(err, PITH_UNSUPPORTED,
                         "%s is %.64s (sm_%d%d), %s %.64s (sm_%d%d): they would answer one text "
                         "differently; serve each from a process of its own",
                         first->device_name, first->info.name, first->info.major, first->info.minor,
                         ctx->device_name, ctx->info.name, ctx->info.major, ctx->info.minor);
    }
    return PITH_OK;
}

static pith_status open_list(pith_device *devices, uint32_t *n, const char *list,
                             const pith_device_opts *opts, pith_err *err) {
    pith_status status = PITH_OK;
    for (const char *at = list; status == PITH_OK && at != NULL;) {
        const char *comma = strchr(at, ',');
        size_t len = comma != NULL ? (size_t)(comma - at) : strlen(at);
        char name[NAME_BYTES];
        if (len >= sizeof name || strncmp(at, "cuda", len < 4 ? len : 4) != 0 || len == 0) {
            return pith_fail(err, PITH_INVALID,
                             "device \"%.64s\" is unknown: expected cuda:N, cuda:N,cuda:M or "
                             "cuda:all",
                             opts->device);
        }
        memcpy(name, at, len);
        name[len] = '\0';
        status = open_one(devices, *n, name, opts, err);
        *n += *n < PITH_DEVICES_MAX && devices[*n].ctx != NULL;
        at = comma != NULL ? comma + 1 : NULL;
    }
    return status;
}

pith_status pith_cuda_open_all(pith_device *devices, uint32_t *n, const pith_device_opts *opts,
                               pith_err *err) {
    char every[PITH_DEVICES_MAX * 8];
    const char *list = opts->device;
    pith_status status = PITH_OK;
    *n = 0;
    if (strcmp(list, "cuda:all") == 0) {
        status = all_devices(every, sizeof every, err);
        list = every;
    }
    if (status == PITH_OK) {
        status = open_list(devices, n, list, opts, err);
    }
    bool refused = false;
    for (uint32_t d = 0; d < *n; d++) {
        refused = refused || devices[d].ctx->fast_refused;
    }
    for (uint32_t d = 0; refused && d < *n; d++) {
        cuda_refuse_fast(devices[d].ctx); /* for the whole process, as on one device */
        devices[d].kernels_refused = true;
    }
    return status;
}
