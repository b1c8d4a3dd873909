#include "runtime/model/encoder.h"

#include "runtime/base/size.h"
#include "runtime/model/rope.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSOR_NAME_BYTES = 96 }; /* "encoder.layers.63.attn_norm.weight" and room */

typedef struct layer_weights {
    float *attn_norm; /* [hidden]; NULL in layer 0: identity */
    pith_packed *wqkv;
    pith_packed *attn_wo;
    float *mlp_norm; /* [hidden] */
    pith_packed *wi;
    pith_packed *mlp_wo;
} layer_weights;

/* What one step works in. `wide` is q, k, v until attention is done; then the layer's delta, and
 * behind it the GLU's output; at last the final hidden state. Where things lie does not depend on
 * the batch: steps are recorded. */
typedef struct scratch {
    uint32_t tokens_max;
    float *x;      /* [tokens_max, hidden] */
    void *act;     /* [tokens_max, hidden] */
    void *wide;    /* [tokens_max] * wide_bytes */
    float *scores; /* [3, tokens_max]: z_tok, z_span, score */
} scratch;

struct pith_encoder {
    pith_model_config config;
    pith_encoder_opts opts;
    const pith_ops *ops;
    pith_ops_ctx *ctx;
    uint32_t head_dim;
    uint32_t positions_max; /* longest sequence: the model's positions or the step's tokens */
    uint64_t n_parameters;

    pith_packed *table;
    float *embed_norm; /* [hidden] */
    float *final_norm; /* [hidden] */
    layer_weights *layers;
    float *token_weight; /* [2, hidden] */
    float *token_bias;   /* [2] */
    pith_packed *conv0;
    float *conv0_bias;   /* [channels] */
    float *conv2_weight; /* [channels, 3] */
    float *conv2_bias;   /* [1] */
    float *rope_global;  /* [positions_max, 2, head_dim / 2] */
    float *rope_local;

    scratch step;
    scratch aside;
    scratch *at; /* the one in use */
    float *host; /* [tokens_max, hidden] for the probe, or NULL */
    pith_encoder_between_fn between;
    void *between_user;
};

static const pith_tensor *find(pith_encoder *enc, const pith_checkpoint *checkpoint,
                               const char *name, size_t count, pith_err *err) {
    const pith_tensor *tensor = pith_checkpoint_tensor(checkpoint, name);
    if (tensor == NULL) {
        (void)pith_fail(err, PITH_CORRUPT, "tensor %s is missing", name);
        return NULL;
    }
    if (pith_tensor_count(tensor) != count) {
        (void)pith_fail(err, PITH_CORRUPT, "tensor %s has %zu elements, expected %zu", name,
                        pith_tensor_count(tensor), count);
        return NULL;
    }
    enc->n_parameters += count;
    return tensor;
}

/* A small tensor as f32 in device memory. */
static pith_status load_f32(pith_encoder *enc, const pith_checkpoint *checkpoint, const char *name,
                            size_t count, float **out, pith_err *err) {
    const pith_tensor *tensor = find(enc, checkpoint, name, count, err);
    if (tensor == NULL) {
        return PITH_CORRUPT;
    }
    float *host = malloc(count * sizeof *host);
    if (host == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "tensor %s: %zu elements cannot be allocated", name,
                         count);
    }
    void *mem;
    pith_tensor_to_f32(tensor, host);
    pith_status status = enc->ops->alloc(enc->ctx, count * sizeof *host, &mem, err);
    if (status == PITH_OK) {
        enc->ops->copy_in(enc->ctx, mem, host, count * sizeof *host);
        status = enc->ops->sync(enc->ctx, err); /* host may be read until then */
        *out = mem;
    }
    free(host);
    return status;
}

static pith_elem elem_of(pith_dtype dtype) {
    switch (dtype) {
    case PITH_F16:
        return PITH_ELEM_F16;
    case PITH_BF16:
        return PITH_ELEM_BF16;
    case PITH_F32:
        break;
    }
    return PITH_ELEM_F32;
}

