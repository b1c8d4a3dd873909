#include "server/grpc/compression.h"

#include "runtime/base/log.h"
#include "runtime/base/utf8.h"
#include "server/grpc/convert.h"
#include "server/grpc/request.h"
#include "server/grpc/rpc_error.h"
#include "server/grpc/wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Field numbers of the proto, for finding the id of a request that cannot be decoded. */
enum { FIELD_ID = 1, FIELD_REQUEST = 1 };

typedef struct stream stream;

/* One text under way. References: the engine until its reply; the call's state (unary) or the
 * stream's list; the handler that submits. The last one gives the job back. */
typedef struct item {
    atomic_int refs;
    pith_call *call; /* holds a reference */
    stream *stream;  /* NULL for Compress; alive as long as the call */
    struct item *prev;
    struct item *next;
    pith_job *job; /* written by the poller of the call; read by it and the last reference */
    size_t text_len;
    int64_t begin_ns;
    char *model; /* asked for: the name in a NOT_FOUND */
    size_t id_len;
    uint8_t id[];
} item;

/* State of a StreamCompress call. */
struct stream {
    pthread_mutex_t mutex; /* guards everything below; taken before the call's own */
    item *items;           /* whose reply has not come */
    size_t n_open;         /* items whose reply has not been queued */
    size_t bytes_open;
    bool paused;
    bool half_closed;
    bool draining;
};

/* --- items ------------------------------------------------------------------------------- */

static item *item_new(pith_call *call, stream *s, const Pith__V1__CompressRequest *message) {
    size_t id_len = message->id.len;
    item *made = calloc(1, sizeof *made + id_len);
    if (made == NULL) {
        return NULL;
    }
    size_t model_len = message->model.len;
    made->model = malloc(model_len + 1);
    if (made->model == NULL) {
        free(made);
        return NULL;
    }
    if (model_len > 0) {
        memcpy(made->model, message->model.data, model_len);
    }
    made->model[model_len] = '\0';
    atomic_init(&made->refs, 2);
    made->call = pith_call_ref(call);
    made->stream = s;
    made->text_len = message->text.len;
    made->begin_ns = pith_clock_now(&pith_clock_system);
    made->id_len = id_len;
    if (id_len > 0) {
        memcpy(made->id, message->id.data, id_len);
    }
    return made;
}

static void item_ref(item *it) {
    (void)atomic_fetch_add(&it->refs, 1);
}

