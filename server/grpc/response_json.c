#include "server/grpc/response_json.h"

#include "runtime/base/size.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A growing string; `failed` stays set once memory ran out. */
typedef struct text {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
} text;

static char *reserve(text *out, size_t n) {
    size_t need;
    if (out->failed || !pith_size_add(out->len, n + 1, &need)) {
        out->failed = true;
        return NULL;
    }
    if (need > out->cap) {
        size_t cap = out->cap < 256 ? 256 : out->cap;
        while (cap < need && cap <= SIZE_MAX / 2) {
            cap *= 2;
        }
        char *grown = realloc(out->data, cap < need ? need : cap);
        if (grown == NULL) {
            out->failed = true;
            return NULL;
        }
        out->data = grown;
        out->cap = cap < need ? need : cap;
    }
    return out->data + out->len;
}

static void put(text *out, const char *bytes, size_t n) {
    char *at = reserve(out, n);
    if (at != NULL) {
        memcpy(at, bytes, n);
        out->len += n;
    }
}

static void put_string(text *out, const char *string) {
    put(out, string, strlen(string));
}

static void put_uint(text *out, uint32_t value) {
    char digits[16];
    int n = snprintf(digits, sizeof digits, "%u", value);
    put(out, digits, (size_t)n);
}

/* The shortest decimal that reads back as the same float; proto3 JSON spells the rest as strings.
 */
