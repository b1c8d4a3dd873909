/* pith health: does a server serve? */
#include "server/cli/cli.h"
#include "server/grpc/client.h"

#define HEALTH_TIMEOUT_NS (INT64_C(5) * 1000000000)

int pith_cli_health(const pith_options *options) {
    const char *addr = options->addr != NULL ? options->addr : "127.0.0.1:50051";
    pith_err err = {0};
    bool serving = false;
    if (pith_client_health(addr, "", HEALTH_TIMEOUT_NS, &serving, &err) != PITH_OK) {
        return pith_cli_fail(&err);
    }
    (void)printf("%s %s\n", addr, serving ? "SERVING" : "NOT_SERVING");
    return serving ? PITH_EXIT_OK : PITH_EXIT_FAILED;
}