typedef struct matrix_spec {
    size_t rows;
    size_t cols;
    pith_pack_kind kind;
} matrix_spec;

static pith_status load_matrix(pith_encoder *enc, const pith_checkpoint *checkpoint,
                               const char *name, matrix_spec spec, pith_packed **out,
                               pith_err *err) {
    const pith_tensor *tensor = find(enc, checkpoint, name, spec.rows * spec.cols, err);
    if (tensor == NULL) {
        return PITH_CORRUPT;
    }
    pith_matrix matrix = {tensor->data, elem_of(tensor->dtype), spec.rows, spec.cols};
    pith_pack_opts opts = {.kind = spec.kind, .n_heads = enc->config.n_heads};
    pith_status status = enc->ops->pack_weight(enc->ctx, &matrix, &opts, out, err);
    if (status == PITH_OK && spec.kind != PITH_PACK_TABLE) {
        pith_checkpoint_discard(checkpoint, tensor);
    }
    return status;
}

static const char *layer_name(char name[TENSOR_NAME_BYTES], uint32_t layer, const char *suffix) {
    (void)snprintf(name, TENSOR_NAME_BYTES, "encoder.layers.%" PRIu32 ".%s", layer, suffix);
    return name;
}

static pith_status load_layer(pith_encoder *enc, const pith_checkpoint *checkpoint, uint32_t layer,
                              pith_err *err) {
    layer_weights *w = &enc->layers[layer];
    size_t d = enc->config.hidden;
    size_t wide = enc->config.intermediate;
    char name[TENSOR_NAME_BYTES];
    pith_status status = PITH_OK;
    if (layer > 0) {
        status = load_f32(enc, checkpoint, layer_name(name, layer, "attn_norm.weight"), d,
                          &w->attn_norm, err);
    }
    if (status == PITH_OK) {
        status = load_f32(enc, checkpoint, layer_name(name, layer, "mlp_norm.weight"), d,
                          &w->mlp_norm, err);
    }
    const struct {
        const char *suffix;
        matrix_spec spec;
        pith_packed **out;
    } matrices[] = {
        {"attn.Wqkv.weight", {3 * d, d, PITH_PACK_QKV}, &w->wqkv},
        {"attn.Wo.weight", {d, d, PITH_PACK_LINEAR}, &w->attn_wo},
        {"mlp.Wi.weight", {2 * wide, d, PITH_PACK_GEGLU}, &w->wi},
        {"mlp.Wo.weight", {d, wide, PITH_PACK_LINEAR}, &w->mlp_wo},
    };
    for (size_t i = 0; status == PITH_OK && i < sizeof matrices / sizeof matrices[0]; i++) {
        status = load_matrix(enc, checkpoint, layer_name(name, layer, matrices[i].suffix),
                             matrices[i].spec, matrices[i].out, err);
    }
    return status;
}

static pith_status load_heads(pith_encoder *enc, const pith_checkpoint *checkpoint, pith_err *err) {
    size_t d = enc->config.hidden;
    size_t c = enc->config.span_channels;
    const struct {
        const char *name;
        size_t count;
        float **out;
    } vectors[] = {
        {"token_head.weight", 2 * d, &enc->token_weight},
        {"token_head.bias", 2, &enc->token_bias},
        {"span_conv.0.bias", c, &enc->conv0_bias},
        {"span_conv.2.weight", c * 3, &enc->conv2_weight},
        {"span_conv.2.bias", 1, &enc->conv2_bias},
    };
    pith_status status = PITH_OK;
    for (size_t i = 0; status == PITH_OK && i < sizeof vectors / sizeof vectors[0]; i++) {
        status = load_f32(enc, checkpoint, vectors[i].name, vectors[i].count, vectors[i].out, err);
    }
    if (status == PITH_OK) {
        matrix_spec spec = {c, d * 5, PITH_PACK_SPAN_CONV};
        status = load_matrix(enc, checkpoint, "span_conv.0.weight", spec, &enc->conv0, err);
    }
    return status;
}

