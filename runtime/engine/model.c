#include "runtime/engine/model.h"

#include "runtime/base/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bumped when the same weights would give other bytes: a change of windows, gate or decisions. */
#define PITH_DECISION_VERSION "1"

static void set_thresholds(pith_model *model) {
    const pith_model_config *config = &model->config;
    double fallback = 0.5; /* published checkpoints */
    for (uint32_t i = 0; i < config->n_thresholds; i++) {
        if (strcmp(config->thresholds[i].domain, "default") == 0) {
            fallback = config->thresholds[i].value;
        }
    }
    for (int d = 0; d < PITH_DOMAIN_COUNT; d++) {
        model->decide.thresholds[d] = fallback;
    }
    for (uint32_t i = 0; i < config->n_thresholds; i++) {
        pith_domain domain = pith_domain_find(config->thresholds[i].domain);
        if (domain != PITH_DOMAIN_COUNT) {
            model->decide.thresholds[domain] = config->thresholds[i].value;
        }
    }
}

/* Bytes are promised per fingerprint: weights, config, backend, dtype and ISA path. */
static void set_fingerprint(pith_model *model, const pith_backend *backend) {
    char text[512];
    int len = snprintf(text, sizeof text, "%s|%s|%s|%s|%s", PITH_DECISION_VERSION,
                       pith_checkpoint_sha256(model->checkpoint), pith_backend_device(backend),
                       pith_backend_dtype(backend), pith_backend_isa(backend));
    unsigned char digest[PITH_SHA256_BYTES];
    pith_sha256(text, len < (int)sizeof text ? (size_t)len : sizeof text - 1, digest);
    for (size_t i = 0; i + 1 < sizeof model->fingerprint; i += 2) {
        (void)snprintf(model->fingerprint + i, 3, "%02x", digest[i / 2]);
    }
}

static pith_status open_tokenizer(pith_model *model, const char *dir, pith_err *err) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/tokenizer.json", dir) >= (int)sizeof path) {
        return pith_fail(err, PITH_INVALID, "%.64s...: path too long", dir);
    }
    pith_status status = pith_tokenizer_open(&model->tokenizer, path, err);
    if (status != PITH_OK) {
        return status;
    }
    uint32_t n_tok = pith_tokenizer_vocab_size(model->tokenizer);
    if (n_tok > model->config.vocab_size) {
        return pith_fail(err, PITH_CORRUPT, "%s: token ids up to %u, the model has %u embeddings",
                         path, n_tok - 1, model->config.vocab_size);
    }
    return PITH_OK;
}

static pith_status open_parts(pith_model *model, const pith_model_spec *spec,
                              const pith_backend *backend, uint32_t tokens_max, pith_err *err) {
    pith_status status = pith_model_config_read(&model->config, spec->dir, err);
    if (status != PITH_OK) {
        return status;
    }
    if (model->config.window_tokens > tokens_max) {
        return pith_fail(err, PITH_INVALID,
                         "%s: windows of %u tokens, a step holds %u (raise step-tokens)", spec->dir,
                         model->config.window_tokens, tokens_max);
    }
    status = open_tokenizer(model, spec->dir, err);
    if (status == PITH_OK) {
        status = pith_checkpoint_open(&model->checkpoint, spec->dir, &model->config, err);
    }
    if (status == PITH_OK) {
        status = pith_encoder_open(&model->encoder, &model->config, model->checkpoint,
                                   pith_backend_ops(backend), pith_backend_ctx(backend), tokens_max,
                                   err);
    }
    return status;
}

/* One small step, so that the first request does not pay for first touches. */
static pith_status warm_up(pith_model *model, pith_err *err) {
    uint32_t ids[] = {model->config.cls_id, model->config.sep_id};
    uint32_t cu_seqlens[] = {0, 2};
    float score[2];
    pith_batch batch = {.n_seq = 1, .n_tok = 2, .ids = ids, .cu_seqlens = cu_seqlens};
    return pith_encoder_forward(model->encoder, &batch, NULL, NULL, score, err);
}

pith_status pith_model_open(pith_model **model, const pith_model_spec *spec,
                            const pith_backend *backend, const struct pith_critical *critical,
                            uint32_t tokens_max, pith_err *err) {
    *model = NULL;
    pith_model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for the model", spec->dir);
    }
    pith_status status = open_parts(m, spec, backend, tokens_max, err);
    if (status == PITH_OK) {
        status = warm_up(m, err);
    }
    if (status != PITH_OK) {
        pith_model_close(m);
        return status;
    }
    const char *name = spec->name != NULL ? spec->name : m->config.name;
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    m->decide.critical = critical;
    m->decide.critical_window = 1;
    set_thresholds(m);
    set_fingerprint(m, backend);
    m->document = (pith_document_opts){
        .word_mode = m->config.split_words ? PITH_WORDS_SPLIT : PITH_WORDS_RAW,
        .window_tokens = m->config.window_tokens,
        .halo_tokens = m->config.halo_tokens,
        .cls_id = m->config.cls_id,
        .sep_id = m->config.sep_id,
    };
    *model = m;
    return PITH_OK;
}

void pith_model_close(pith_model *model) {
    if (model == NULL) {
        return;
    }
    pith_encoder_close(model->encoder);
    pith_checkpoint_close(model->checkpoint);
    pith_tokenizer_close(model->tokenizer);
    free(model);
}

void pith_model_describe(const pith_model *model, const pith_backend *backend,
                         pith_model_info *info) {
    *info = (pith_model_info){
        .name = model->name,
        .fingerprint = model->fingerprint,
        .device = pith_backend_device(backend),
        .dtype = pith_backend_dtype(backend),
        .isa = pith_backend_isa(backend),
        .window_tokens = model->config.window_tokens,
        .n_parameters = pith_encoder_parameters(model->encoder),
    };
}
