#include "runtime/engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What every text would fail on is refused at start. */
static pith_status check_window(const pith_model_config *config, const char *dir,
                                uint32_t tokens_max, pith_err *err) {
    if (config->window_tokens > tokens_max) {
        return pith_fail(err, PITH_INVALID,
                         "%s: windows of %u tokens, a step holds %u (raise step-tokens)", dir,
                         config->window_tokens, tokens_max);
    }
    uint64_t least = 2 * (uint64_t)config->halo_tokens + PITH_WINDOW_SLACK_TOKENS;
    if (config->window_tokens < least) {
        return pith_fail(err, PITH_INVALID,
                         "%s: windows of %u tokens, with a halo of %u at least %u are needed", dir,
                         config->window_tokens, config->halo_tokens, (uint32_t)least);
    }
    return PITH_OK;
}

static pith_status open_parts(pith_model *model, const pith_model_spec *spec,
                              const pith_device *device, uint32_t tokens_max, pith_err *err) {
    pith_status status = pith_model_config_read(&model->config, spec->dir, err);
    if (status != PITH_OK) {
        return status;
    }
    status = check_window(&model->config, spec->dir, tokens_max, err);
    if (status == PITH_OK) {
        status = open_tokenizer(model, spec->dir, err);
    }
    if (status == PITH_OK) {
        status = pith_checkpoint_open(&model->checkpoint, spec->dir, &model->config, err);
    }
    if (status == PITH_OK) {
        pith_encoder_opts opts = {.ops = device->ops, .ctx = device->ctx, .tokens_max = tokens_max};
        status = pith_encoder_open(&model->encoder, &model->config, model->checkpoint, &opts, err);
    }
    return status;
}

/* One small step, so that the first request does not pay for first touches. */
static pith_status warm_up(pith_model *model, pith_err *err) {
    uint32_t ids[] = {model->config.cls_id, model->config.sep_id};
    uint32_t cu_seqlens[] = {0, 2};
    float score[2];
    pith_batch batch = {.n_seq = 1, .n_tok = 2, .ids = ids, .cu_seqlens = cu_seqlens};
    pith_encoder_out out = {.score = score};
    return pith_encoder_forward(model->encoder, &batch, &out, err);
}

pith_status pith_model_open(pith_model **model, const pith_model_spec *spec,
                            const pith_device *device, uint32_t tokens_max, pith_err *err) {
    *model = NULL;
    pith_model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for the model", spec->dir);
    }
    m->dir = strdup(spec->dir);
    pith_status status = m->dir != NULL
                             ? open_parts(m, spec, device, tokens_max, err)
                             : pith_fail(err, PITH_NO_MEMORY, "%s: no memory", spec->dir);
    if (status == PITH_OK) {
        status = warm_up(m, err);
    }
    if (status != PITH_OK) {
        pith_model_close(m);
        return status;
    }
    const char *name = spec->name != NULL ? spec->name : m->config.name;
    (void)snprintf(m->name, sizeof m->name, "%s", name);
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
    free(model->dir);
    free(model);
}

void pith_model_describe(const pith_model *model, const pith_device *device,
                         pith_model_info *info) {
    *info = (pith_model_info){
        .name = model->name,
        .device = device->device,
        .dtype = device->dtype,
        .isa = device->isa,
        .window_tokens = model->config.window_tokens,
        .n_parameters = pith_encoder_n_parameters(model->encoder),
    };
}