static pith_status load_weights(pith_encoder *enc, const pith_checkpoint *checkpoint,
                                pith_err *err) {
    size_t d = enc->config.hidden;
    matrix_spec table = {enc->config.vocab_size, d, PITH_PACK_TABLE};
    pith_status status = load_matrix(enc, checkpoint, "encoder.embeddings.tok_embeddings.weight",
                                     table, &enc->table, err);
    if (status == PITH_OK) {
        status =
            load_f32(enc, checkpoint, "encoder.embeddings.norm.weight", d, &enc->embed_norm, err);
    }
    for (uint32_t i = 0; status == PITH_OK && i < enc->config.n_layers; i++) {
        status = load_layer(enc, checkpoint, i, err);
    }
    if (status == PITH_OK) {
        status = load_f32(enc, checkpoint, "encoder.final_norm.weight", d, &enc->final_norm, err);
    }
    return status == PITH_OK ? load_heads(enc, checkpoint, err) : status;
}

static pith_status load_rope(pith_encoder *enc, double theta, float **out, pith_err *err) {
    size_t bytes = (size_t)enc->positions_max * enc->head_dim * sizeof(float);
    float *host = malloc(bytes);
    if (host == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "RoPE table: %zu bytes cannot be allocated", bytes);
    }
    void *mem;
    pith_rope_fill(host, theta, enc->positions_max, enc->head_dim);
    pith_status status = enc->ops->alloc(enc->ctx, bytes, &mem, err);
    if (status == PITH_OK) {
        enc->ops->copy_in(enc->ctx, mem, host, bytes);
        status = enc->ops->sync(enc->ctx, err);
        *out = mem;
    }
    free(host);
    return status;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static pith_status alloc_scratch(pith_encoder *enc, scratch *s, uint32_t tokens_max,
                                 pith_err *err) {
    pith_ops_elems elems = enc->ops->elems(enc->ctx);
    size_t tokens = tokens_max;
    size_t d = enc->config.hidden;
    size_t wide =
        larger(3 * d * elems.qkv, d * sizeof(float) + enc->config.intermediate * elems.act);
    const struct {
        size_t bytes;
        void **out;
    } buffers[] = {
        {tokens * d * sizeof(float), (void **)&s->x},
        {tokens * d * elems.act, &s->act},
        {tokens * wide, &s->wide},
        {tokens * 3 * sizeof(float), (void **)&s->scores},
    };
    pith_status status = PITH_OK;
    for (size_t i = 0; status == PITH_OK && i < sizeof buffers / sizeof buffers[0]; i++) {
        status = enc->ops->alloc(enc->ctx, buffers[i].bytes, buffers[i].out, err);
    }
    s->tokens_max = tokens_max;
    return status;
}

static void free_scratch(pith_encoder *enc, const scratch *s) {
    void *buffers[] = {s->x, s->act, s->wide, s->scores};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        enc->ops->free(enc->ctx, buffers[i]);
    }
}

static pith_status make_scratch(pith_encoder *enc, pith_err *err) {
    const pith_model_config *config = &enc->config;
    pith_ops_reserve bounds = {
        .tokens_max = enc->opts.tokens_max,
        .hidden = config->hidden,
        .intermediate = config->intermediate,
        .n_heads = config->n_heads,
        .span_channels = config->span_channels,
    };
    enc->at = &enc->step;
    pith_status status = enc->ops->reserve(enc->ctx, &bounds, err);
    if (status == PITH_OK) {
        status = alloc_scratch(enc, &enc->step, enc->opts.tokens_max, err);
    }
    if (status == PITH_OK && enc->opts.aside_tokens > 0) {
        status = alloc_scratch(enc, &enc->aside, enc->opts.aside_tokens, err);
    }
    if (status == PITH_OK && enc->opts.probe != NULL) {
        enc->host = malloc((size_t)enc->opts.tokens_max * config->hidden * sizeof(float));
        status = enc->host != NULL ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, "probe buffer");
    }
    return status;
}

