#include "server/http/body.h"

#include <jansson.h>
#include <math.h>

/* Counts what a parser would build, without building it. Not a check: the parser judges. */
static bool is_small_tree(const char *json, size_t len) {
    size_t n_values = 1;
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = json[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
            continue;
        }
        in_string = c == '"';
        n_values += c == ',' || c == '[' || c == '{';
        depth += c == '[' || c == '{';
        depth -= (c == ']' || c == '}') && depth > 0;
        if (n_values > PITH_HTTP_BODY_VALUES_MAX || depth > PITH_HTTP_BODY_DEPTH_MAX) {
            return false;
        }
    }
    return true;
}

static pith_status refuse(const char **field, const char *name, const char *text, pith_err *err) {
    *field = name;
    return pith_fail(err, PITH_INVALID, "%s", text);
}

static pith_status read_ratio(pith_http_body *body, const json_t *value, const char **field,
                              pith_err *err) {
    if (value == NULL || json_is_null(value)) {
        return PITH_OK;
    }
    double ratio = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(ratio > 0 && ratio <= 1)) {
        return refuse(field, "target_ratio", "expected null or a number over 0 and at most 1", err);
    }
    body->ratio = ratio;
    body->has_ratio = true;
    return PITH_OK;
}

pith_status pith_http_body_read(pith_http_body *body, const char *json, size_t len,
                                const char **field, pith_err *err) {
    *body = (pith_http_body){0};
    *field = "";
    if (!is_small_tree(json, len)) {
        return refuse(field, "", "the body has too many values or is nested too deeply", err);
    }
    json_error_t error;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (root == NULL) {
        /* The parser's own text quotes the body. */
        return pith_fail(err, PITH_INVALID, "the body is not one JSON object (byte %d)",
                         error.position);
    }
    body->root = root;
    const json_t *content = json_object_get(root, "content");
    if (!json_is_string(content)) {
        return refuse(field, json_is_object(root) ? "content" : "",
                      json_is_object(root) ? "expected a string" : "expected one JSON object", err);
    }
    body->text = json_string_value(content);
    body->text_len = json_string_length(content);
    return read_ratio(body, json_object_get(root, "target_ratio"), field, err);
}

void pith_http_body_reset(pith_http_body *body) {
    json_decref(body->root);
    *body = (pith_http_body){0};
}
