/* One line a request. Its text is never in it, nor anything else that was sent but the id, cut to
 * printable ASCII. */
#include "runtime/base/log.h"
#include "server/grpc/rpc_error.h"
#include "server/observe/observe_internal.h"

#include <stdio.h>
#include <string.h>

enum { ID_BYTES_MAX = 128, NAME_BYTES_MAX = 128, FIELDS_BYTES = 2048 };

void pith_copy_id(char *out, size_t size, const void *id, size_t len) {
    const char *from = id;
    size_t n = len < size - 1 ? len : size - 1;
    for (size_t i = 0; i < n; i++) {
        bool plain = from[i] >= 0x20 && from[i] < 0x7F && from[i] != '"' && from[i] != '\\';
        out[i] = plain ? from[i] : '?';
    }
    out[n] = '\0';
}

static double ms(int64_t ns) {
    return (double)ns / 1e6;
}

static int request_fields(char *out, size_t size, const pith_request_event *event,
                          const pith_trace_context *trace, int64_t duration_ns) {
    char id[ID_BYTES_MAX + 1];
    pith_copy_id(id, sizeof id, event->id, event->id_len);
    return snprintf(out, size,
                    "\"method\":\"%s\",\"code\":\"%s\",\"reason\":\"%s\",\"field\":\"%s\","
                    "\"id\":\"%s\",\"trace\":\"%s\",\"text_bytes\":%zu,\"ms\":%.3f",
                    pith_entry_name(event->entry),
                    pith_rpc_code_name((int)pith_rpc_code_of(event->status)),
                    event->status == PITH_OK
                        ? ""
                        : pith_rpc_cause_reason(pith_rpc_cause_of(event->status, event->reason)),
                    event->field == NULL ? "" : event->field, id, trace->trace_id, event->text_len,
                    ms(duration_ns));
}

static void reply_fields(char *out, size_t size, const pith_reply *reply) {
    const pith_compress_result *r = reply->result;
    const pith_timing *t = &reply->timing;
    const char *name = reply->model == NULL ? "" : reply->model->name;
    char model[NAME_BYTES_MAX];
    (void)pith_log_escape(model, sizeof model, name, strlen(name));
    (void)snprintf(out, size,
                   ",\"model\":\"%s\",\"input_tokens\":%u,\"kept_tokens\":%u,\"input_words\":%u,"
                   "\"kept_words\":%u,\"unscored_words\":%u,\"passed_through\":%s,"
                   "\"queue_ms\":%.3f,\"tokenize_ms\":%.3f,\"model_ms\":%.3f,\"finish_ms\":%.3f",
                   model, r->input_tokens, r->kept_tokens, r->input_words, r->kept_words,
                   r->unscored_words, r->passthrough != PITH_PASS_NONE ? "true" : "false",
                   ms(t->queue_ns), ms(t->tokenize_ns), ms(t->model_ns), ms(t->finish_ns));
}

void pith_access_log(const pith_request_event *event, const pith_trace_context *trace,
                     int64_t duration_ns) {
    /* People read text; a line for each request is for machines. */
    pith_log_level level = pith_log_is_json() ? PITH_LOG_INFO : PITH_LOG_DEBUG;
    if (!pith_log_enabled(level)) {
        return;
    }
    char fields[FIELDS_BYTES];
    int n = request_fields(fields, sizeof fields, event, trace, duration_ns);
    if (event->reply != NULL && event->reply->result != NULL && n > 0 &&
        (size_t)n < sizeof fields) {
        reply_fields(fields + n, sizeof fields - (size_t)n, event->reply);
    }
    pith_log_fields(level, "request", fields);
}
