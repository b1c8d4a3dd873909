#include "server/grpc/request.h"

#include "server/grpc/rpc_error.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)PITH_DOMAIN_ERROR_TRACE == PITH__V1__DOMAIN__DOMAIN_ERROR_TRACE &&
                   (int)PITH_DOMAIN_AUTO == PITH__V1__DOMAIN__DOMAIN_UNSPECIFIED &&
                   (int)PITH_DOMAIN_COUNT == PITH__V1__DOMAIN__DOMAIN_ERROR_TRACE + 1,
               "domains have the same numbers on the wire and inside");

/* Everything the checks below need. */
typedef struct reader {
    const Pith__V1__CompressRequest *message;
    const char *prefix;
    pith_fault *fault;
} reader;

static pith_status invalid(const reader *r, const char *field, const char *text) {
    char path[PITH_FAULT_FIELD_BYTES];
    (void)snprintf(path, sizeof path, "%s%s", r->prefix, field);
    return pith_fault_set(r->fault, PITH_INVALID, path, "%s", text);
}

static pith_status invalid_number(const reader *r, const char *field, double found,
                                  const char *expected) {
    char text[96];
    (void)snprintf(text, sizeof text, "%g, expected %s", found, expected);
    return invalid(r, field, text);
}

/* A NaN fails every comparison, so each check asks for what is right. */
static pith_status read_budget(const reader *r, pith_compress_request *out) {
    const Pith__V1__CompressRequest *m = r->message;
    switch (m->budget_case) {
    case PITH__V1__COMPRESS_REQUEST__BUDGET_TARGET_RATIO:
        if (!(m->target_ratio > 0 && m->target_ratio <= 1)) {
            return invalid_number(r, "target_ratio", m->target_ratio, "more than 0 and at most 1");
        }
        out->budget = PITH_BUDGET_TARGET_RATIO;
        out->budget_value = m->target_ratio;
        return PITH_OK;
    case PITH__V1__COMPRESS_REQUEST__BUDGET_MAX_TOKENS:
        if (m->max_tokens == 0) {
            return invalid(r, "max_tokens", "0, expected at least 1");
        }
        out->budget = PITH_BUDGET_MAX_TOKENS;
        out->budget_value = m->max_tokens;
        return PITH_OK;
    case PITH__V1__COMPRESS_REQUEST__BUDGET_THRESHOLD:
        if (!(m->threshold >= 0 && m->threshold <= 1)) {
            return invalid_number(r, "threshold", m->threshold, "a number from 0 to 1");
        }
        out->budget = PITH_BUDGET_THRESHOLD;
        out->budget_value = m->threshold;
        return PITH_OK;
    default:
        out->budget = PITH_BUDGET_DEFAULT;
        return PITH_OK;
    }
}

static pith_status unknown_enum(const reader *r, const char *field, int value) {
    char text[64];
    (void)snprintf(text, sizeof text, "unknown value %d", value);
    return invalid(r, field, text);
}

static pith_status read_enums(const reader *r, pith_compress_request *out,
                              pith_submit_opts *submit) {
    int domain = (int)r->message->domain;
    int profile = (int)r->message->profile;
    int priority = (int)r->message->priority;
    if (domain < 0 || domain >= PITH_DOMAIN_COUNT) {
        return unknown_enum(r, "domain", domain);
    }
    out->domain = (pith_domain)domain;
    switch (profile) {
    case PITH__V1__PROFILE__PROFILE_UNSPECIFIED:
    case PITH__V1__PROFILE__PROFILE_FAITHFUL:
        out->profile = PITH_PROFILE_FAITHFUL;
        break;
    case PITH__V1__PROFILE__PROFILE_KOMPRESS:
        out->profile = PITH_PROFILE_KOMPRESS;
        break;
    default:
        return unknown_enum(r, "profile", profile);
    }
    switch (priority) {
    case PITH__V1__PRIORITY__PRIORITY_UNSPECIFIED:
    case PITH__V1__PRIORITY__PRIORITY_NORMAL:
        submit->priority = PITH_PRIORITY_NORMAL;
        break;
    case PITH__V1__PRIORITY__PRIORITY_INTERACTIVE:
        submit->priority = PITH_PRIORITY_INTERACTIVE;
        break;
    case PITH__V1__PRIORITY__PRIORITY_BATCH:
        submit->priority = PITH_PRIORITY_BATCH;
        break;
    default:
        return unknown_enum(r, "priority", priority);
    }
    return PITH_OK;
}

static pith_status read_fold(const reader *r, pith_compress_request *out) {
    out->fold_repeats = r->message->fold_repeats != 0;
    return out->fold_repeats && out->profile == PITH_PROFILE_KOMPRESS
               ? invalid(r, "fold_repeats", "true, which the kompress profile does not know")
               : PITH_OK;
}

static bool inside_character(const ProtobufCBinaryData *text, uint32_t at) {
    return at < text->len && (text->data[at] & 0xC0) == 0x80;
}

