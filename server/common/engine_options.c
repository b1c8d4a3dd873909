#include "server/common/engine_options.h"

#include "runtime/base/file.h"
#include "runtime/base/log.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATTERNS_BYTES_MAX = 1024 * 1024, NAME_BYTES_MAX = 64 };

/* Model names and folders of the options, split; lives while the engine is opened. */
typedef struct model_list {
    pith_model_spec specs[PITH_MODEL_OPTIONS_MAX];
    char names[PITH_MODEL_OPTIONS_MAX][NAME_BYTES_MAX];
    char shipped[PATH_MAX];
    size_t n;
} model_list;

pith_status pith_shipped_model(char *dir, size_t size, pith_err *err) {
    static const char *const beside[] = {"../../models/pith-mini",
                                         "../share/pith/models/pith-mini"};
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0) {
        return pith_fail(err, PITH_IO, "cannot find the program's own folder; give --model DIR");
    }
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        char config[PATH_MAX + 64];
        (void)snprintf(config, sizeof config, "%s/%s/config.json", self, beside[i]);
        if (access(config, R_OK) == 0 &&
            snprintf(dir, size, "%s/%s", self, beside[i]) < (int)size) {
            return PITH_OK;
        }
    }
    return pith_fail(err, PITH_NOT_FOUND, "no model beside %s; give --model DIR", self);
}

/* "NAME=DIR" or "DIR"; a name has no slash. */
static pith_status split_model(model_list *list, const char *value, pith_err *err) {
    pith_model_spec *spec = &list->specs[list->n];
    const char *equals = strchr(value, '=');
    const char *slash = strchr(value, '/');
    *spec = (pith_model_spec){.dir = value};
    if (equals != NULL && (slash == NULL || equals < slash)) {
        size_t len = (size_t)(equals - value);
        if (len == 0 || len >= NAME_BYTES_MAX) {
            return pith_fail(err, PITH_INVALID, "--model: a name has 1 to %d bytes: \"%.128s\"",
                             NAME_BYTES_MAX - 1, value);
        }
        memcpy(list->names[list->n], value, len);
        list->names[list->n][len] = '\0';
        spec->name = list->names[list->n];
        spec->dir = equals + 1;
    }
    list->n++;
    return PITH_OK;
}

static pith_status list_models(model_list *list, const pith_options *options, pith_err *err) {
    list->n = 0;
    if (options->n_models == 0) {
        pith_status status = pith_shipped_model(list->shipped, sizeof list->shipped, err);
        return status == PITH_OK ? split_model(list, list->shipped, err) : status;
    }
    for (uint32_t i = 0; i < options->n_models; i++) {
        pith_status status = split_model(list, options->models[i], err);
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

static pith_status apply_log_form(const pith_options *options, pith_err *err) {
    if (options->log == NULL || strcmp(options->log, "text") == 0) {
        return PITH_OK; /* `pith` has no such flag */
    }
    if (strcmp(options->log, "json") != 0) {
        return pith_fail(err, PITH_INVALID, "--log: \"%.32s\" is not text|json", options->log);
    }
    pith_log_set_json(true);
    return PITH_OK;
}

pith_status pith_apply_log(const pith_options *options, pith_err *err) {
    const char *name = options->log_level;
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            pith_log_set_level((pith_log_level)i);
            return apply_log_form(options, err);
        }
    }
    return pith_fail(err, PITH_INVALID, "--log-level: \"%.32s\" is not debug|info|warn|error",
                     name);
}

static pith_status open_engine(pith_engine **engine, const pith_options *options,
                               const model_list *list, pith_err *err) {
    pith_file patterns = {0};
    if (options->patterns != NULL) {
        pith_status status = pith_file_read(&patterns, options->patterns, PATTERNS_BYTES_MAX, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    pith_engine_opts opts = {
        .models = list->specs,
        .n_models = list->n,
        .device = options->device,
        .gpu_kernels = options->gpu_kernels,
        .dtype = options->dtype,
        .isa = options->isa,
        .n_threads = options->threads,
        .jobs_max = options->max_jobs,
        .bytes_max = options->max_queue_bytes,
        .tokens_max = options->max_queue_tokens,
        .step_tokens_max = options->step_tokens,
        .step_ns_max = (int64_t)options->step_ms * 1000000,
        .text_bytes_max = options->max_text_bytes,
        .critical_config = patterns.data,
        .fold_after = options->fold_after,
    };
    pith_status status = pith_engine_open(engine, &opts, err);
    if (status == PITH_OK && pith_engine_note(*engine)[0] != '\0') {
        pith_log(PITH_LOG_INFO, "%s", pith_engine_note(*engine));
    }
    pith_file_close(&patterns);
    return status;
}

pith_status pith_engine_open_with(pith_engine **engine, const pith_options *options,
                                  pith_err *err) {
    *engine = NULL;
    model_list *list = malloc(sizeof *list);
    if (list == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the list of models");
    }
    pith_status status = list_models(list, options, err);
    if (status == PITH_OK) {
        status = open_engine(engine, options, list, err);
    }
    free(list);
    return status;
}

pith_status pith_engine_reload_with(pith_engine *engine, const pith_options *options,
                                    pith_err *err) {
    pith_file patterns = {0};
    pith_status status = PITH_OK;
    if (options->patterns != NULL) {
        status = pith_file_read(&patterns, options->patterns, PATTERNS_BYTES_MAX, err);
    }
    if (status == PITH_OK) {
        status = pith_engine_reload(engine, patterns.data, err);
        pith_file_close(&patterns);
    }
    return status;
}
