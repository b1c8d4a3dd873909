#include "runtime/engine/settings.h"

#include "runtime/base/sha256.h"
#include "runtime/decide/fold.h"
#include "runtime/text/critical.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bumped when the same weights would give other bytes: a change of windows, gate or decisions. */
#define PITH_DECISION_VERSION "3"

static void set_thresholds(pith_decide_config *decide, const pith_model_config *config) {
    double fallback = 0.5; /* published checkpoints */
    for (uint32_t i = 0; i < config->n_thresholds; i++) {
        if (strcmp(config->thresholds[i].domain, "default") == 0) {
            fallback = config->thresholds[i].value;
        }
    }
    for (int d = 0; d < PITH_DOMAIN_COUNT; d++) {
        decide->thresholds[d] = fallback;
    }
    for (uint32_t i = 0; i < config->n_thresholds; i++) {
        pith_domain domain = pith_domain_find(config->thresholds[i].domain);
        if (domain != PITH_DOMAIN_COUNT) {
            decide->thresholds[domain] = config->thresholds[i].value;
        }
    }
}

static void absorb(pith_sha256 *sha, const char *text) {
    pith_sha256_update(sha, text, strlen(text) + 1);
}

/* The checkpoint's hash covers the thresholds it was opened with; others are absorbed here. */
static void absorb_thresholds(pith_sha256 *sha, const pith_decide_config *decide,
                              const pith_model *model) {
    pith_decide_config opened = {0};
    set_thresholds(&opened, &model->config);
    for (int d = PITH_DOMAIN_AUTO + 1; d < PITH_DOMAIN_COUNT; d++) {
        if (decide->thresholds[d] < opened.thresholds[d] ||
            decide->thresholds[d] > opened.thresholds[d]) {
            char text[64];
            (void)snprintf(text, sizeof text, "threshold %d %.17g", d, decide->thresholds[d]);
            absorb(sha, text);
        }
    }
}

/* Bytes are promised per fingerprint: weights, config, patterns, device, dtype and ISA path, and
 * when lines fold if that is not the default. */
static void set_fingerprint(pith_settings *s, const pith_settings_opts *opts, size_t i) {
    const pith_decide_config *decide = &s->decide[i];
    pith_sha256 sha;
    pith_sha256_init(&sha);
    absorb(&sha, PITH_DECISION_VERSION);
    absorb(&sha, pith_checkpoint_sha256(opts->models[i]->checkpoint));
    absorb(&sha, opts->patterns != NULL ? opts->patterns : "");
    absorb(&sha, opts->device->device);
    absorb(&sha, opts->device->dtype);
    absorb(&sha, opts->device->isa);
    if (decide->fold_after != PITH_FOLD_AFTER_DEFAULT) {
        char fold[32];
        (void)snprintf(fold, sizeof fold, "fold-after %u", decide->fold_after);
        absorb(&sha, fold);
    }
    absorb_thresholds(&sha, decide, opts->models[i]);
    uint8_t digest[PITH_SHA256_BYTES];
    pith_sha256_final(&sha, digest);
    char hex[PITH_SHA256_HEX_BYTES];
    pith_sha256_hex(digest, hex);
    (void)snprintf(s->fingerprints[i], sizeof s->fingerprints[i], "%.32s", hex);
}

static pith_status set_model(pith_settings *s, const pith_settings_opts *opts, size_t i,
                             pith_err *err) {
    pith_model *model = opts->models[i];
    pith_decide_config *decide = &s->decide[i];
    *decide = (pith_decide_config){
        .critical = s->critical,
        .critical_window = 1,
        .length_exponent = model->config.length_exponent,
        .repeat_exponent = model->config.repeat_exponent,
        .fold_after = opts->fold_after > 0 ? opts->fold_after : PITH_FOLD_AFTER_DEFAULT,
    };
    if (opts->reread) {
        pith_model_config *fresh = malloc(sizeof *fresh);
        if (fresh == NULL) {
            return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for its config", model->dir);
        }
        pith_status status = pith_model_config_read(fresh, model->dir, err);
        if (status == PITH_OK) {
            set_thresholds(decide, fresh);
        }
        free(fresh);
        if (status != PITH_OK) {
            return status;
        }
    } else {
        set_thresholds(decide, &model->config);
    }
    set_fingerprint(s, opts, i);
    pith_model_describe(model, opts->device, &s->infos[i]);
    s->infos[i].fingerprint = s->fingerprints[i];
    s->infos[i].is_default = i == 0;
    return PITH_OK;
}

pith_status pith_settings_open(pith_settings **settings, const pith_settings_opts *opts,
                               pith_err *err) {
    *settings = NULL;
    pith_settings *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for settings");
    }
    s->n_models = opts->n_models;
    pith_status status = PITH_OK;
    if (opts->patterns != NULL) {
        s->patterns = strdup(opts->patterns);
        if (s->patterns == NULL) {
            status = pith_fail(err, PITH_NO_MEMORY, "no memory for the patterns");
        }
    }
    if (status == PITH_OK) {
        status = pith_critical_open(&s->critical, s->patterns, err);
    }
    for (size_t i = 0; status == PITH_OK && i < opts->n_models; i++) {
        status = set_model(s, opts, i, err);
    }
    if (status != PITH_OK) {
        pith_settings_close(s);
        return status;
    }
    *settings = s;
    return PITH_OK;
}

void pith_settings_close(pith_settings *settings) {
    while (settings != NULL) {
        pith_settings *older = settings->older;
        pith_critical_close(settings->critical);
        free(settings->patterns);
        free(settings);
        settings = older;
    }
}
