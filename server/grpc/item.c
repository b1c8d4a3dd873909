#include "server/grpc/item.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/utf8.h"
#include "server/grpc/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of an answer for one of its text, at most: the text itself, and for each word of one letter
 * and a space two numbers of a kept range, of up to four bytes each, every other word apart; with
 * an explanation two numbers more, a float and two flags for every word. */
enum { ANSWER_BYTES = 3, EXPLAINED_ANSWER_BYTES = 10, ANSWER_BYTES_MIN = 512 };

static pith_item *item_new(pith_call *call, pith_entry entry, void *owner,
                           const Pith__V1__CompressRequest *message) {
    size_t id_len = message->id.len;
    size_t model_len = message->model.len;
    pith_item *made = calloc(1, sizeof *made + id_len + model_len + 1);
    if (made == NULL) {
        return NULL;
    }
    made->model = (char *)made->id + id_len;
    if (model_len > 0) {
        memcpy(made->model, message->model.data, model_len);
    }
    atomic_init(&made->refs, 2);
    made->call = pith_call_ref(call);
    made->owner = owner;
    made->entry = entry;
    made->begin_ns = pith_clock_now(&pith_clock_system);
    made->text_len = message->text.len;
    made->cost = ANSWER_BYTES_MIN +
                 message->text.len * (message->explain ? EXPLAINED_ANSWER_BYTES : ANSWER_BYTES);
    made->id_len = id_len;
    if (id_len > 0) {
        memcpy(made->id, message->id.data, id_len);
    }
    return made;
}

void pith_item_ref(pith_item *item) {
    (void)atomic_fetch_add(&item->refs, 1);
}

void pith_item_unref(pith_item *item) {
    if (atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) == 1) {
        if (item->job != NULL) {
            pith_job_release(item->job);
        }
        free(item);
    }
}

pith_status pith_item_read(pith_call *call, pith_entry entry, void *owner,
                           const Pith__V1__CompressRequest *message, const char *prefix,
                           pith_arena *arena, pith_compress_request *request,
                           pith_submit_opts *opts, pith_item **item, pith_fault *fault) {
    const pith_compression *service = pith_call_service(call);
    *item = NULL;
    pith_status status =
        pith_request_read(message, prefix, service->text_bytes_max, arena, request, opts, fault);
    if (status != PITH_OK) {
        return status;
    }
    bool faithful = request->profile == PITH_PROFILE_FAITHFUL;
    request->fold_repeats = request->fold_repeats || (service->fold_repeats && faithful);
    *item = item_new(call, entry, owner, message);
    return *item == NULL ? pith_fault_set(fault, PITH_NO_MEMORY, NULL, "no memory for a request")
                         : PITH_OK;
}

static void set_resource(pith_fault *fault, const char *model) {
    (void)snprintf(fault->resource, sizeof fault->resource, "%s", model);
    fault->resource[pith_utf8_valid(fault->resource, strlen(fault->resource))] = '\0';
}

/* The engine's text may begin with the field's name, which the fault has apart. */
static const char *without_field(const char *text, const char *field) {
    size_t len = field == NULL ? 0 : strlen(field);
    bool named = len > 0 && strncmp(text, field, len) == 0 && strncmp(text + len, ": ", 2) == 0;
    return named ? text + len + 2 : text;
}

static void set_fault(const pith_item *item, pith_status status, const char *prefix,
                      const char *field, const char *text, pith_fault *fault) {
    char path[PITH_FAULT_FIELD_BYTES] = "";
    if (field != NULL) {
        (void)snprintf(path, sizeof path, "%s%s", prefix, field);
    }
    (void)pith_fault_set(fault, status, path, "%s", without_field(text, field));
    set_resource(fault, item->model);
}

/* Takes the text's tokens from the bucket of the call's key, if it has one. */
static pith_status charge(pith_item *item, pith_fault *fault) {
    const pith_compression *service = pith_call_service(item->call);
    int key = pith_call_key(item->call);
    int64_t retry_ns;
    if (service->keys == NULL || key == PITH_KEY_NONE) {
        return PITH_OK;
    }
    uint64_t tokens = pith_keys_estimate(item->text_len);
    if (!pith_keys_charge(service->keys, key, tokens, pith_clock_now(&pith_clock_system),
                          &retry_ns)) {
        (void)pith_fault_set(fault, PITH_EXHAUSTED, NULL, "the key has used up its tokens");
        fault->reason = "KEY_QUOTA";
        fault->retry_after_ns = retry_ns;
        pith_keys_name(service->keys, key, fault->resource);
        return PITH_EXHAUSTED;
    }
    item->charged = tokens;
    return PITH_OK;
}

static void settle(const pith_item *item, uint64_t tokens) {
    const pith_compression *service = pith_call_service(item->call);
    if (item->charged > 0) {
        pith_keys_settle(service->keys, pith_call_key(item->call), item->charged, tokens);
    }
}

pith_status pith_item_submit(pith_item *item, const pith_compress_request *request,
                             pith_submit_opts *opts, const char *prefix, pith_fault *fault) {
    const pith_compression *service = pith_call_service(item->call);
    pith_refusal refusal = {0};
    pith_err err = {0};
    opts->deadline_ns = pith_call_deadline_ns(item->call);
    opts->user = item;
    pith_status status = charge(item, fault);
    if (status != PITH_OK) {
        return status;
    }
    status = pith_engine_submit(service->engine, request, opts, &item->job, &refusal, &err);
    if (status != PITH_OK) {
        settle(item, 0);
        set_fault(item, status, prefix, refusal.field, err.text, fault);
        fault->retry_after_ns = refusal.retry_after_ns;
        fault->wait_ns = refusal.wait_ns;
        fault->reason = pith_rpc_refusal_reason(refusal.reason);
    }
    return status;
}

