#include "server/grpc/fault.h"

#include <stdarg.h>
#include <stdio.h>

pith_status pith_fault_set(pith_fault *fault, pith_status status, const char *field,
                           const char *fmt, ...) {
    *fault = (pith_fault){.err = {.status = status}};
    (void)snprintf(fault->field, sizeof fault->field, "%s", field == NULL ? "" : field);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(fault->err.text, sizeof fault->err.text, fmt, args);
    va_end(args);
    return status;
}
