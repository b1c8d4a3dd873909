/* The commands of `pith`. Each prints its result on stdout, figures and errors on stderr, and
 * returns the process's exit code. */
#ifndef PITH_SERVER_CLI_CLI_H
#define PITH_SERVER_CLI_CLI_H

#include "runtime/base/status.h"
#include "server/common/options.h"

/* Exit codes that scripts can use. */
enum {
    PITH_EXIT_OK = 0,
    PITH_EXIT_FAILED = 1,     /* the request was understood and failed; not serving */
    PITH_EXIT_USAGE = 2,      /* flags, unreadable file or model, input that is refused */
    PITH_EXIT_UNAVAILABLE = 3 /* no server there, draining or full: worth another try */
};

int pith_cli_compress(const pith_options *options);
int pith_cli_health(const pith_options *options);
int pith_cli_models(const pith_options *options);
int pith_cli_tokens(const pith_options *options);

/* Prints "pith: text" and returns the exit code of the status. */
int pith_cli_fail(const pith_err *err);

#endif
