/* pith models: what is loaded, and as what. */
#include "server/cli/cli.h"
#include "server/common/engine_options.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

static json_t *describe(const pith_model_info *info) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:b}", "name", info->name, "fingerprint",
                     info->fingerprint, "device", info->device, "dtype", info->dtype, "isa",
                     info->isa, "windowTokens", (int)info->window_tokens, "parameters",
                     (json_int_t)info->n_parameters, "default", (int)info->is_default);
}

static bool print_json(const pith_model_info *models, size_t n) {
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        ok = json_array_append_new(list, describe(&models[i])) == 0;
    }
    ok = ok && json_dumpf(list, stdout, JSON_INDENT(2)) == 0;
    (void)putchar('\n');
    json_decref(list);
    return ok;
}

static void print_table(const pith_model_info *models, size_t n) {
    (void)printf("%-20s %-7s %-6s %-12s %7s %12s  %s\n", "NAME", "DEVICE", "DTYPE", "ISA", "WINDOW",
                 "PARAMETERS", "FINGERPRINT");
    for (size_t i = 0; i < n; i++) {
        (void)printf("%-20s %-7s %-6s %-12s %7u %12" PRIu64 "  %s\n", models[i].name,
                     models[i].device, models[i].dtype, models[i].isa, models[i].window_tokens,
                     models[i].n_parameters, models[i].fingerprint);
    }
}

int pith_cli_models(const pith_options *options) {
    pith_err err;
    pith_engine *engine;
    if (pith_engine_open_with(&engine, options, &err) != PITH_OK) {
        return pith_cli_fail(&err);
    }
    const pith_model_info *models;
    size_t n = pith_engine_models(engine, &models);
    bool ok = true;
    if (options->json) {
        ok = print_json(models, n);
    } else {
        print_table(models, n);
    }
    pith_engine_close(engine);
    return ok ? PITH_EXIT_OK : PITH_EXIT_FAILED;
}