static pith_status read_keep(const reader *r, pith_arena *arena, pith_compress_request *out) {
    const Pith__V1__CompressRequest *m = r->message;
    char field[32];
    char text[96];
    if (m->n_keep > PITH_KEEP_RANGES_MAX) {
        (void)snprintf(text, sizeof text, "%zu ranges, at most %d", m->n_keep,
                       PITH_KEEP_RANGES_MAX);
        return invalid(r, "keep", text);
    }
    pith_range *ranges = pith_arena_alloc(arena, m->n_keep, sizeof *ranges);
    if (ranges == NULL) {
        return pith_fault_set(r->fault, PITH_NO_MEMORY, NULL, "no memory for keep ranges");
    }
    for (size_t i = 0; i < m->n_keep; i++) {
        uint32_t start = m->keep[i]->start;
        uint32_t end = m->keep[i]->end;
        (void)snprintf(field, sizeof field, "keep[%zu]", i);
        if (start > end || end > m->text.len) {
            (void)snprintf(text, sizeof text, "bytes %u to %u of a text of %zu bytes", start, end,
                           m->text.len);
            return invalid(r, field, text);
        }
        if (inside_character(&m->text, start) || inside_character(&m->text, end)) {
            (void)snprintf(text, sizeof text, "bytes %u to %u cut a character", start, end);
            return invalid(r, field, text);
        }
        ranges[i] = (pith_range){.start = start, .end = end};
    }
    out->keep = ranges;
    out->n_keep = m->n_keep;
    return PITH_OK;
}

static pith_status read_model(const reader *r, pith_arena *arena, pith_submit_opts *submit) {
    const ProtobufCBinaryData *name = &r->message->model;
    if (name->len > PITH_MODEL_NAME_BYTES_MAX) {
        return invalid(r, "model", "longer than 256 bytes");
    }
    if (name->len > 0 && memchr(name->data, 0, name->len) != NULL) {
        return invalid(r, "model", "contains a NUL byte");
    }
    char *copy = pith_arena_alloc(arena, 1, name->len + 1);
    if (copy == NULL) {
        return pith_fault_set(r->fault, PITH_NO_MEMORY, NULL, "no memory for a model name");
    }
    if (name->len > 0) {
        memcpy(copy, name->data, name->len);
    }
    copy[name->len] = '\0';
    submit->model = copy;
    return PITH_OK;
}

static pith_status read_lengths(const reader *r, size_t text_bytes_max) {
    const Pith__V1__CompressRequest *m = r->message;
    char text[96];
    if (m->text.len > text_bytes_max) {
        (void)snprintf(text, sizeof text, "%zu bytes, at most %zu are allowed", m->text.len,
                       text_bytes_max);
        return invalid(r, "text", text);
    }
    if (m->id.len > PITH_REQUEST_ID_BYTES_MAX) {
        return invalid(r, "id", "longer than 256 bytes");
    }
    return PITH_OK;
}

/* True for the ASCII part of the white space that separates words. */
static bool is_ascii_space(uint8_t byte) {
    return byte == ' ' || (byte >= 0x09 && byte <= 0x0D) || (byte >= 0x1C && byte <= 0x1F);
}

/* At least so many words has the text: runs that begin with an ASCII character of a word. The
 * engine counts exactly, but only after it has scored a text that it would then refuse to explain.
 */
static size_t words_at_least(const ProtobufCBinaryData *text) {
    size_t n = 0;
    bool before = true;
    for (size_t i = 0; i < text->len; i++) {
        bool space = is_ascii_space(text->data[i]);
        n += before && !space && text->data[i] < 0x80;
        before = space;
    }
    return n;
}

static pith_status read_explain(const reader *r, pith_compress_request *out) {
    out->explain = r->message->explain != 0;
    if (out->explain && words_at_least(&r->message->text) > PITH_EXPLAIN_WORDS_MAX) {
        char text[64];
        (void)snprintf(text, sizeof text, "the text has more than %d words",
                       PITH_EXPLAIN_WORDS_MAX);
        return invalid(r, "explain", text);
    }
    return PITH_OK;
}

pith_status pith_request_read(const Pith__V1__CompressRequest *message, const char *prefix,
                              size_t text_bytes_max, pith_arena *arena,
                              pith_compress_request *request, pith_submit_opts *submit,
                              pith_fault *fault) {
    const reader r = {.message = message, .prefix = prefix, .fault = fault};
    *request = (pith_compress_request){
        .text = message->text.len == 0 ? "" : (const char *)message->text.data,
        .text_len = message->text.len,
    };
    pith_status status = read_lengths(&r, text_bytes_max);
    if (status == PITH_OK) {
        status = read_budget(&r, request);
    }
    if (status == PITH_OK) {
        status = read_enums(&r, request, submit);
    }
    if (status == PITH_OK) {
        status = read_explain(&r, request);
    }
    if (status == PITH_OK) {
        status = read_fold(&r, request);
    }
    if (status == PITH_OK) {
        status = read_keep(&r, arena, request);
    }
    if (status == PITH_OK) {
        status = read_model(&r, arena, submit);
    }
    return status;
}