/* Frees the item and gives its job back, but leaves the call: its reference goes with the reply. */
static void item_unref(item *it) {
    if (atomic_fetch_sub_explicit(&it->refs, 1, memory_order_acq_rel) == 1) {
        if (it->job != NULL) {
            pith_job_release(it->job);
        }
        free(it->model);
        free(it);
    }
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

static void fault_of_reply(const item *it, const pith_reply *reply, const char *prefix,
                           pith_fault *fault) {
    char field[PITH_FAULT_FIELD_BYTES] = "";
    if (reply->error_field != NULL) {
        (void)snprintf(field, sizeof field, "%s%s", prefix, reply->error_field);
    }
    const char *text = reply->error == NULL ? pith_status_name(reply->status) : reply->error;
    (void)pith_fault_set(fault, reply->status, field, "%s",
                         without_field(text, reply->error_field));
    fault->retry_after_ns = reply->retry_after_ns;
    set_resource(fault, it->model);
}

/* Hands the request to the engine. On success the engine owns one reference of `it`. */
static pith_status submit(const pith_compression *service, item *it,
                          const pith_compress_request *request, pith_submit_opts *opts,
                          const char *prefix, pith_fault *fault) {
    pith_refusal refusal;
    pith_err err = {0};
    pith_compress_request asked = *request;
    bool faithful = request->profile == PITH_PROFILE_FAITHFUL;
    asked.fold_repeats = request->fold_repeats || (service->fold_repeats && faithful);
    opts->deadline_ns = pith_call_deadline_ns(it->call);
    opts->user = it;
    pith_status status =
        pith_engine_submit(service->engine, &asked, opts, &it->job, &refusal, &err);
    if (status != PITH_OK) {
        const char *field = refusal.field;
        char path[PITH_FAULT_FIELD_BYTES] = "";
        if (field != NULL) {
            (void)snprintf(path, sizeof path, "%s%s", prefix, field);
        }
        (void)pith_fault_set(fault, status, path, "%s", without_field(err.text, field));
        fault->retry_after_ns = refusal.retry_after_ns;
        set_resource(fault, it->model);
    }
    return status;
}

/* Tells of an item's answer, before it is sent. */
static void observe_reply(const item *it, const pith_reply *reply) {
    const pith_compression *service = pith_call_service(it->call);
    const pith_request_event event = {
        .entry = it->stream == NULL ? PITH_ENTRY_COMPRESS : PITH_ENTRY_STREAM_COMPRESS,
        .status = reply->status,
        .field = reply->error_field,
        .id = it->id,
        .id_len = it->id_len,
        .text_len = it->text_len,
        .begin_ns = it->begin_ns,
        .reply = reply,
    };
    pith_observe_request(service->observe, &event);
}

/* Tells of a request that got no further than its checks. */
static void observe_refusal(pith_call *call, pith_entry entry, const pith_fault *fault,
                            const uint8_t *id, size_t id_len, int64_t begin_ns) {
    const pith_compression *service = pith_call_service(call);
    const pith_request_event event = {
        .entry = entry,
        .status = fault->err.status,
        .field = fault->field,
        .id = id,
        .id_len = id_len,
        .begin_ns = begin_ns,
    };
    pith_observe_request(service->observe, &event);
}

/* --- Compress ----------------------------------------------------------------------------- */

static void compress_reply(void *user, const pith_reply *reply) {
    item *it = user;
    pith_call *call = it->call;
    pith_fault fault = {0};
    pith_arena arena;
    observe_reply(it, reply);
    pith_arena_init(&arena, pith_response_arena_bytes(reply));
    if (reply->status == PITH_OK) {
        pith_response response;
        fault.err.status =
            pith_response_from_reply(&response, reply, it->id, it->id_len, &arena, &fault.err);
        if (fault.err.status == PITH_OK) {
            (void)pith_call_reply(call, &response.message.base);
        }
    } else {
        fault_of_reply(it, reply, "", &fault);
    }
    if (fault.err.status != PITH_OK) {
        pith_call_fail(call, &fault, it->id, it->id_len);
    }
    pith_arena_reset(&arena);
    item_unref(it);
    pith_call_unref(call);
}

/* Decodes, validates and submits. On failure nothing is left behind but the fault. */
static pith_status compress_begin(pith_call *call, const uint8_t *data, size_t len,
                                  pith_arena *arena, pith_fault *fault) {
    const pith_compression *service = pith_call_service(call);
    const pith_wire_opts wire = {.bytes_are_text = true, .text_bytes_max = service->text_bytes_max};
    ProtobufCMessage *message;
    pith_compress_request request;
    pith_submit_opts opts = {.reply = compress_reply};
    pith_status status = pith_wire_decode(&pith__v1__compress_request__descriptor, data, len, &wire,
                                          arena, &message, fault);
    if (status != PITH_OK) {
        return status;
    }
    const Pith__V1__CompressRequest *decoded = (const Pith__V1__CompressRequest *)message;
    status = pith_request_read(decoded, "", service->text_bytes_max, arena, &request, &opts, fault);
    if (status != PITH_OK) {
        return status;
    }
    item *it = item_new(call, NULL, decoded);
    if (it == NULL) {
        return pith_fault_set(fault, PITH_NO_MEMORY, NULL, "no memory for a request");
    }
    pith_call_set_state(call, it); /* before submit: the reply may free the call's last holder */
    status = submit(service, it, &request, &opts, "", fault);
    if (status != PITH_OK) {
        item_unref(it); /* the engine's; on_free drops the other */
        pith_call_unref(call);
    }
    return status;
}

static void compress_message(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    pith_fault fault = {0};
    int64_t begin_ns = pith_clock_now(&pith_clock_system);
    pith_status status = compress_begin(call, data, len, &arena, &fault);
    if (status != PITH_OK) {
        const uint8_t *id = NULL;
        size_t id_len = 0;
        (void)pith_wire_find(data, len, FIELD_ID, &id, &id_len);
        observe_refusal(call, PITH_ENTRY_COMPRESS, &fault, id, id_len, begin_ns);
        pith_call_fail(call, &fault, id, pith_utf8_valid((const char *)id, id_len));
    }
    pith_arena_reset(&arena);
}

static void compress_cancel(pith_call *call) {
    const item *it = pith_call_state(call);
    if (it != NULL && it->job != NULL) {
        pith_job_cancel(it->job);
    }
}

static void compress_free(pith_call *call) {
    item *it = pith_call_state(call);
    if (it != NULL) {
        item_unref(it);
    }
}

const pith_method pith_method_compress = {
    .path = "/pith.v1.CompressionService/Compress",
    .kind = PITH_CALL_UNARY,
    .on_message = compress_message,
    .on_cancel = compress_cancel,
    .on_free = compress_free,
};

/* --- StreamCompress ------------------------------------------------------------------------ */

/* Mutex held. Items whose answer waits in the outbox count too: a peer that does not read its
 * answers is not read from either. */
static bool window_full(const pith_compression *service, pith_call *call, const stream *s) {
    return s->n_open + pith_call_unsent(call) >= service->stream_items_max ||
           s->bytes_open >= service->stream_bytes_max;
}

/* Reads on when there is room again; ends the stream when nothing is open and nothing will come. */
static void stream_settle(pith_call *call) {
    const pith_compression *service = pith_call_service(call);
    stream *s = pith_call_state(call);
    (void)pthread_mutex_lock(&s->mutex);
    bool idle = s->n_open == 0;
    bool end = idle && s->half_closed;
    bool leave = idle && s->draining && !end;
    if (s->paused && !s->draining && !window_full(service, call, s)) {
        s->paused = false;
        pith_call_resume(call);
    }
    (void)pthread_mutex_unlock(&s->mutex);
    if (end) {
        pith_call_finish(call);
    } else if (leave) {
        pith_fault fault;
        (void)pith_fault_set(&fault, PITH_UNAVAILABLE, NULL, "the server is shutting down");
        pith_call_fail(call, &fault, NULL, 0);
    }
}

static void stream_send_error(pith_call *call, const pith_fault *fault, const uint8_t *id,
                              size_t id_len) {
    if (pith_rpc_is_private(fault->err.status)) {
        pith_log(PITH_LOG_ERROR, "grpc: %s: %s", pith_status_name(fault->err.status),
                 fault->err.text);
    }
    pith_arena arena;
    pith_arena_init(&arena, PITH_RPC_DETAILS_BYTES_MAX * 8);
    Pith__V1__StreamCompressResponse response = PITH__V1__STREAM_COMPRESS_RESPONSE__INIT;
    response.id = (ProtobufCBinaryData){.len = id_len, .data = (uint8_t *)(uintptr_t)id};
    response.result_case = PITH__V1__STREAM_COMPRESS_RESPONSE__RESULT_ERROR;
    if (pith_rpc_error_build(fault, id, id_len, &arena, &response.error) == PITH_OK) {
        (void)pith_call_send(call, &response.base);
    } else {
        pith_call_fail(call, fault, id, id_len);
    }
    pith_arena_reset(&arena);
}

static void stream_send_result(pith_call *call, const item *it, const pith_reply *reply) {
    pith_fault fault = {0};
    pith_arena arena;
    pith_arena_init(&arena, pith_response_arena_bytes(reply));
    if (reply->status == PITH_OK) {
        pith_response inner;
        fault.err.status =
            pith_response_from_reply(&inner, reply, it->id, it->id_len, &arena, &fault.err);
        if (fault.err.status == PITH_OK) {
            Pith__V1__StreamCompressResponse response = PITH__V1__STREAM_COMPRESS_RESPONSE__INIT;
            response.id = inner.message.id;
            response.result_case = PITH__V1__STREAM_COMPRESS_RESPONSE__RESULT_RESPONSE;
            response.response = &inner.message;
            (void)pith_call_send(call, &response.base);
        }
    } else {
        fault_of_reply(it, reply, "request.", &fault);
    }
    if (fault.err.status != PITH_OK) {
        stream_send_error(call, &fault, it->id, it->id_len);
    }
    pith_arena_reset(&arena);
}

/* Takes the item off the list, after which its id may be used again, and drops the list's
 * reference. */
static void stream_unlink(stream *s, item *it) {
    (void)pthread_mutex_lock(&s->mutex);
    if (it->prev != NULL) {
        it->prev->next = it->next;
    } else {
        s->items = it->next;
    }
    if (it->next != NULL) {
        it->next->prev = it->prev;
    }
    (void)pthread_mutex_unlock(&s->mutex);
    item_unref(it);
}

static void stream_close_item(stream *s, size_t text_len) {
    (void)pthread_mutex_lock(&s->mutex);
    s->n_open--;
    s->bytes_open -= text_len;
    (void)pthread_mutex_unlock(&s->mutex);
}

static void stream_reply(void *user, const pith_reply *reply) {
    item *it = user;
    pith_call *call = it->call;
    /* Off the list before the answer is out: the peer may use the id again at once. */
    stream_unlink(it->stream, it);
    observe_reply(it, reply);
    stream_send_result(call, it, reply);
    stream_close_item(it->stream, it->text_len);
    stream_settle(call);
    item_unref(it);
    pith_call_unref(call);
}

/* Puts the item on the list unless its id is on it already. */
static bool stream_link(stream *s, item *it) {
    (void)pthread_mutex_lock(&s->mutex);
    bool taken = false;
    for (const item *at = s->items; at != NULL && it->id_len > 0 && !taken; at = at->next) {
        taken = at->id_len == it->id_len && memcmp(at->id, it->id, it->id_len) == 0;
    }
    if (!taken) {
        it->next = s->items;
        if (it->next != NULL) {
            it->next->prev = it;
        }
        s->items = it;
        s->n_open++;
        s->bytes_open += it->text_len;
    }
    (void)pthread_mutex_unlock(&s->mutex);
    return !taken;
}

static pith_status stream_submit(pith_call *call, const Pith__V1__CompressRequest *message,
                                 const pith_compress_request *request, pith_submit_opts *opts,
                                 pith_fault *fault) {
    const pith_compression *service = pith_call_service(call);
    stream *s = pith_call_state(call);
    item *it = item_new(call, s, message);
    if (it == NULL) {
        return pith_fault_set(fault, PITH_NO_MEMORY, NULL, "no memory for a request");
    }
    if (!stream_link(s, it)) {
        item_unref(it);
        item_unref(it);
        pith_call_unref(call);
        return pith_fault_set(fault, PITH_INVALID, "request.id",
                              "an item with this id is still open");
    }
    item_ref(it); /* this handler's: the reply may come before submit returns */
    pith_status status = submit(service, it, request, opts, "request.", fault);
    if (status != PITH_OK) {
        stream_unlink(s, it);
        stream_close_item(s, it->text_len);
        item_unref(it); /* the engine's */
        pith_call_unref(call);
    }
    item_unref(it);
    return status;
}

static pith_status stream_begin(pith_call *call, const uint8_t *data, size_t len, pith_arena *arena,
                                pith_fault *fault) {
    const pith_compression *service = pith_call_service(call);
    const pith_wire_opts wire = {.bytes_are_text = true, .text_bytes_max = service->text_bytes_max};
    ProtobufCMessage *message;
    pith_compress_request request;
    pith_submit_opts opts = {.reply = stream_reply};
    pith_status status = pith_wire_decode(&pith__v1__stream_compress_request__descriptor, data, len,
                                          &wire, arena, &message, fault);
    if (status != PITH_OK) {
        return status;
    }
    const Pith__V1__CompressRequest *decoded =
        ((const Pith__V1__StreamCompressRequest *)message)->request;
    if (decoded == NULL) {
        return pith_fault_set(fault, PITH_INVALID, "request", "missing");
    }
    status = pith_request_read(decoded, "request.", service->text_bytes_max, arena, &request, &opts,
                               fault);
    return status == PITH_OK ? stream_submit(call, decoded, &request, &opts, fault) : status;
}

static void stream_message(pith_call *call, const uint8_t *data, size_t len) {
    const pith_compression *service = pith_call_service(call);
    stream *s = pith_call_state(call);
    if (s == NULL) {
        return; /* no memory for it; the call has been ended */
    }
    pith_arena arena;
    pith_fault fault = {0};
    int64_t begin_ns = pith_clock_now(&pith_clock_system);
    pith_status status = stream_begin(call, data, len, &arena, &fault);
    if (status != PITH_OK) {
        const uint8_t *inner = NULL;
        const uint8_t *id = NULL;
        size_t inner_len = 0;
        size_t id_len = 0;
        if (pith_wire_find(data, len, FIELD_REQUEST, &inner, &inner_len)) {
            (void)pith_wire_find(inner, inner_len, FIELD_ID, &id, &id_len);
        }
        observe_refusal(call, PITH_ENTRY_STREAM_COMPRESS, &fault, id, id_len, begin_ns);
        stream_send_error(call, &fault, id, pith_utf8_valid((const char *)id, id_len));
    }
    pith_arena_reset(&arena);
    (void)pthread_mutex_lock(&s->mutex);
    if (s->draining || window_full(service, call, s)) {
        s->paused = true;
        pith_call_pause(call);
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

static void stream_half_close(pith_call *call) {
    stream *s = pith_call_state(call);
    if (s != NULL) {
        (void)pthread_mutex_lock(&s->mutex);
        s->half_closed = true;
        (void)pthread_mutex_unlock(&s->mutex);
        stream_settle(call);
    }
}

static void stream_room(pith_call *call) {
    if (pith_call_state(call) != NULL) {
        stream_settle(call);
    }
}

/* Cancels without the lock: the engine may answer on the spot. */
static void stream_cancel(pith_call *call) {
    stream *s = pith_call_state(call);
    if (s == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&s->mutex);
    size_t n = 0;
    for (const item *at = s->items; at != NULL; at = at->next) {
        n++;
    }
    item **open = malloc((n + 1) * sizeof *open);
    n = 0;
    for (item *at = s->items; open != NULL && at != NULL; at = at->next) {
        item_ref(at);
        open[n++] = at;
    }
    (void)pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < n && open != NULL; i++) {
        pith_job_cancel(open[i]->job);
        item_unref(open[i]);
    }
    free(open);
}

static void stream_drain(pith_call *call) {
    stream *s = pith_call_state(call);
    if (s != NULL) {
        (void)pthread_mutex_lock(&s->mutex);
        s->draining = true;
        s->paused = true;
        pith_call_pause(call);
        (void)pthread_mutex_unlock(&s->mutex);
        stream_settle(call);
    }
}

static void stream_open(pith_call *call) {
    stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        pith_fault fault;
        (void)pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory for a stream");
        pith_call_fail(call, &fault, NULL, 0);
        return;
    }
    (void)pthread_mutex_init(&s->mutex, NULL);
    pith_call_set_state(call, s);
}

static void stream_free(pith_call *call) {
    stream *s = pith_call_state(call);
    if (s != NULL) {
        (void)pthread_mutex_destroy(&s->mutex);
        free(s);
    }
}

const pith_method pith_method_stream_compress = {
    .path = "/pith.v1.CompressionService/StreamCompress",
    .kind = PITH_CALL_BIDI,
    .on_open = stream_open,
    .on_message = stream_message,
    .on_half_close = stream_half_close,
    .on_room = stream_room,
    .on_cancel = stream_cancel,
    .on_drain = stream_drain,
    .on_free = stream_free,
};
