/* BatchCompress: several texts in one call, each with an answer of its own.
 *
 * Each request is taken from the message by itself, so that one that cannot be decoded is its own
 * error. Each answer is packed where the engine gives it; the last one sends them all. */
#include "runtime/base/clock.h"
#include "runtime/base/utf8.h"
#include "server/grpc/item.h"
#include "server/grpc/wire.h"

#include <pthread.h>
#include <stdlib.h>

/* As many texts as the engine takes at once by default (--max-jobs). */
enum { BATCH_ITEMS_MAX = 256, FIELD_REQUESTS = 1 };

/* State of a call. */
typedef struct batch {
    pith_call *call;
    size_t n;
    atomic_size_t left;    /* results to come, and one for the handler while it submits */
    pith_item **items;     /* [n], NULL where the engine took nothing; the poller's */
    pith_part *parts;      /* [n] packed results, each written once; data NULL: no memory */
    pthread_mutex_t mutex; /* guards usage */
    pith_usage usage;
} batch;

/* --- results ------------------------------------------------------------------------------ */

static size_t put_varint(uint8_t *out, size_t value) {
    size_t n = 0;
    for (; value > 0x7F; value >>= 7) {
        out[n++] = (uint8_t)(value | 0x80);
    }
    out[n++] = (uint8_t)value;
    return n;
}

/* Packs result `index` as an element of BatchCompressResponse.results. */
static void put_result(batch *b, size_t index, const Pith__V1__BatchCompressResult *result) {
    enum { HEAD_BYTES_MAX = 11, TAG_RESULTS = 1 << 3 | 2 };
    size_t len = pith__v1__batch_compress_result__get_packed_size(result);
    uint8_t *bytes = malloc(HEAD_BYTES_MAX + len);
    if (bytes != NULL) {
        bytes[0] = TAG_RESULTS;
        size_t head = 1 + put_varint(bytes + 1, len);
        b->parts[index] =
            (pith_part){.data = bytes,
                        .len = head + pith__v1__batch_compress_result__pack(result, bytes + head)};
    }
}

static void put_fault(batch *b, size_t index, const pith_fault *fault, const uint8_t *id,
                      size_t id_len) {
    pith_arena arena;
    pith_arena_init(&arena, PITH_ITEM_ERROR_BYTES);
    Pith__V1__BatchCompressResult result = PITH__V1__BATCH_COMPRESS_RESULT__INIT;
    result.id = (ProtobufCBinaryData){.len = id_len, .data = (uint8_t *)(uintptr_t)id};
    result.result_case = PITH__V1__BATCH_COMPRESS_RESULT__RESULT_ERROR;
    if (pith_item_error(b->call, fault, id, id_len, &arena, &result.error) == PITH_OK) {
        put_result(b, index, &result);
    }
    pith_arena_reset(&arena);
}

/* One result less to come; the last one ends the call. */
static void settle(batch *b) {
    if (atomic_fetch_sub_explicit(&b->left, 1, memory_order_acq_rel) != 1) {
        return;
    }
    bool whole = true;
    for (size_t i = 0; i < b->n; i++) {
        whole = whole && b->parts[i].data != NULL;
    }
    pith_fault fault;
    if (pith_call_is_late(b->call)) {
        (void)pith_fault_set(&fault, PITH_DEADLINE, NULL, "the batch has one deadline");
        pith_call_fail(b->call, &fault, NULL, 0);
    } else if (whole) {
        pith_usage_send(&b->usage, b->call); /* nobody else is left */
        (void)pith_call_reply_parts(b->call, b->parts, b->n);
    } else {
        (void)pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory for an answer");
        pith_call_fail(b->call, &fault, NULL, 0);
    }
}

static void batch_reply(void *user, const pith_reply *reply) {
    pith_item *it = user;
    pith_call *call = it->call;
    batch *b = it->owner;
    pith_fault fault = {0};
    pith_arena arena;
    pith_item_observe(it, reply);
    pith_arena_init(&arena, pith_response_arena_bytes(reply));
    if (reply->status == PITH_OK) {
        pith_response inner;
        fault.err.status =
            pith_response_from_reply(&inner, reply, it->id, it->id_len, &arena, &fault.err);
        if (fault.err.status == PITH_OK) {
            Pith__V1__BatchCompressResult result = PITH__V1__BATCH_COMPRESS_RESULT__INIT;
            result.id = inner.message.id;
            result.result_case = PITH__V1__BATCH_COMPRESS_RESULT__RESULT_RESPONSE;
            result.response = &inner.message;
            put_result(b, it->index, &result);
        }
    } else {
        pith_item_fault(it, reply, "", &fault);
    }
    if (fault.err.status != PITH_OK) {
        put_fault(b, it->index, &fault, it->id, it->id_len);
    }
    pith_arena_reset(&arena);
    (void)pthread_mutex_lock(&b->mutex);
    pith_usage_add(&b->usage, reply);
    (void)pthread_mutex_unlock(&b->mutex);
    settle(b);
    pith_item_unref(it);
    pith_call_unref(call);
}

/* --- requests ----------------------------------------------------------------------------- */

