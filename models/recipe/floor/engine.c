#include "models/recipe/floor/engine.h"

#include "runtime/engine/engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pith_recipe_engine {
    pith_engine *engine;
};

/* What the asking thread waits for and the engine's thread fills. */
typedef struct outcome {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool answered;
    pith_status status;
    pith_err err;
    pith_recipe_reply *reply;
} outcome;

pith_status pith_recipe_engine_open(pith_recipe_engine **engine,
                                    const pith_recipe_engine_opts *opts, char *device,
                                    size_t device_bytes, pith_err *err) {
    *engine = NULL;
    pith_recipe_engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the engine");
    }
    pith_model_spec model = {.dir = opts->model_dir};
    pith_engine_opts inner = {.models = &model,
                              .n_models = 1,
                              .device = "cpu",
                              .dtype = opts->dtype,
                              .isa = "auto",
                              .n_threads = opts->n_threads,
                              .critical_config = opts->patterns};
    pith_status status = pith_engine_open(&e->engine, &inner, err);
    if (status != PITH_OK) {
        free(e);
        return status;
    }
    const pith_model_info *info;
    if (device != NULL && pith_engine_models(e->engine, &info) > 0) {
        (void)snprintf(device, device_bytes, "%s %s %s", info->device, info->isa, info->dtype);
    }
    *engine = e;
    return PITH_OK;
}

void pith_recipe_engine_close(pith_recipe_engine *engine) {
    if (engine != NULL) {
        pith_engine_close(engine->engine);
        free(engine);
    }
}

static void copy_counts(const pith_compress_result *result, pith_recipe_reply *reply) {
    *reply = (pith_recipe_reply){.text_len = result->text_len,
                                 .n_units = (uint32_t)result->explanation.n,
                                 .n_ranges = (uint32_t)result->n_kept_ranges,
                                 .input_words = result->input_words,
                                 .kept_words = result->kept_words,
                                 .input_tokens = result->input_tokens,
                                 .kept_tokens = result->kept_tokens,
                                 .critical_total = result->critical_total,
                                 .critical_kept = result->critical_kept,
                                 .folded_lines = result->folded_lines,
                                 .folded_critical = result->folded_critical,
                                 .passthrough = result->passthrough,
                                 .domain = result->domain};
}

static pith_status copy_out(const pith_compress_result *result, pith_recipe_reply *reply,
                            pith_err *err) {
    copy_counts(result, reply);
    reply->text = calloc(result->text_len + 1, 1);
    reply->units = calloc((size_t)reply->n_units + 1, sizeof *reply->units);
    reply->ranges = calloc((size_t)reply->n_ranges + 1, sizeof *reply->ranges);
    if (reply->text == NULL || reply->units == NULL || reply->ranges == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the reply");
    }
    memcpy(reply->text, result->text, result->text_len);
    const pith_explanation *x = &result->explanation;
    for (uint32_t u = 0; u < reply->n_units; u++) {
        reply->units[u] = (pith_recipe_unit){.start = x->start[u],
                                             .end = x->end[u],
                                             .score = x->score[u],
                                             .kept = x->kept[u],
                                             .critical = x->critical[u]};
    }
    for (uint32_t i = 0; i < reply->n_ranges; i++) {
        reply->ranges[i] =
            (pith_recipe_range){result->kept_ranges[i].start, result->kept_ranges[i].end};
    }
    return PITH_OK;
}

static void take_reply(void *user, const pith_reply *reply) {
    outcome *o = user;
    pith_status status = reply->status == PITH_OK
                             ? copy_out(reply->result, o->reply, &o->err)
                             : pith_fail(&o->err, reply->status, "%s", reply->error);
    (void)pthread_mutex_lock(&o->mutex);
    o->status = status;
    o->answered = true;
    (void)pthread_cond_signal(&o->done);
    (void)pthread_mutex_unlock(&o->mutex);
}

static void wait_reply(outcome *o) {
    (void)pthread_mutex_lock(&o->mutex);
    while (!o->answered) {
        (void)pthread_cond_wait(&o->done, &o->mutex);
    }
    (void)pthread_mutex_unlock(&o->mutex);
}

pith_status pith_recipe_engine_compress(pith_recipe_engine *engine, const pith_recipe_ask *ask,
                                        pith_recipe_reply *reply, pith_err *err) {
    *reply = (pith_recipe_reply){0};
    pith_domain domain = pith_domain_find(ask->domain);
    if (domain == PITH_DOMAIN_COUNT || ask->budget > PITH_BUDGET_MAX_TOKENS) {
        return pith_fail(err, PITH_INVALID, "domain or budget: unknown");
    }
    outcome o = {
        .mutex = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .reply = reply};
    pith_compress_request request = {.text = ask->text,
                                     .text_len = ask->text_len,
                                     .budget = (pith_budget)ask->budget,
                                     .budget_value = ask->budget_value,
                                     .domain = domain,
                                     .explain = ask->explain != 0,
                                     .fold_repeats = ask->fold_repeats != 0};
    pith_submit_opts submit = {.deadline_ns = PITH_DEADLINE_NONE, .reply = take_reply, .user = &o};
    pith_status status = pith_engine_submit(engine->engine, &request, &submit, NULL, NULL, err);
    if (status != PITH_OK) {
        return status;
    }
    wait_reply(&o);
    if (o.status != PITH_OK) {
        pith_recipe_reply_free(reply);
        *err = o.err;
    }
    return o.status;
}

void pith_recipe_reply_free(pith_recipe_reply *reply) {
    free(reply->text);
    free(reply->units);
    free(reply->ranges);
    *reply = (pith_recipe_reply){0};
}