static pith_status check_config(const pith_model_config *config, const pith_encoder_opts *opts,
                                pith_err *err) {
    if (opts->tokens_max == 0 || opts->tokens_max > PITH_ENCODER_TOKENS_MAX) {
        return pith_fail(err, PITH_INVALID, "tokens_max %" PRIu32 ": expected 1 to %d",
                         opts->tokens_max, PITH_ENCODER_TOKENS_MAX);
    }
    if (opts->aside_tokens > opts->tokens_max) {
        return pith_fail(err, PITH_INVALID, "aside_tokens %" PRIu32 ": expected at most %" PRIu32,
                         opts->aside_tokens, opts->tokens_max);
    }
    bool whole = config->n_heads > 0 && config->hidden % (2 * config->n_heads) == 0;
    if (!whole || config->hidden == 0 || config->hidden > PITH_HIDDEN_MAX) {
        return pith_fail(err, PITH_UNSUPPORTED,
                         "hidden %" PRIu32 " with %" PRIu32
                         " heads: expected an even head dim and at most %d",
                         config->hidden, config->n_heads, PITH_HIDDEN_MAX);
    }
    if (config->n_layers == 0 || config->n_layers > PITH_LAYERS_MAX || config->vocab_size == 0 ||
        config->intermediate == 0 || config->span_channels == 0 || config->positions_max == 0) {
        return pith_fail(err, PITH_UNSUPPORTED, "the model's config has a dimension of zero");
    }
    return PITH_OK;
}

/* Without scratch and weights; NULL: no memory. */
static pith_encoder *make_encoder(const pith_model_config *config, const pith_encoder_opts *opts) {
    pith_encoder *enc = calloc(1, sizeof *enc);
    layer_weights *layers = calloc(config->n_layers, sizeof *layers);
    if (enc == NULL || layers == NULL) {
        free(enc);
        free(layers);
        return NULL;
    }
    enc->config = *config;
    enc->opts = *opts;
    enc->ops = opts->ops;
    enc->ctx = opts->ctx;
    enc->layers = layers;
    enc->head_dim = config->hidden / config->n_heads;
    enc->positions_max =
        config->positions_max < opts->tokens_max ? config->positions_max : opts->tokens_max;
    return enc;
}

pith_status pith_encoder_open(pith_encoder **encoder, const pith_model_config *config,
                              const pith_checkpoint *checkpoint, const pith_encoder_opts *opts,
                              pith_err *err) {
    *encoder = NULL;
    pith_status status = check_config(config, opts, err);
    if (status != PITH_OK) {
        return status;
    }
    pith_encoder *enc = make_encoder(config, opts);
    if (enc == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "the encoder cannot be allocated");
    }
    status = make_scratch(enc, err);
    if (status == PITH_OK) {
        status = load_rope(enc, config->rope_theta_global, &enc->rope_global, err);
    }
    if (status == PITH_OK) {
        status = load_rope(enc, config->rope_theta_local, &enc->rope_local, err);
    }
    if (status == PITH_OK) {
        status = load_weights(enc, checkpoint, err);
    }
    if (status != PITH_OK) {
        pith_encoder_close(enc);
        return status;
    }
    *encoder = enc;
    return PITH_OK;
}

