#include "server/grpc/convert.h"

#include <string.h>

_Static_assert(sizeof(pith_range) == 2 * sizeof(uint32_t),
               "kept ranges are sent as they lie in memory: start, end, start, end");
_Static_assert((int)PITH_PASS_DEADLINE ==
                       PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_DEADLINE &&
                   (int)PITH_PASS_NONE ==
                       PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_UNSPECIFIED,
               "reasons have the same numbers on the wire and inside");

static ProtobufCBinaryData bytes_of(const void *data, size_t len) {
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)(uintptr_t)data};
}

static ProtobufCBinaryData bytes_of_string(const char *text) {
    return text == NULL ? bytes_of("", 0) : bytes_of(text, strlen(text));
}

static uint32_t micros(int64_t ns) {
    int64_t us = ns < 0 ? 0 : ns / 1000;
    return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static protobuf_c_boolean *widen(const bool *flags, size_t n, pith_arena *arena) {
    protobuf_c_boolean *out = pith_arena_alloc(arena, n, sizeof *out);
    for (size_t i = 0; out != NULL && i < n; i++) {
        out[i] = flags[i];
    }
    return out;
}

static pith_status fill_explanation(pith_response *response, const pith_explanation *from,
                                    pith_arena *arena, pith_err *err) {
    Pith__V1__Explanation *out = &response->explanation;
    *out = (Pith__V1__Explanation)PITH__V1__EXPLANATION__INIT;
    out->word_start = (uint32_t *)(uintptr_t)from->start;
    out->word_end = (uint32_t *)(uintptr_t)from->end;
    out->score = (float *)(uintptr_t)from->score;
    out->kept = widen(from->kept, from->n, arena);
    out->critical = widen(from->critical, from->n, arena);
    if (out->kept == NULL || out->critical == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no room for an explanation of %zu words", from->n);
    }
    out->n_word_start = out->n_word_end = out->n_score = out->n_kept = out->n_critical = from->n;
    response->message.explanation = out;
    return PITH_OK;
}

static void fill_timing(pith_response *response, const pith_timing *from) {
    response->timing = (Pith__V1__Timing)PITH__V1__TIMING__INIT;
    response->timing.queue_us = micros(from->queue_ns);
    response->timing.tokenize_us = micros(from->tokenize_ns);
    response->timing.model_us = micros(from->model_ns);
    response->timing.finish_us = micros(from->finish_ns);
    response->timing.total_us = micros(from->total_ns);
    response->timing.windows = from->n_windows;
    response->message.timing = &response->timing;
}

size_t pith_response_arena_bytes(const pith_reply *reply) {
    size_t n = reply->result == NULL ? 0 : reply->result->explanation.n;
    return 2 * (n * sizeof(protobuf_c_boolean) + 64); /* 64: the arena's alignment */
}

pith_status pith_response_from_reply(pith_response *response, const pith_reply *reply,
                                     const void *id, size_t id_len, pith_arena *arena,
                                     pith_err *err) {
    const pith_compress_result *from = reply->result;
    Pith__V1__CompressResponse *out = &response->message;
    *out = (Pith__V1__CompressResponse)PITH__V1__COMPRESS_RESPONSE__INIT;
    if (reply->status != PITH_OK || from == NULL) {
        return pith_fail(err, PITH_INTERNAL, "the engine's reply carries no result");
    }
    out->id = bytes_of(id, id_len);
    out->text = bytes_of(from->text, from->text_len);
    out->input_words = from->input_words;
    out->kept_words = from->kept_words;
    out->input_tokens = from->input_tokens;
    out->kept_tokens = from->kept_tokens;
    out->critical_total = from->critical_total;
    out->critical_kept = from->critical_kept;
    out->unscored_words = from->unscored_words;
    out->pattern_limit_hits = from->pattern_limit_hits;
    out->folded_lines = from->folded_lines;
    out->folded_critical = from->folded_critical;
    out->passed_through = from->passthrough != PITH_PASS_NONE;
    out->passthrough_reason = (Pith__V1__PassthroughReason)from->passthrough;
    out->budget_missed = from->budget_missed;
    out->question_used = false; /* no model reads it yet */
    out->domain = (Pith__V1__Domain)from->domain;
    out->n_kept_ranges = 2 * from->n_kept_ranges;
    out->kept_ranges = (uint32_t *)(uintptr_t)from->kept_ranges;
    if (reply->model != NULL) {
        out->model = bytes_of_string(reply->model->name);
        out->model_fingerprint = bytes_of_string(reply->model->fingerprint);
    }
    fill_timing(response, &reply->timing);
    if (from->explanation.n > 0) {
        return fill_explanation(response, &from->explanation, arena, err);
    }
    return PITH_OK;
}