static pith_status begin_item(batch *b, size_t index, const pith_wire_field *field,
                              pith_arena *arena, pith_fault *fault) {
    const pith_compression *service = pith_call_service(b->call);
    const pith_wire_opts wire = {.bytes_are_text = true, .text_bytes_max = service->text_bytes_max};
    ProtobufCMessage *message;
    pith_compress_request request;
    pith_submit_opts opts = {.reply = batch_reply};
    pith_status status = pith_wire_decode(&pith__v1__compress_request__descriptor, field->data,
                                          field->len, &wire, arena, &message, fault);
    if (status != PITH_OK) {
        return status;
    }
    pith_item *it;
    status = pith_item_read(b->call, PITH_ENTRY_BATCH_COMPRESS, b,
                            (const Pith__V1__CompressRequest *)message, "", arena, &request, &opts,
                            &it, fault);
    if (status != PITH_OK) {
        return status;
    }
    it->index = index;
    b->items[index] = it;
    status = pith_item_submit(it, &request, &opts, "", fault);
    if (status != PITH_OK) {
        b->items[index] = NULL;
        pith_item_unref(it);
        pith_item_unref(it);
        pith_call_unref(b->call);
    }
    return status;
}

static void submit_all(batch *b, const uint8_t *data, size_t len) {
    const uint8_t *end = data + len;
    pith_wire_field field;
    for (size_t index = 0; pith_wire_next(&data, end, &field) == PITH_WIRE_FIELD;) {
        if (field.number != FIELD_REQUESTS) {
            continue;
        }
        pith_arena arena;
        pith_fault fault = {0};
        int64_t begin_ns = pith_clock_now(&pith_clock_system);
        if (begin_item(b, index, &field, &arena, &fault) != PITH_OK) {
            const uint8_t *id = NULL;
            size_t id_len = 0;
            (void)pith_wire_find(field.data, field.len, PITH_FIELD_ID, &id, &id_len);
            pith_refusal_observe(b->call, PITH_ENTRY_BATCH_COMPRESS, &fault, id, id_len, begin_ns);
            put_fault(b, index, &fault, id, pith_utf8_valid((const char *)id, id_len));
            settle(b);
        }
        pith_arena_reset(&arena);
        index++;
    }
    settle(b); /* the handler's share */
}

/* How many requests the message has; its other fields are of a later version, and skipped. */
static pith_status count(const uint8_t *data, size_t len, size_t *n, pith_fault *fault) {
    const uint8_t *end = data + len;
    pith_wire_field field;
    pith_wire_step step;
    *n = 0;
    while ((step = pith_wire_next(&data, end, &field)) == PITH_WIRE_FIELD) {
        bool request = field.number == FIELD_REQUESTS;
        if (request && field.data == NULL) {
            return pith_fault_set(fault, PITH_INVALID, "requests", "malformed message: no request");
        }
        *n += request;
    }
    if (step == PITH_WIRE_MALFORMED) {
        return pith_fault_set(fault, PITH_INVALID, NULL, "malformed message");
    }
    if (*n == 0 || *n > BATCH_ITEMS_MAX) {
        return pith_fault_set(fault, PITH_INVALID, "requests", "%zu texts, expected 1 to %d", *n,
                              BATCH_ITEMS_MAX);
    }
    return PITH_OK;
}

static batch *batch_new(pith_call *call, size_t n) {
    batch *b = calloc(1, sizeof *b);
    pith_item **items = calloc(n, sizeof *items);
    pith_part *parts = calloc(n, sizeof *parts);
    if (b == NULL || items == NULL || parts == NULL) {
        free(b);
        free(items);
        free(parts);
        return NULL;
    }
    b->call = call;
    b->n = n;
    b->items = items;
    b->parts = parts;
    atomic_init(&b->left, n + 1);
    (void)pthread_mutex_init(&b->mutex, NULL);
    return b;
}

static void batch_message(pith_call *call, const uint8_t *data, size_t len) {
    pith_fault fault = {0};
    size_t n;
    batch *b = NULL;
    if (count(data, len, &n, &fault) == PITH_OK) {
        b = batch_new(call, n);
        if (b == NULL) {
            (void)pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory for a batch");
        }
    }
    if (b == NULL) {
        pith_refusal_observe(call, PITH_ENTRY_BATCH_COMPRESS, &fault, NULL, 0,
                             pith_clock_now(&pith_clock_system));
        pith_call_fail(call, &fault, NULL, 0);
        return;
    }
    pith_call_set_state(call, b);
    submit_all(b, data, len);
}

static void batch_cancel(pith_call *call) {
    const batch *b = pith_call_state(call);
    for (size_t i = 0; b != NULL && i < b->n; i++) {
        if (b->items[i] != NULL && b->items[i]->job != NULL) {
            pith_job_cancel(b->items[i]->job);
        }
    }
}

static void batch_free(pith_call *call) {
    batch *b = pith_call_state(call);
    if (b == NULL) {
        return;
    }
    for (size_t i = 0; i < b->n; i++) {
        if (b->items[i] != NULL) {
            pith_item_unref(b->items[i]);
        }
        free((void *)(uintptr_t)b->parts[i].data);
    }
    free(b->items);
    free(b->parts);
    (void)pthread_mutex_destroy(&b->mutex);
    free(b);
}

const pith_method pith_method_batch_compress = {
    .path = "/pith.v1.CompressionService/BatchCompress",
    .kind = PITH_CALL_UNARY,
    .on_message = batch_message,
    .on_cancel = batch_cancel,
    .on_free = batch_free,
};