void pith_encoder_close(pith_encoder *enc) {
    if (enc == NULL) {
        return;
    }
    enc->ops->forget(enc->ctx, enc);
    for (uint32_t i = 0; i < enc->config.n_layers; i++) {
        layer_weights *w = &enc->layers[i];
        enc->ops->free(enc->ctx, w->attn_norm);
        enc->ops->free(enc->ctx, w->mlp_norm);
        enc->ops->packed_free(enc->ctx, w->wqkv);
        enc->ops->packed_free(enc->ctx, w->attn_wo);
        enc->ops->packed_free(enc->ctx, w->wi);
        enc->ops->packed_free(enc->ctx, w->mlp_wo);
    }
    void *buffers[] = {enc->embed_norm, enc->final_norm,  enc->token_weight,
                       enc->token_bias, enc->conv0_bias,  enc->conv2_weight,
                       enc->conv2_bias, enc->rope_global, enc->rope_local};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        enc->ops->free(enc->ctx, buffers[i]);
    }
    free_scratch(enc, &enc->step);
    free_scratch(enc, &enc->aside);
    enc->ops->packed_free(enc->ctx, enc->table);
    enc->ops->packed_free(enc->ctx, enc->conv0);
    free(enc->host);
    free(enc->layers);
    free(enc);
}

/* --- further devices --- */

enum {
    HELD_ALONE = 11,    /* that an encoder has once, beside scratch */
    HELD_OF_A_LAYER = 6 /* two norms, four matrices */
};

static void hold_memory(pith_ops_held *held, size_t *n, float **mem, size_t count) {
    held[(*n)++] = (pith_ops_held){.mem = (void **)mem, .bytes = count * sizeof(float)};
}

static void hold_packed(pith_ops_held *held, size_t *n, pith_packed **packed) {
    held[(*n)++] = (pith_ops_held){.packed = packed};
}

/* The places of every weight and table; at most HELD_ALONE and HELD_OF_A_LAYER for each layer. */
static size_t list_held(pith_encoder *enc, pith_ops_held *held) {
    size_t d = enc->config.hidden;
    size_t c = enc->config.span_channels;
    size_t rope = (size_t)enc->positions_max * enc->head_dim;
    size_t n = 0;
    hold_memory(held, &n, &enc->embed_norm, d);
    hold_memory(held, &n, &enc->final_norm, d);
    hold_memory(held, &n, &enc->token_weight, 2 * d);
    hold_memory(held, &n, &enc->token_bias, 2);
    hold_memory(held, &n, &enc->conv0_bias, c);
    hold_memory(held, &n, &enc->conv2_weight, 3 * c);
    hold_memory(held, &n, &enc->conv2_bias, 1);
    hold_memory(held, &n, &enc->rope_global, rope);
    hold_memory(held, &n, &enc->rope_local, rope);
    hold_packed(held, &n, &enc->table);
    hold_packed(held, &n, &enc->conv0);
    for (uint32_t i = 0; i < enc->config.n_layers; i++) {
        layer_weights *w = &enc->layers[i];
        pith_packed **matrices[] = {&w->wqkv, &w->attn_wo, &w->wi, &w->mlp_wo};
        if (i > 0) {
            hold_memory(held, &n, &w->attn_norm, d);
        }
        hold_memory(held, &n, &w->mlp_norm, d);
        for (size_t m = 0; m < sizeof matrices / sizeof matrices[0]; m++) {
            hold_packed(held, &n, matrices[m]);
        }
    }
    return n;
}

/* An encoder on `ctx` like `from`, without weights. */
static pith_status open_like(pith_encoder **copy, const pith_encoder *from, pith_ops_ctx *ctx,
                             pith_err *err) {
    pith_encoder_opts opts = from->opts;
    opts.ctx = ctx;
    *copy = make_encoder(&from->config, &opts);
    if (*copy == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "the encoder cannot be allocated");
    }
    (*copy)->n_parameters = from->n_parameters;
    return make_scratch(*copy, err);
}

