#include "server/cli/cli.h"

int pith_cli_fail(const pith_err *err) {
    (void)fprintf(stderr, "pith: %s\n", err->text);
    switch (err->status) {
    case PITH_EXHAUSTED:
    case PITH_UNAVAILABLE:
        return PITH_EXIT_UNAVAILABLE;
    case PITH_INVALID:
    case PITH_NOT_FOUND:
    case PITH_IO:
    case PITH_CORRUPT:
    case PITH_UNSUPPORTED:
        return PITH_EXIT_USAGE;
    default:
        return PITH_EXIT_FAILED;
    }
}