static void put_float(text *out, float value) {
    char digits[32];
    if (isnan(value)) {
        put_string(out, "\"NaN\"");
        return;
    }
    if (isinf(value)) {
        put_string(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    for (int precision = 6; precision <= 9; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value) {
            break;
        }
    }
    put_string(out, digits);
}

/* Length of the longest start of bytes[0, len) that needs no escape (RFC 8259 section 7). */
static size_t plain_run(const uint8_t *bytes, size_t len) {
    size_t n = 0;
    while (n < len && bytes[n] >= 0x20 && bytes[n] != '"' && bytes[n] != '\\' && bytes[n] != 0x7F) {
        n++;
    }
    return n;
}

static void put_escape(text *out, uint8_t byte) {
    static const char shorts[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    const char *known = byte == 0 ? NULL : strchr(shorts, byte);
    char escape[8];
    if (known != NULL) {
        (void)snprintf(escape, sizeof escape, "\\%c", letters[known - shorts]);
    } else {
        (void)snprintf(escape, sizeof escape, "\\u%04x", byte);
    }
    put_string(out, escape);
}

static void put_text(text *out, const ProtobufCBinaryData *value) {
    put(out, "\"", 1);
    for (size_t i = 0; i < value->len;) {
        size_t run = plain_run(value->data + i, value->len - i);
        put(out, (const char *)value->data + i, run);
        i += run;
        if (i < value->len) {
            put_escape(out, value->data[i++]);
        }
    }
    put(out, "\"", 1);
}

/* ,"name": */
static void put_name(text *out, const char *name) {
    bool first = out->len > 0 && out->data != NULL && out->data[out->len - 1] == '{';
    put_string(out, first ? "\"" : ",\"");
    put_string(out, name);
    put_string(out, "\":");
}

static void put_text_field(text *out, const char *name, const ProtobufCBinaryData *value) {
    put_name(out, name);
    put_text(out, value);
}

static void put_uint_field(text *out, const char *name, uint32_t value) {
    put_name(out, name);
    put_uint(out, value);
}

static void put_bool_field(text *out, const char *name, bool value) {
    put_name(out, name);
    put_string(out, value ? "true" : "false");
}

static void put_enum_field(text *out, const char *name, const ProtobufCEnumDescriptor *type,
                           int value) {
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);
    put_name(out, name);
    if (known != NULL) {
        put(out, "\"", 1);
        put_string(out, known->name);
        put(out, "\"", 1);
    } else {
        char digits[16];
        (void)snprintf(digits, sizeof digits, "%d", value);
        put_string(out, digits);
    }
}

static void put_uints_field(text *out, const char *name, const uint32_t *values, size_t n) {
    put_name(out, name);
    put(out, "[", 1);
    for (size_t i = 0; i < n; i++) {
        put(out, ",", i > 0);
        put_uint(out, values[i]);
    }
    put(out, "]", 1);
}

static void put_flags_field(text *out, const char *name, const protobuf_c_boolean *values,
                            size_t n) {
    put_name(out, name);
    put(out, "[", 1);
    for (size_t i = 0; i < n; i++) {
        put(out, ",", i > 0);
        put_string(out, values[i] ? "true" : "false");
    }
    put(out, "]", 1);
}

static void put_explanation(text *out, const Pith__V1__Explanation *from) {
    put_name(out, "explanation");
    put(out, "{", 1);
    put_uints_field(out, "wordStart", from->word_start, from->n_word_start);
    put_uints_field(out, "wordEnd", from->word_end, from->n_word_end);
    put_name(out, "score");
    put(out, "[", 1);
    for (size_t i = 0; i < from->n_score; i++) {
        put(out, ",", i > 0);
        put_float(out, from->score[i]);
    }
    put(out, "]", 1);
    put_flags_field(out, "kept", from->kept, from->n_kept);
    put_flags_field(out, "critical", from->critical, from->n_critical);
    put(out, "}", 1);
}

static void put_timing(text *out, const Pith__V1__Timing *from) {
    put_name(out, "timing");
    put(out, "{", 1);
    put_uint_field(out, "queueUs", from->queue_us);
    put_uint_field(out, "tokenizeUs", from->tokenize_us);
    put_uint_field(out, "modelUs", from->model_us);
    put_uint_field(out, "finishUs", from->finish_us);
    put_uint_field(out, "totalUs", from->total_us);
    put_uint_field(out, "windows", from->windows);
    put(out, "}", 1);
}

static void put_response(text *out, const Pith__V1__CompressResponse *r) {
    put(out, "{", 1);
    put_text_field(out, "id", &r->id);
    put_text_field(out, "text", &r->text);
    put_uint_field(out, "inputWords", r->input_words);
    put_uint_field(out, "keptWords", r->kept_words);
    put_uint_field(out, "inputTokens", r->input_tokens);
    put_uint_field(out, "keptTokens", r->kept_tokens);
    put_uint_field(out, "criticalTotal", r->critical_total);
    put_uint_field(out, "criticalKept", r->critical_kept);
    put_bool_field(out, "passedThrough", r->passed_through);
    put_enum_field(out, "passthroughReason", &pith__v1__passthrough_reason__descriptor,
                   (int)r->passthrough_reason);
    put_bool_field(out, "budgetMissed", r->budget_missed);
    put_bool_field(out, "questionUsed", r->question_used);
    put_uint_field(out, "unscoredWords", r->unscored_words);
    put_text_field(out, "model", &r->model);
    put_text_field(out, "modelFingerprint", &r->model_fingerprint);
    put_enum_field(out, "domain", &pith__v1__domain__descriptor, (int)r->domain);
    put_uints_field(out, "keptRanges", r->kept_ranges, r->n_kept_ranges);
    if (r->explanation != NULL) {
        put_explanation(out, r->explanation);
    }
    if (r->timing != NULL) {
        put_timing(out, r->timing);
    }
    put_uint_field(out, "patternLimitHits", r->pattern_limit_hits);
    put_uint_field(out, "foldedLines", r->folded_lines);
    put_uint_field(out, "foldedCritical", r->folded_critical);
    put(out, "}", 1);
}

pith_status pith_response_to_json(const Pith__V1__CompressResponse *response, char **json,
                                  size_t *len, pith_err *err) {
    text out = {0};
    put_response(&out, response);
    *json = NULL;
    *len = 0;
    if (out.failed) {
        free(out.data);
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the JSON of a reply");
    }
    out.data[out.len] = '\0';
    *json = out.data;
    *len = out.len;
    return PITH_OK;
}

pith_status pith_response_print_json(const Pith__V1__CompressResponse *response, FILE *file,
                                     pith_err *err) {
    char *json;
    size_t len;
    pith_status status = pith_response_to_json(response, &json, &len, err);
    if (status != PITH_OK) {
        return status;
    }
    bool written = fwrite(json, 1, len, file) == len && fputc('\n', file) != EOF;
    free(json);
    return written ? PITH_OK
                   : pith_fail(err, PITH_IO, "cannot write the reply: %s", strerror(errno));
}