static pith_status copy_weights(pith_encoder *from, pith_encoder **copies, uint32_t n_copies,
                                pith_err *note, pith_err *err) {
    size_t most = HELD_ALONE + (size_t)HELD_OF_A_LAYER * from->config.n_layers;
    size_t n_ctxs = (size_t)n_copies + 1;
    pith_ops_held *places = calloc(n_ctxs * most, sizeof *places);
    const pith_ops_held **held = calloc(n_ctxs, sizeof *held);
    pith_ops_ctx **ctxs = calloc(n_ctxs, sizeof *ctxs);
    pith_status status = PITH_NO_MEMORY;
    if (places != NULL && held != NULL && ctxs != NULL) {
        size_t n_held = 0;
        for (size_t i = 0; i < n_ctxs; i++) {
            pith_encoder *enc = i == 0 ? from : copies[i - 1];
            held[i] = places + i * most;
            ctxs[i] = enc->ctx;
            n_held = list_held(enc, places + i * most);
        }
        status = from->ops->replicate(ctxs, (uint32_t)n_ctxs, held, n_held, note, err);
    } else {
        (void)pith_fail(err, status, "no memory to copy weights to %u devices", n_copies);
    }
    free(places);
    free(held);
    free(ctxs);
    return status;
}

pith_status pith_encoder_replicate(pith_encoder **copies, pith_encoder *encoder,
                                   pith_ops_ctx *const *ctxs, uint32_t n_copies, pith_err *note,
                                   pith_err *err) {
    memset(copies, 0, n_copies * sizeof(*copies));
    if (encoder->ops->replicate == NULL) {
        return pith_fail(err, PITH_UNSUPPORTED, "%s has one device", encoder->ops->name);
    }
    pith_status status = PITH_OK;
    for (uint32_t i = 0; status == PITH_OK && i < n_copies; i++) {
        status = open_like(&copies[i], encoder, ctxs[i], err);
    }
    if (status == PITH_OK) {
        status = copy_weights(encoder, copies, n_copies, note, err);
    }
    for (uint32_t i = 0; status != PITH_OK && i < n_copies; i++) {
        pith_encoder_close(copies[i]);
        copies[i] = NULL;
    }
    return status;
}

static pith_status check_batch(const pith_encoder *enc, const pith_batch *batch, pith_err *err) {
    if (batch->n_tok > enc->at->tokens_max) {
        return pith_fail(err, PITH_INVALID,
                         "batch of %" PRIu32 " tokens: a step takes at most %" PRIu32, batch->n_tok,
                         enc->at->tokens_max);
    }
    if (batch->cu_seqlens[0] != 0 || batch->cu_seqlens[batch->n_seq] != batch->n_tok) {
        return pith_fail(err, PITH_INVALID,
                         "batch offsets run from %" PRIu32 " to %" PRIu32
                         ", expected 0 to %" PRIu32,
                         batch->cu_seqlens[0], batch->cu_seqlens[batch->n_seq], batch->n_tok);
    }
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        uint32_t begin = batch->cu_seqlens[s];
        uint32_t end = batch->cu_seqlens[s + 1];
        if (end <= begin || end - begin > enc->positions_max) {
            return pith_fail(err, PITH_INVALID,
                             "sequence %" PRIu32 " has %" PRId64 " tokens, expected 1 to %" PRIu32,
                             s, (int64_t)end - (int64_t)begin, enc->positions_max);
        }
    }
    for (uint32_t t = 0; t < batch->n_tok; t++) {
        if (batch->ids[t] >= enc->config.vocab_size) {
            return pith_fail(err, PITH_INVALID,
                             "token %" PRIu32 " has id %" PRIu32 ", vocabulary size is %" PRIu32, t,
                             batch->ids[t], enc->config.vocab_size);
        }
    }
    return PITH_OK;
}

