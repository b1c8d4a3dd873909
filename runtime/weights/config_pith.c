/* The "pith" object of config.json, format 1: what the model means for decisions. */
#include "runtime/weights/config_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double GAMMA_MAX = 100.0;  /* pith-mini's recipe learned 1.27 */
static const double EXPONENT_MAX = 4.0; /* 1 is a price per token; 2 ranks by length alone */

static pith_status refuse_unknown_keys(const pith_json_scope *scope, pith_err *err) {
    static const char *const known[] = {
        "format",         "name",          "word_mode",   "gate",       "gamma",
        "span_channels",  "window_tokens", "halo_tokens", "thresholds", "length_exponent",
        "repeat_exponent"};
    const char *key;
    json_t *value;
    /* jansson's iterators take a non-const object and do not change it. */
    json_object_foreach((json_t *)(uintptr_t)scope->object, key, value) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++) {
            found = strcmp(key, known[i]) == 0;
        }
        if (!found) {
            return pith_json_refuse(scope, key, value, "no such key in format 1", err);
        }
    }
    return PITH_OK;
}

/* Index of the key's value among names[n]; *index stays when it is absent. */
static pith_status read_choice(const pith_json_scope *scope, const char *key,
                               const char *const *names, size_t n, size_t *index, pith_err *err) {
    const json_t *value = pith_json_get(scope, key);
    if (value == NULL) {
        return PITH_OK;
    }
    char expected[PITH_FOUND_BYTES] = "";
    for (size_t i = 0; i < n; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) {
            *index = i;
            return PITH_OK;
        }
        size_t len = strlen(expected);
        (void)snprintf(expected + len, sizeof expected - len, "%s%s", i == 0 ? "" : " or ",
                       names[i]);
    }
    return pith_json_refuse(scope, key, value, expected, err);
}

static bool is_plain_name(const char *name) {
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len > 0 && name[len] == '\0' && len < PITH_MODEL_NAME_BYTES;
}

static pith_status read_gate(const pith_json_scope *scope, pith_model_config *config,
                             pith_err *err) {
    static const char *const gates[] = {[PITH_GATE_MULTIPLICATIVE] = "multiplicative",
                                        [PITH_GATE_ASYMMETRIC] = "asymmetric",
                                        [PITH_GATE_OR_BOOST] = "or-boost"};
    size_t gate = PITH_GATE_MULTIPLICATIVE;
    pith_status status = read_choice(scope, "gate", gates, 3, &gate, err);
    config->gate = (pith_gate)gate;
    if (status == PITH_OK) {
        status = pith_json_real(scope, "gamma", 0.0, GAMMA_MAX, &config->gamma, err);
    }
    if (status == PITH_OK) {
        status = pith_json_real(scope, "length_exponent", 0.0, EXPONENT_MAX,
                                &config->length_exponent, err);
    }
    if (status == PITH_OK) {
        status = pith_json_real(scope, "repeat_exponent", 0.0, EXPONENT_MAX,
                                &config->repeat_exponent, err);
    }
    if (status == PITH_OK && config->gate == PITH_GATE_ASYMMETRIC &&
        pith_json_get(scope, "gamma") == NULL) {
        return pith_json_refuse(scope, "gamma", NULL, "a number (the gate is asymmetric)", err);
    }
    return status;
}

static pith_status read_thresholds(const pith_json_scope *scope, pith_model_config *config,
                                   pith_err *err) {
    const json_t *object;
    pith_status status = pith_json_object(scope, "thresholds", &object, err);
    if (status != PITH_OK || object == NULL) {
        return status;
    }
    pith_json_scope inner = {.object = object, .label = scope->label, .prefix = "pith.thresholds."};
    config->n_thresholds = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (config->n_thresholds == PITH_DOMAIN_THRESHOLDS_MAX) {
            return pith_json_refuse(scope, "thresholds", object, "at most 16 of them", err);
        }
        pith_named_threshold *row = &config->thresholds[config->n_thresholds];
        if (!is_plain_name(key)) {
            return pith_json_refuse(&inner, key, value, "a key of letters, digits and ._-", err);
        }
        (void)snprintf(row->domain, sizeof row->domain, "%s", key);
        row->value = (double)NAN;
        status = pith_json_real(&inner, key, 0.0, 1.0, &row->value, err);
        if (status == PITH_OK && isnan(row->value)) {
            status = pith_json_refuse(&inner, key, value, "a number from 0 to 1", err);
        }
        if (status != PITH_OK) {
            return status;
        }
        config->n_thresholds++;
    }
    return PITH_OK;
}

static pith_status read_words(const pith_json_scope *scope, pith_model_config *config,
                              pith_err *err) {
    static const char *const modes[] = {"raw", "split"};
    size_t mode = config->split_words ? 1 : 0;
    pith_status status = read_choice(scope, "word_mode", modes, 2, &mode, err);
    config->split_words = mode == 1;
    if (status == PITH_OK) {
        status = pith_json_u32(scope, "window_tokens", PITH_WINDOW_TOKENS_MIN, PITH_POSITIONS_MAX,
                               &config->window_tokens, err);
    }
    if (status == PITH_OK) {
        status =
            pith_json_u32(scope, "halo_tokens", 0, PITH_POSITIONS_MAX, &config->halo_tokens, err);
    }
    if (status == PITH_OK) {
        status = pith_json_u32(scope, "span_channels", 1, PITH_SPAN_CHANNELS_MAX,
                               &config->span_channels, err);
    }
    return status;
}

pith_status pith_config_read_pith(const pith_json_scope *root, pith_model_config *config,
                                  pith_err *err) {
    const json_t *object;
    pith_status status = pith_json_object(root, "pith", &object, err);
    if (status != PITH_OK || object == NULL) {
        return status;
    }
    pith_json_scope scope = {.object = object, .label = root->label, .prefix = "pith."};
    const json_t *format = pith_json_get(&scope, "format");
    if (!json_is_integer(format) || json_integer_value(format) != 1) {
        return pith_json_unsupported(&scope, "format", format, "1", err);
    }
    status = refuse_unknown_keys(&scope, err);
    const char *name = config->name;
    if (status == PITH_OK) {
        status = pith_json_text(&scope, "name", &name, err);
    }
    if (status == PITH_OK && !is_plain_name(name)) {
        return pith_json_refuse(&scope, "name", pith_json_get(&scope, "name"),
                                "1 to 63 letters, digits and ._-", err);
    }
    if (status == PITH_OK && name != config->name) {
        (void)snprintf(config->name, sizeof config->name, "%s", name);
    }
    if (status == PITH_OK) {
        status = read_words(&scope, config, err);
    }
    if (status == PITH_OK) {
        status = read_gate(&scope, config, err);
    }
    if (status == PITH_OK) {
        status = read_thresholds(&scope, config, err);
    }
    return status;
}
