#include "runtime/engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A step of one window that takes longer tells enough. */
#define CALIBRATE_NS_MAX INT64_C(200000000)

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

static pith_status open_encoders(pith_model *model, const pith_device *devices, uint32_t n_devices,
                                 uint32_t tokens_max, pith_err *note, pith_err *err) {
    pith_encoder_opts opts = {
        .ops = devices[0].ops, .ctx = devices[0].ctx, .tokens_max = tokens_max};
    if (devices[0].ops->steps_in_flight == 1) {
        opts.aside_tokens = tokens_max < PITH_ASIDE_TOKENS_MAX ? tokens_max : PITH_ASIDE_TOKENS_MAX;
    }
    pith_status status =
        pith_encoder_open(&model->encoders[0], &model->config, model->checkpoint, &opts, err);
    model->n_devices = n_devices;
    if (status != PITH_OK || n_devices == 1) {
        return status;
    }
    pith_ops_ctx *ctxs[PITH_DEVICES_MAX];
    for (uint32_t d = 1; d < n_devices; d++) {
        ctxs[d - 1] = devices[d].ctx;
    }
    return pith_encoder_replicate(&model->encoders[1], model->encoders[0], ctxs, n_devices - 1,
                                  note, err);
}

static pith_status open_parts(pith_model *model, const pith_model_spec *spec,
                              const pith_device *devices, uint32_t n_devices, uint32_t tokens_max,
                              pith_err *note, pith_err *err) {
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
    return status == PITH_OK ? open_encoders(model, devices, n_devices, tokens_max, note, err)
                             : status;
}

/* One small step, so that the first request does not pay for first touches. */
static pith_status warm_up(pith_model *model, pith_encoder *encoder, pith_err *err) {
    uint32_t ids[] = {model->config.cls_id, model->config.sep_id};
    uint32_t cu_seqlens[] = {0, 2};
    float score[2];
    pith_batch batch = {.n_seq = 1, .n_tok = 2, .ids = ids, .cu_seqlens = cu_seqlens};
    pith_encoder_out out = {.score = score};
    return pith_encoder_forward(encoder, &batch, &out, err);
}

pith_status pith_model_open(pith_model **model, const pith_model_spec *spec,
                            const pith_device *devices, uint32_t n_devices, uint32_t tokens_max,
                            pith_err *note, pith_err *err) {
    *model = NULL;
    pith_model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for the model", spec->dir);
    }
    m->dir = strdup(spec->dir);
    pith_status status = m->dir != NULL
                             ? open_parts(m, spec, devices, n_devices, tokens_max, note, err)
                             : pith_fail(err, PITH_NO_MEMORY, "%s: no memory", spec->dir);
    for (uint32_t d = 0; status == PITH_OK && d < n_devices; d++) {
        status = warm_up(m, m->encoders[d], err);
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
    for (uint32_t d = 0; d < PITH_DEVICES_MAX; d++) {
        pith_encoder_close(model->encoders[d]);
    }
    pith_checkpoint_close(model->checkpoint);
    pith_tokenizer_close(model->tokenizer);
    free(model->dir);
    free(model);
}

/* Times one step of n_seq windows: of two tries the faster. */
static pith_status time_step(pith_model *model, pith_encoder *encoder, const pith_clock *clock,
                             uint32_t n_seq, int64_t *ns, pith_err *err) {
    uint32_t window = model->config.window_tokens;
    uint32_t n_tok = n_seq * window;
    uint32_t *ids = malloc(n_tok * sizeof *ids);
    uint32_t *cu_seqlens = malloc((n_seq + 1) * sizeof *cu_seqlens);
    float *score = malloc(n_tok * sizeof *score);
    pith_status status = ids != NULL && cu_seqlens != NULL && score != NULL
                             ? PITH_OK
                             : pith_fail(err, PITH_NO_MEMORY, "no memory for %u tokens", n_tok);
    for (uint32_t i = 0; status == PITH_OK && i < n_tok; i++) {
        ids[i] = i % window == 0 ? model->config.cls_id : i * 7919 % model->config.vocab_size;
        cu_seqlens[i / window] = i - i % window;
    }
    *ns = INT64_MAX;
    for (int try = 0; status == PITH_OK && try < 2; try++) {
        cu_seqlens[n_seq] = n_tok;
        pith_batch batch = {.n_seq = n_seq, .n_tok = n_tok, .ids = ids, .cu_seqlens = cu_seqlens};
        pith_encoder_out out = {.score = score};
        int64_t begin = pith_clock_now(clock);
        status = pith_encoder_forward(encoder, &batch, &out, err);
        int64_t spent = pith_clock_now(clock) - begin;
        *ns = spent < *ns ? spent : *ns;
    }
    free(ids);
    free(cu_seqlens);
    free(score);
    return status;
}

static pith_status calibrate(pith_model *model, pith_encoder *encoder, const pith_clock *clock,
                             uint32_t tokens_max, pith_speed *speed, pith_err *err) {
    uint32_t window = model->config.window_tokens;
    uint32_t most = tokens_max / window;
    int64_t one;
    pith_status status = time_step(model, encoder, clock, 1, &one, err);
    *speed = (pith_speed){.token_ns = (double)(one > 0 ? one : 1) / (double)window};
    /* On a slow device the fixed part is nothing beside the tokens. */
    if (status != PITH_OK || most < 2 || one > CALIBRATE_NS_MAX) {
        return status;
    }
    int64_t many;
    status = time_step(model, encoder, clock, most, &many, err);
    double slope = (double)(many - one) / ((double)(most - 1) * (double)window);
    if (status == PITH_OK && slope > 0.0 && slope < speed->token_ns) {
        speed->token_ns = slope;
        speed->fixed_ns = one - (int64_t)(slope * (double)window);
    }
    return status;
}

pith_status pith_model_calibrate(pith_model *model, const pith_clock *clock, uint32_t tokens_max,
                                 pith_speed *speed, pith_err *err) {
    pith_status status = PITH_OK;
    for (uint32_t d = 0; status == PITH_OK && d < model->n_devices; d++) {
        pith_speed one;
        status = calibrate(model, model->encoders[d], clock, tokens_max, &one, err);
        bool slower = d == 0 || pith_speed_ns(&one, tokens_max) > pith_speed_ns(speed, tokens_max);
        *speed = slower ? one : *speed;
    }
    return status;
}

void pith_model_describe(const pith_model *model, const pith_device *device,
                         pith_model_info *info) {
    *info = (pith_model_info){
        .name = model->name,
        .device = device->device,
        .dtype = device->dtype,
        .isa = device->isa,
        .window_tokens = model->config.window_tokens,
        .n_parameters = pith_encoder_n_parameters(model->encoders[0]),
    };
}