static void probe(pith_encoder *enc, uint32_t stage, const float *x, uint32_t n_tok) {
    if (enc->opts.probe == NULL) {
        return;
    }
    pith_err err;
    size_t count = (size_t)n_tok * enc->config.hidden;
    enc->ops->copy_out(enc->ctx, enc->host, x, count * sizeof(float));
    if (enc->ops->sync(enc->ctx, &err) == PITH_OK) {
        enc->opts.probe(enc->opts.probe_user, stage, enc->host, count);
    }
}

/* x += Wo attn(norm(x)) is left as its delta in `wide`; the norm that follows adds it. */
static void attention_block(pith_encoder *enc, uint32_t layer) {
    const pith_ops *ops = enc->ops;
    const layer_weights *w = &enc->layers[layer];
    bool global = enc->config.layer_global[layer];
    ops->linear_qkv_rope(enc->ctx, &(pith_op_qkv_rope){
                                       .qkv = enc->at->wide,
                                       .act = enc->at->act,
                                       .weight = w->wqkv,
                                       .rope = global ? enc->rope_global : enc->rope_local,
                                   });
    ops->attn(enc->ctx, &(pith_op_attn){
                            .out = enc->at->act,
                            .qkv = enc->at->wide,
                            .n_heads = enc->config.n_heads,
                            .head_dim = enc->head_dim,
                            .window = global ? PITH_OPS_WINDOW_GLOBAL : enc->config.local_window,
                        });
    ops->linear(enc->ctx,
                &(pith_op_linear){.out = enc->at->wide, .act = enc->at->act, .weight = w->attn_wo});
}

static void add_norm(pith_encoder *enc, void *out, const float *weight, bool out_f32) {
    enc->ops->add_norm(enc->ctx, &(pith_op_add_norm){
                                     .x = enc->at->x,
                                     .out = out,
                                     .delta = enc->at->wide,
                                     .weight = weight,
                                     .dim = enc->config.hidden,
                                     .eps = (float)enc->config.norm_eps,
                                     .out_f32 = out_f32,
                                 });
}

static void mlp_block(pith_encoder *enc, uint32_t layer) {
    const layer_weights *w = &enc->layers[layer];
    float *delta = enc->at->wide;
    void *glu = delta + (size_t)enc->at->tokens_max * enc->config.hidden;
    enc->ops->linear_geglu(enc->ctx,
                           &(pith_op_geglu){.out = glu, .act = enc->at->act, .weight = w->wi});
    enc->ops->linear(enc->ctx, &(pith_op_linear){.out = delta, .act = glu, .weight = w->mlp_wo});
}

static pith_op_gate gate_of(pith_gate gate) {
    switch (gate) {
    case PITH_GATE_ASYMMETRIC:
        return PITH_OP_GATE_ASYMMETRIC;
    case PITH_GATE_OR_BOOST:
        return PITH_OP_GATE_OR_BOOST;
    case PITH_GATE_MULTIPLICATIVE:
        break;
    }
    return PITH_OP_GATE_MULTIPLICATIVE;
}

static void heads(pith_encoder *enc) {
    size_t rows = enc->at->tokens_max;
    enc->ops->heads_gate(enc->ctx, &(pith_op_heads){
                                       .z_tok = enc->at->scores,
                                       .z_span = enc->at->scores + rows,
                                       .score = enc->at->scores + 2 * rows,
                                       .hidden = enc->at->wide,
                                       .token_weight = enc->token_weight,
                                       .token_bias = enc->token_bias,
                                       .conv0 = enc->conv0,
                                       .conv0_bias = enc->conv0_bias,
                                       .conv2_weight = enc->conv2_weight,
                                       .conv2_bias = enc->conv2_bias,
                                       .dim = enc->config.hidden,
                                       .channels = enc->config.span_channels,
                                       .gate = gate_of(enc->config.gate),
                                       .gamma = (float)enc->config.gamma,
                                   });
}

