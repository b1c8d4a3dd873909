#include "server/grpc/compression.h"

#include "runtime/base/utf8.h"
#include "server/grpc/item.h"
#include "server/grpc/wire.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* State of a StreamCompress call. */
typedef struct stream {
    pthread_mutex_t mutex; /* guards everything below; taken before the call's own */
    pith_item *items;      /* whose reply has not come */
    pith_usage usage;
    size_t n_open; /* items whose reply has not been queued */
    size_t bytes_open;
    bool paused;
    bool half_closed;
    bool draining;
} stream;

/* --- Compress ----------------------------------------------------------------------------- */

static void compress_reply(void *user, const pith_reply *reply) {
    pith_item *it = user;
    pith_call *call = it->call;
    pith_fault fault = {0};
    pith_arena arena;
    pith_item_observe(it, reply);
    pith_arena_init(&arena, pith_response_arena_bytes(reply));
    if (reply->status == PITH_OK) {
        pith_response response;
        fault.err.status =
            pith_response_from_reply(&response, reply, it->id, it->id_len, &arena, &fault.err);
        if (fault.err.status == PITH_OK) {
            pith_usage usage = {0};
            pith_usage_add(&usage, reply);
            pith_usage_send(&usage, call);
            (void)pith_call_reply(call, &response.message.base);
        }
    } else {
        pith_item_fault(it, reply, "", &fault);
    }
    if (fault.err.status != PITH_OK) {
        pith_call_fail(call, &fault, it->id, it->id_len);
    }
    pith_arena_reset(&arena);
    pith_item_unref(it);
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
    pith_item *it;
    status = pith_item_read(call, PITH_ENTRY_COMPRESS, NULL, decoded, "", arena, &request, &opts,
                            &it, fault);
    if (status != PITH_OK) {
        return status;
    }
    pith_call_set_state(call, it); /* before submit: the reply may free the call's last holder */
    status = pith_item_submit(it, &request, &opts, "", fault);
    if (status != PITH_OK) {
        pith_item_unref(it); /* the engine's; on_free drops the other */
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
        (void)pith_wire_find(data, len, PITH_FIELD_ID, &id, &id_len);
        pith_refusal_observe(call, PITH_ENTRY_COMPRESS, &fault, id, id_len, begin_ns);
        pith_call_fail(call, &fault, id, pith_utf8_valid((const char *)id, id_len));
    }
    pith_arena_reset(&arena);
}

static void compress_cancel(pith_call *call) {
    const pith_item *it = pith_call_state(call);
    if (it != NULL && it->job != NULL) {
        pith_job_cancel(it->job);
    }
}

static void compress_free(pith_call *call) {
    pith_item *it = pith_call_state(call);
    if (it != NULL) {
        pith_item_unref(it);
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
    size_t unsent_bytes;
    size_t unsent = pith_call_unsent(call, &unsent_bytes);
    return s->n_open + unsent >= service->stream_items_max ||
           s->bytes_open + unsent_bytes >= service->stream_bytes_max;
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
    pith_usage usage = s->usage;
    (void)pthread_mutex_unlock(&s->mutex);
    if (end || leave) {
        pith_usage_send(&usage, call);
    }
    pith_fault fault;
    if (end && pith_call_is_late(call)) {
        (void)pith_fault_set(&fault, PITH_DEADLINE, NULL, "the stream has one deadline");
        pith_call_fail(call, &fault, NULL, 0);
    } else if (end) {
        pith_call_finish(call);
    } else if (leave) {
        (void)pith_fault_set(&fault, PITH_UNAVAILABLE, NULL, "the server is shutting down");
        pith_call_fail(call, &fault, NULL, 0);
    }
}

static void stream_send_error(pith_call *call, const pith_fault *fault, const uint8_t *id,
                              size_t id_len) {
    pith_arena arena;
    pith_arena_init(&arena, PITH_ITEM_ERROR_BYTES);
    Pith__V1__StreamCompressResponse response = PITH__V1__STREAM_COMPRESS_RESPONSE__INIT;
    response.id = (ProtobufCBinaryData){.len = id_len, .data = (uint8_t *)(uintptr_t)id};
    response.result_case = PITH__V1__STREAM_COMPRESS_RESPONSE__RESULT_ERROR;
    if (pith_item_error(call, fault, id, id_len, &arena, &response.error) == PITH_OK) {
        (void)pith_call_send(call, &response.base);
    } else {
        pith_call_fail(call, fault, id, id_len);
    }
    pith_arena_reset(&arena);
}

static void stream_send_result(pith_call *call, const pith_item *it, const pith_reply *reply) {
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
        pith_item_fault(it, reply, "request.", &fault);
    }
    if (fault.err.status != PITH_OK) {
        stream_send_error(call, &fault, it->id, it->id_len);
    }
    pith_arena_reset(&arena);
}

