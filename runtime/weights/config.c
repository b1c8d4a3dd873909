#include "runtime/weights/config.h"

#include "runtime/base/file.h"
#include "runtime/weights/config_parts.h"
#include "runtime/weights/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ModernBERT-base, with the decisions of the published checkpoints. */
void pith_config_defaults(pith_model_config *config) {
    *config = (pith_model_config){.vocab_size = 50368,
                                  .hidden = 768,
                                  .intermediate = 1152,
                                  .n_layers = 22,
                                  .n_heads = 12,
                                  .local_window = 64,
                                  .rope_theta_global = 160000.0,
                                  .rope_theta_local = 10000.0,
                                  .norm_eps = 1e-5,
                                  .positions_max = 8192,
                                  .cls_id = 50281,
                                  .sep_id = 50282,
                                  .pad_id = 50283,
                                  .span_channels = 256,
                                  .gate = PITH_GATE_MULTIPLICATIVE,
                                  .split_words = true,
                                  .window_tokens = 512,
                                  .halo_tokens = 64};
}

/* Windows must fit the positions, and the part of a window between its halos must not be empty. */
static pith_status check_windows(const pith_json_scope *scope, const pith_model_config *config,
                                 pith_err *err) {
    if (config->window_tokens > config->positions_max) {
        return pith_fail(err, PITH_CORRUPT,
                         "%s: pith.window_tokens: found %u, expected at most "
                         "max_position_embeddings %u",
                         scope->label, config->window_tokens, config->positions_max);
    }
    if (2 * config->halo_tokens + 2 >= config->window_tokens) { /* 2: [CLS] and [SEP] */
        return pith_fail(err, PITH_CORRUPT,
                         "%s: pith.halo_tokens: found %u, expected 2 x halo + 2 under "
                         "window_tokens %u",
                         scope->label, config->halo_tokens, config->window_tokens);
    }
    return PITH_OK;
}

/* The published threshold holds where the config names no default. */
static pith_status add_default_threshold(const pith_json_scope *scope, pith_model_config *config,
                                         pith_err *err) {
    for (uint32_t i = 0; i < config->n_thresholds; i++) {
        if (strcmp(config->thresholds[i].domain, "default") == 0) {
            return PITH_OK;
        }
    }
    if (config->n_thresholds == PITH_DOMAIN_THRESHOLDS_MAX) {
        return pith_fail(err, PITH_CORRUPT,
                         "%s: pith.thresholds: found 16 without a default, expected at most 15",
                         scope->label);
    }
    config->thresholds[config->n_thresholds++] =
        (pith_named_threshold){.domain = "default", .value = 0.5};
    return PITH_OK;
}

pith_status pith_config_parse(pith_model_config *config, const char *name, const char *data,
                              size_t len, const char *label, pith_err *err) {
    json_t *root;
    pith_config_defaults(config);
    (void)snprintf(config->name, sizeof config->name, "%s", name);
    pith_status status = pith_json_parse(&root, data, len, label, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_json_scope scope = {.object = root, .label = label, .prefix = ""};
    status = pith_config_read_encoder(&scope, config, err);
    if (status == PITH_OK) {
        status = pith_config_read_pith(&scope, config, err);
    }
    if (status == PITH_OK) {
        status = check_windows(&scope, config, err);
    }
    if (status == PITH_OK) {
        status = add_default_threshold(&scope, config, err);
    }
    json_decref(root);
    return status;
}

/* The last component of the directory's real path, with other characters than those a model name
 * may have as '-'. */
static pith_status name_of(const char *dir, char name[PITH_MODEL_NAME_BYTES], pith_err *err) {
    char *real = realpath(dir, NULL);
    if (real == NULL) {
        char label[PITH_LABEL_BYTES];
        pith_label(label, dir);
        return pith_fail(err, errno == ENOENT ? PITH_NOT_FOUND : PITH_IO,
                         "%s: cannot open the model's folder: %s", label, strerror(errno));
    }
    const char *slash = strrchr(real, '/');
    const char *last = slash == NULL ? real : slash + 1;
    size_t len = 0;
    for (; last[len] != '\0' && len + 1 < PITH_MODEL_NAME_BYTES; len++) {
        unsigned char c = (unsigned char)last[len];
        bool plain = (c < 0x80 && isalnum(c)) || c == '.' || c == '_' || c == '-';
        name[len] = (char)(plain ? c : '-');
    }
    name[len] = '\0';
    free(real);
    if (len == 0) {
        (void)snprintf(name, PITH_MODEL_NAME_BYTES, "model");
    }
    return PITH_OK;
}

pith_status pith_model_config_read(pith_model_config *config, const char *dir, pith_err *err) {
    char path[PITH_PATH_BYTES];
    char label[PITH_LABEL_BYTES];
    char name[PITH_MODEL_NAME_BYTES];
    pith_file file;
    pith_status status = name_of(dir, name, err);
    if (status == PITH_OK) {
        status = pith_join_path(path, dir, "config.json", err);
    }
    if (status == PITH_OK) {
        pith_label(label, path);
        status = pith_file_read(&file, path, PITH_JSON_FILE_BYTES, err);
    }
    if (status == PITH_OK) {
        status = pith_config_parse(config, name, file.data, file.len, label, err);
        pith_file_close(&file);
    }
    return status;
}