static void run_layers(pith_encoder *enc, const pith_ops_batch *batch) {
    const pith_ops *ops = enc->ops;
    uint32_t n_tok = batch->n_tok;
    uint32_t n_layers = enc->config.n_layers;
    ops->embed_norm(enc->ctx, &(pith_op_embed_norm){
                                  .x = enc->at->x,
                                  .out = enc->at->act,
                                  .table = enc->table,
                                  .weight = enc->embed_norm,
                                  .eps = (float)enc->config.norm_eps,
                              });
    probe(enc, 0, enc->at->x, n_tok);
    for (uint32_t i = 0; i < n_layers; i++) {
        attention_block(enc, i);
        add_norm(enc, enc->at->act, enc->layers[i].mlp_norm, false);
        mlp_block(enc, i);
        bool last = i + 1 == n_layers;
        /* The final norm writes over the delta it reads, row by row. */
        add_norm(enc, last ? enc->at->wide : enc->at->act,
                 last ? enc->final_norm : enc->layers[i + 1].attn_norm, last);
        probe(enc, i + 1, enc->at->x, n_tok);
        if (!last && enc->between != NULL && enc->between(enc->between_user)) {
            (void)ops->begin(enc->ctx, batch); /* takes this one up again */
        }
    }
    probe(enc, n_layers + 1, enc->at->wide, n_tok);
}

pith_status pith_encoder_begin(pith_encoder *enc, const pith_batch *batch,
                               const pith_encoder_out *out, uint64_t *ticket, pith_err *err) {
    *ticket = 0;
    if (batch->n_tok == 0) {
        return PITH_OK;
    }
    pith_status status = check_batch(enc, batch, err);
    if (status != PITH_OK) {
        return status;
    }
    const pith_ops_batch begun = {
        .ids = batch->ids,
        .cu_seqlens = batch->cu_seqlens,
        .n_seq = batch->n_seq,
        .n_tok = batch->n_tok,
        .recording = enc->opts.probe == NULL ? enc : NULL,
    };
    if (enc->ops->begin(enc->ctx, &begun)) {
        run_layers(enc, &begun);
        heads(enc);
        enc->ops->end(enc->ctx);
    }
    float *results[] = {out->z_tok, out->z_span, out->score};
    for (size_t i = 0; i < 3; i++) {
        if (results[i] != NULL) {
            enc->ops->copy_out(enc->ctx, results[i], enc->at->scores + i * enc->at->tokens_max,
                               batch->n_tok * sizeof(float));
        }
    }
    *ticket = enc->ops->mark(enc->ctx);
    return PITH_OK;
}

pith_status pith_encoder_wait(pith_encoder *enc, uint64_t ticket, pith_err *err) {
    return ticket == 0 ? PITH_OK : enc->ops->wait(enc->ctx, ticket, err);
}

uint32_t pith_encoder_steps_in_flight(const pith_encoder *enc) {
    return enc->ops->steps_in_flight;
}

pith_status pith_encoder_forward(pith_encoder *enc, const pith_batch *batch,
                                 const pith_encoder_out *out, pith_err *err) {
    uint64_t ticket;
    pith_status status = pith_encoder_begin(enc, batch, out, &ticket, err);
    return status == PITH_OK ? pith_encoder_wait(enc, ticket, err) : status;
}

void pith_encoder_set_between(pith_encoder *enc, pith_encoder_between_fn between, void *user) {
    enc->between = enc->ops->steps_in_flight == 1 ? between : NULL;
    enc->between_user = user;
}

pith_status pith_encoder_aside(pith_encoder *enc, const pith_batch *batch,
                               const pith_encoder_out *out, pith_err *err) {
    scratch *at = enc->at;
    pith_encoder_between_fn between = enc->between;
    enc->at = &enc->aside;
    enc->between = NULL;
    pith_status status = pith_encoder_forward(enc, batch, out, err);
    enc->at = at;
    enc->between = between;
    return status;
}

uint64_t pith_encoder_n_parameters(const pith_encoder *enc) {
    return enc->n_parameters;
}