/* Takes the item off the list, after which its id may be used again, and drops the list's
 * reference. */
static void stream_unlink(stream *s, pith_item *it) {
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
    pith_item_unref(it);
}

static void stream_close_item(stream *s, size_t cost) {
    (void)pthread_mutex_lock(&s->mutex);
    s->n_open--;
    s->bytes_open -= cost;
    (void)pthread_mutex_unlock(&s->mutex);
}

static void stream_reply(void *user, const pith_reply *reply) {
    pith_item *it = user;
    pith_call *call = it->call;
    /* Off the list before the answer is out: the peer may use the id again at once. */
    stream *s = it->owner;
    stream_unlink(s, it);
    pith_item_observe(it, reply);
    (void)pthread_mutex_lock(&s->mutex);
    pith_usage_add(&s->usage, reply);
    (void)pthread_mutex_unlock(&s->mutex);
    stream_send_result(call, it, reply);
    stream_close_item(s, it->cost);
    stream_settle(call);
    pith_item_unref(it);
    pith_call_unref(call);
}

/* Puts the item on the list unless its id is on it already. */
static bool stream_link(stream *s, pith_item *it) {
    (void)pthread_mutex_lock(&s->mutex);
    bool taken = false;
    for (const pith_item *at = s->items; at != NULL && it->id_len > 0 && !taken; at = at->next) {
        taken = at->id_len == it->id_len && memcmp(at->id, it->id, it->id_len) == 0;
    }
    if (!taken) {
        it->next = s->items;
        if (it->next != NULL) {
            it->next->prev = it;
        }
        s->items = it;
        s->n_open++;
        s->bytes_open += it->cost;
    }
    (void)pthread_mutex_unlock(&s->mutex);
    return !taken;
}

static pith_status stream_submit(pith_call *call, pith_item *it,
                                 const pith_compress_request *request, pith_submit_opts *opts,
                                 pith_fault *fault) {
    stream *s = it->owner;
    if (!stream_link(s, it)) {
        pith_item_unref(it);
        pith_item_unref(it);
        pith_call_unref(call);
        return pith_fault_set(fault, PITH_INVALID, "request.id",
                              "an item with this id is still open");
    }
    pith_item_ref(it); /* this handler's: the reply may come before submit returns */
    pith_status status = pith_item_submit(it, request, opts, "request.", fault);
    if (status != PITH_OK) {
        stream_unlink(s, it);
        stream_close_item(s, it->cost);
        pith_item_unref(it); /* the engine's */
        pith_call_unref(call);
    }
    pith_item_unref(it);
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
    pith_item *it;
    status = pith_item_read(call, PITH_ENTRY_STREAM_COMPRESS, pith_call_state(call), decoded,
                            "request.", arena, &request, &opts, &it, fault);
    return status == PITH_OK ? stream_submit(call, it, &request, &opts, fault) : status;
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
        if (pith_wire_find(data, len, PITH_FIELD_REQUEST, &inner, &inner_len)) {
            (void)pith_wire_find(inner, inner_len, PITH_FIELD_ID, &id, &id_len);
        }
        pith_refusal_observe(call, PITH_ENTRY_STREAM_COMPRESS, &fault, id, id_len, begin_ns);
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
    for (const pith_item *at = s->items; at != NULL; at = at->next) {
        n++;
    }
    pith_item **open = malloc((n + 1) * sizeof *open);
    n = 0;
    for (pith_item *at = s->items; open != NULL && at != NULL; at = at->next) {
        pith_item_ref(at);
        open[n++] = at;
    }
    (void)pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < n && open != NULL; i++) {
        pith_job_cancel(open[i]->job);
        pith_item_unref(open[i]);
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
