#include "runtime/base/status.h"

#include <stdarg.h>
#include <stdio.h>

pith_status pith_fail(pith_err *err, pith_status status, const char *fmt, ...) {
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

const char *pith_status_name(pith_status status) {
    static const char *const names[PITH_STATUS_COUNT] = {
        [PITH_OK] = "OK",
        [PITH_INVALID] = "INVALID",
        [PITH_NOT_FOUND] = "NOT_FOUND",
        [PITH_EXHAUSTED] = "EXHAUSTED",
        [PITH_NO_MEMORY] = "NO_MEMORY",
        [PITH_IO] = "IO",
        [PITH_CORRUPT] = "CORRUPT",
        [PITH_UNSUPPORTED] = "UNSUPPORTED",
        [PITH_CANCELLED] = "CANCELLED",
        [PITH_DEADLINE] = "DEADLINE",
        [PITH_UNAVAILABLE] = "UNAVAILABLE",
        [PITH_INTERNAL] = "INTERNAL",
        [PITH_NO_KEY] = "NO_KEY",
    };
    return status < PITH_STATUS_COUNT ? names[status] : "UNKNOWN";
}