void pith_item_fault(const pith_item *item, const pith_reply *reply, const char *prefix,
                     pith_fault *fault) {
    const char *text = reply->error == NULL ? pith_status_name(reply->status) : reply->error;
    set_fault(item, reply->status, prefix, reply->error_field, text, fault);
    fault->retry_after_ns = reply->retry_after_ns;
    fault->reason = pith_rpc_reply_reason(reply);
}

pith_status pith_item_error(const pith_call *call, const pith_fault *fault, const uint8_t *id,
                            size_t id_len, pith_arena *arena, Google__Rpc__Status **status) {
    if (pith_rpc_is_private(fault->err.status)) {
        pith_log(PITH_LOG_ERROR, "grpc: %s: %s", pith_status_name(fault->err.status),
                 fault->err.text);
    }
    if (id_len == 0) {
        id = (const uint8_t *)pith_call_request_id(call);
        id_len = strlen(pith_call_request_id(call));
    }
    return pith_rpc_error_build(fault, id, id_len, arena, status);
}

/* Copies the caller's trace context, or "". */
static const char *traceparent_of(pith_call *call, char out[PITH_TRACEPARENT_BYTES]) {
    size_t len;
    const char *sent = pith_call_header(call, "traceparent", &len);
    len = sent == NULL || len >= PITH_TRACEPARENT_BYTES ? 0 : len;
    if (len > 0) {
        memcpy(out, sent, len);
    }
    out[len] = '\0';
    return out;
}

_Static_assert((int)PITH_KEY_NAME_BYTES <= (int)PITH_FAULT_FIELD_BYTES, "a key's name fits");

static void observe(pith_call *call, pith_request_event *event) {
    const pith_compression *service = pith_call_service(call);
    char traceparent[PITH_TRACEPARENT_BYTES];
    event->traceparent = traceparent_of(call, traceparent);
    if (event->id_len == 0) {
        event->id = pith_call_request_id(call);
        event->id_len = strlen(pith_call_request_id(call));
    }
    pith_observe_request(service->observe, event);
}

void pith_item_observe(const pith_item *item, const pith_reply *reply) {
    bool answered = reply->status == PITH_OK && reply->result != NULL;
    settle(item, answered ? reply->result->input_tokens : 0);
    pith_request_event event = {
        .entry = item->entry,
        .status = reply->status,
        .reason = pith_rpc_reply_reason(reply),
        .field = reply->error_field,
        .id = item->id,
        .id_len = item->id_len,
        .text_len = item->text_len,
        .begin_ns = item->begin_ns,
        .reply = reply,
    };
    observe(item->call, &event);
}

void pith_refusal_observe(pith_call *call, pith_entry entry, const pith_fault *fault,
                          const uint8_t *id, size_t id_len, int64_t begin_ns) {
    pith_request_event event = {
        .entry = entry,
        .status = fault->err.status,
        .reason = fault->reason,
        .field = fault->field,
        .id = id,
        .id_len = id_len,
        .begin_ns = begin_ns,
    };
    observe(call, &event);
}

static void at_least(int64_t *most, int64_t value) {
    *most = value > *most ? value : *most;
}

void pith_usage_add(pith_usage *usage, const pith_reply *reply) {
    if (reply->status != PITH_OK || reply->result == NULL) {
        return;
    }
    usage->any = true;
    usage->input_tokens += reply->result->input_tokens;
    usage->kept_tokens += reply->result->kept_tokens;
    at_least(&usage->timing.queue_ns, reply->timing.queue_ns);
    at_least(&usage->timing.tokenize_ns, reply->timing.tokenize_ns);
    at_least(&usage->timing.model_ns, reply->timing.model_ns);
    at_least(&usage->timing.finish_ns, reply->timing.finish_ns);
    at_least(&usage->timing.total_ns, reply->timing.total_ns);
}

/* printf costs more than all else that is done for a call's trailers. */
static char *put_text(char *at, const char *text) {
    size_t len = strlen(text);
    memcpy(at, text, len);
    return at + len;
}

static char *put_number(char *at, uint64_t n, int digits_min) {
    char digits[20];
    int len = 0;
    for (; n > 0 || len < digits_min; n /= 10) {
        digits[len++] = (char)('0' + n % 10);
    }
    while (len > 0) {
        *at++ = digits[--len];
    }
    return at;
}

/* "NAME;dur=MILLISECONDS" with three places. */
static char *put_ms(char *at, const char *name, int64_t ns) {
    uint64_t us = ns < 0 ? 0 : ((uint64_t)ns + 500) / 1000;
    at = put_number(put_text(put_text(at, name), ";dur="), us / 1000, 1);
    return put_number(put_text(at, "."), us % 1000, 3);
}

/* A number has at most 20 digits; the names of the longer trailer and its signs have 62 bytes. */
enum { TRAILER_BYTES = 62 + 5 * 20 + 1 };

void pith_usage_send(const pith_usage *usage, pith_call *call) {
    if (!usage->any) {
        return;
    }
    char text[TRAILER_BYTES];
    char *at = put_number(put_text(text, "input_tokens="), usage->input_tokens, 1);
    at = put_number(put_text(at, ", kept_tokens="), usage->kept_tokens, 1);
    *at = '\0';
    pith_call_add_trailer(call, "pith-usage", text);
    const pith_timing *t = &usage->timing;
    at = put_ms(text, "queue", t->queue_ns);
    at = put_ms(at, ", tokenize", t->tokenize_ns);
    at = put_ms(at, ", model", t->model_ns);
    at = put_ms(at, ", finish", t->finish_ns);
    *put_ms(at, ", total", t->total_ns) = '\0';
    pith_call_add_trailer(call, "server-timing", text);
}
