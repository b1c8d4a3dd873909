#include "runtime/weights/lora.h"

#include <math.h>
#include <string.h>

static const double ALPHA_MAX = 1e6; /* 32 in the published recipes */

/* One f32 register of four lanes, wherever it lies. */
typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));
enum { LANES = 4 };

static pith_status read_config(pith_lora *lora, pith_err *err) {
    pith_json_scope scope = {.object = lora->config, .label = lora->label, .prefix = ""};
    const char *kind = "";
    pith_status status = pith_json_text(&scope, "peft_type", &kind, err);
    if (status == PITH_OK && strcmp(kind, "LORA") != 0) {
        return pith_json_unsupported(&scope, "peft_type", pith_json_get(&scope, "peft_type"),
                                     "\"LORA\"", err);
    }
    static const char *const variants[] = {"use_dora", "fan_in_fan_out", "use_qalora", "lora_bias"};
    for (size_t i = 0; i < sizeof variants / sizeof *variants && status == PITH_OK; i++) {
        bool on = false;
        status = pith_json_bool(&scope, variants[i], &on, err);
        if (status == PITH_OK && on) {
            return pith_fail(err, PITH_UNSUPPORTED, "%s: %s: found true, expected false",
                             lora->label, variants[i]);
        }
    }
    if (status == PITH_OK) {
        status = pith_json_bool(&scope, "use_rslora", &lora->rslora, err);
    }
    if (status == PITH_OK) {
        status = pith_json_u32(&scope, "r", 1, PITH_LORA_RANK_MAX, &lora->rank, err);
    }
    if (status == PITH_OK) {
        status = pith_json_real(&scope, "lora_alpha", 0.0, ALPHA_MAX, &lora->alpha, err);
    }
    if (status == PITH_OK && lora->rank == 0) {
        return pith_json_refuse(&scope, "r", NULL, "an integer", err);
    }
    if (status == PITH_OK && isnan(lora->alpha)) {
        return pith_json_refuse(&scope, "lora_alpha", NULL, "a number", err);
    }
    return status;
}

pith_status pith_lora_parse(pith_lora *lora, const char *data, size_t len, const char *label,
                            pith_err *err) {
    *lora = (pith_lora){.alpha = (double)NAN};
    pith_label(lora->label, label);
    pith_status status = pith_json_parse(&lora->config, data, len, lora->label, err);
    if (status == PITH_OK) {
        status = read_config(lora, err);
    }
    if (status != PITH_OK) {
        pith_lora_close(lora);
    }
    return status;
}

pith_status pith_lora_open(pith_lora *lora, const char *dir, pith_err *err) {
    *lora = (pith_lora){.alpha = (double)NAN};
    pith_status status =
        pith_json_read(&lora->config, dir, "adapter_config.json", lora->label, err);
    if (status == PITH_OK) {
        status = read_config(lora, err);
    }
    if (status != PITH_OK) {
        pith_lora_close(lora);
    }
    return status;
}

void pith_lora_close(pith_lora *lora) {
    json_decref(lora->config);
    *lora = (pith_lora){0};
}

static bool names_module(const char *key, const char *module) {
    size_t key_len = strlen(key);
    size_t len = strlen(module);
    return key_len <= len && strcmp(module + len - key_len, key) == 0 &&
           (key_len == len || module[len - key_len - 1] == '.');
}

/* The first key of the pattern object that names the module; NULL when there is none. */
static pith_status find_pattern(const pith_json_scope *scope, const char *pattern,
                                const char *module, const char **found, const json_t **object,
                                pith_err *err) {
    *found = NULL;
    pith_status status = pith_json_object(scope, pattern, object, err);
    if (status != PITH_OK || *object == NULL) {
        return status;
    }
    const char *key;
    json_t *value;
    /* jansson's iterators take a non-const object and do not change it. */
    json_object_foreach((json_t *)(uintptr_t)*object, key, value) {
        if (strpbrk(key, "\\^$*+?()[]{}|") != NULL) {
            return pith_json_unsupported(scope, pattern, value, "keys that are plain module names",
                                         err);
        }
        if (names_module(key, module)) {
            *found = key;
            return PITH_OK;
        }
    }
    return PITH_OK;
}

pith_status pith_lora_scale(const pith_lora *lora, const char *module, uint32_t *rank,
                            double *scale, pith_err *err) {
    pith_json_scope scope = {.object = lora->config, .label = lora->label, .prefix = ""};
    const json_t *object;
    const char *key;
    double alpha = lora->alpha;
    *rank = lora->rank;
    pith_status status = find_pattern(&scope, "rank_pattern", module, &key, &object, err);
    if (status == PITH_OK && key != NULL) {
        pith_json_scope inner = {object, lora->label, "rank_pattern."};
        status = pith_json_u32(&inner, key, 1, PITH_LORA_RANK_MAX, rank, err);
    }
    if (status == PITH_OK) {
        status = find_pattern(&scope, "alpha_pattern", module, &key, &object, err);
    }
    if (status == PITH_OK && key != NULL) {
        pith_json_scope inner = {object, lora->label, "alpha_pattern."};
        status = pith_json_real(&inner, key, 0.0, ALPHA_MAX, &alpha, err);
    }
    *scale = lora->rslora ? alpha / sqrt((double)*rank) : alpha / (double)*rank;
    return status;
}

/* out[n] += x * in[n] */
static void axpy(float *out, const float *in, float x, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes sum = *(const lanes *)(out + i) + *(const lanes *)(in + i) * x;
        *(lanes *)(out + i) = sum;
    }
    for (; i < n; i++) {
        out[i] += in[i] * x;
    }
}

void pith_lora_merge(float *w, const float *a, const float *b, float *scratch,
                     pith_lora_shape shape, float scale) {
    for (size_t row = 0; row < shape.rows; row++) {
        memset(scratch, 0, shape.cols * sizeof *scratch);
        for (size_t k = 0; k < shape.rank; k++) {
            axpy(scratch, a + k * shape.cols, b[row * shape.rank + k], shape.cols);
        }
        axpy(w + row * shape.cols, scratch, scale, shape.cols);
    }
}
