#include "server/grpc/call.h"

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "server/grpc/rpc_error.h"
#include "server/grpc/transport_internal.h"
#include "server/grpc/tsan.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_OF(tag, member) ((pith_call *)(void *)((char *)(tag)-offsetof(pith_call, member)))

/* A call counts as abandoned when its peer drops it before its message, or sooner than this: it was
 * opened to be dropped. One that lives longer is bounded by the streams of its connection. */
#define ABANDON_AGE_NS INT64_C(100000000)

#define WAY_NS INT64_C(5000000) /* from a peer to here, where nothing is overloaded */

/* A message that waits for its turn. */
typedef struct pith_outgoing {
    struct pith_outgoing *next;
    grpc_byte_buffer *buffer;
    size_t bytes;
} pith_outgoing;

static void on_arrive(pith_tag *tag, bool ok);
static void on_message(pith_tag *tag, bool ok);
static void on_close(pith_tag *tag, bool ok);
static void on_send(pith_tag *tag, bool ok);
static void end(pith_call *call);

/* --- references -------------------------------------------------------------------------- */

pith_call *pith_call_new(pith_transport *transport) {
    pith_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->transport = transport;
    call->arrive_tag.fire = on_arrive;
    call->message_tag.fire = on_message;
    call->close_tag.fire = on_close;
    call->send_tag.fire = on_send;
    call->outbox_tail = &call->outbox;
    call->deadline_ns = PITH_DEADLINE_NONE;
    call->key = -1;
    call->text = grpc_empty_slice();
    call->header = (grpc_metadata){.key = grpc_slice_from_static_string("x-request-id"),
                                   .value = grpc_empty_slice()};
    (void)pthread_mutex_init(&call->mutex, NULL);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    return call;
}

static void drop_outbox(pith_call *call) {
    while (call->outbox != NULL) {
        pith_outgoing *next = call->outbox->next;
        grpc_byte_buffer_destroy(call->outbox->buffer);
        free(call->outbox);
        call->outbox = next;
    }
    call->outbox_tail = &call->outbox;
    call->n_outbox = 0;
    call->unsent_bytes = call->sending_bytes;
}

void pith_call_discard(pith_call *call) {
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    if (call->received != NULL) {
        grpc_byte_buffer_destroy(call->received);
    }
    drop_outbox(call);
    grpc_slice_unref(call->text);
    grpc_slice_unref(call->header.value);
    for (size_t i = 0; i < call->n_trailers; i++) {
        grpc_slice_unref(call->trailers[i].key);
        grpc_slice_unref(call->trailers[i].value);
    }
    (void)pthread_mutex_destroy(&call->mutex);
    free(call);
}

pith_call *pith_call_ref(pith_call *call) {
    (void)atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

bool pith_call_try_ref(pith_call *call) {
    int refs = atomic_load(&call->refs);
    while (refs > 0 && !atomic_compare_exchange_weak(&call->refs, &refs, refs + 1)) {
    }
    return refs > 0;
}

void pith_call_unref(pith_call *call) {
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (call->entry->method->on_free != NULL) {
        call->entry->method->on_free(call);
    }
    grpc_call_unref(call->core);
    call->core = NULL;
    pith_transport_unlink(call); /* last: a closing transport waits for this */
}

const pith_method *pith_call_method(const pith_call *call) {
    return call->entry->method;
}

void *pith_call_service(const pith_call *call) {
    return call->entry->service;
}

void *pith_call_state(const pith_call *call) {
    return call->state;
}

void pith_call_set_state(pith_call *call, void *state) {
    call->state = state;
}

int64_t pith_call_deadline_ns(const pith_call *call) {
    return call->deadline_ns;
}

bool pith_call_is_late(const pith_call *call) {
    return call->deadline_ns != PITH_DEADLINE_NONE &&
           pith_clock_now(&pith_clock_system) >= call->deadline_ns;
}

bool pith_call_is_dead(pith_call *call) {
    return atomic_load_explicit(&call->dead, memory_order_acquire);
}

size_t pith_call_unsent(pith_call *call, size_t *bytes) {
    (void)pthread_mutex_lock(&call->mutex);
    size_t n = call->n_outbox + (call->sending ? 1 : 0);
    if (bytes != NULL) {
        *bytes = call->unsent_bytes;
    }
    (void)pthread_mutex_unlock(&call->mutex);
    return n;
}

int pith_call_key(const pith_call *call) {
    return call->key;
}

void pith_call_set_key(pith_call *call, int key) {
    call->key = key;
}

/* --- what the peer sent along --------------------------------------------------------------- */

const char *pith_call_header(const pith_call *call, const char *key, size_t *len) {
    size_t key_len = strlen(key);
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *at = &call->metadata.metadata[i];
        if (GRPC_SLICE_LENGTH(at->key) == key_len &&
            memcmp(GRPC_SLICE_START_PTR(at->key), key, key_len) == 0) {
            *len = GRPC_SLICE_LENGTH(at->value);
            return (const char *)GRPC_SLICE_START_PTR(at->value);
        }
    }
    *len = 0;
    return NULL;
}

const char *pith_call_request_id(const pith_call *call) {
    return call->request_id;
}

/* Sixteen hex digits that differ within a process, and most likely between processes. */
static void make_request_id(char out[PITH_CALL_ID_BYTES], pith_transport *t) {
    uint64_t n = atomic_fetch_add_explicit(&t->ids, 1, memory_order_relaxed);
    /* splitmix64's finaliser: a bijection, so no two calls get the same. */
    uint64_t x = (n + t->id_seed) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    x ^= x >> 31;
    for (int i = 0; i < 16; i++) {
        out[i] = "0123456789abcdef"[x >> (60 - 4 * i) & 15];
    }
    out[16] = '\0';
}

static void read_request_id(pith_call *call) {
    size_t len;
    const char *sent = pith_call_header(call, "x-request-id", &len);
    bool usable = sent != NULL && len > 0 && len < PITH_CALL_ID_BYTES;
    for (size_t i = 0; usable && i < len; i++) {
        usable = sent[i] > ' ' && sent[i] <= '~';
    }
    if (usable) {
        memcpy(call->request_id, sent, len);
        call->request_id[len] = '\0';
    } else {
        make_request_id(call->request_id, call->transport);
    }
    /* A copy: the core may hold it for longer than the call lives. */
    call->header.value = grpc_slice_from_copied_string(call->request_id);
}

/* --- batches ----------------------------------------------------------------------------- */

/* Starts a batch, which holds a reference until its tag comes back. A refusal is a mistake of ours;
 * the call is cut. */
static void start_batch(pith_call *call, const grpc_op *ops, size_t n_ops, pith_tag *tag) {
    (void)pith_call_ref(call);
    PITH_TSAN_RELEASE(tag);
    grpc_call_error error = grpc_call_start_batch(call->core, ops, n_ops, tag, NULL);
    if (error != GRPC_CALL_OK) {
        pith_log(PITH_LOG_ERROR, "grpc: a batch was refused: %s", grpc_call_error_to_string(error));
        atomic_store(&call->dead, true);
        (void)grpc_call_cancel(call->core, NULL);
        (void)atomic_fetch_sub(&call->refs, 1); /* the caller holds another */
    }
}

static void start_read(pith_call *call) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->received;
    call->reading = true;
    start_batch(call, &op, 1, &call->message_tag);
}

/* Reads on unless something says no. Mutex held. */
static void maybe_read(pith_call *call) {
    bool stop = call->reading || call->paused || call->half_closed || call->finishing ||
                pith_call_is_dead(call);
    if (!stop) {
        start_read(call);
    }
}

static grpc_op close_op(pith_call *call) {
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->was_cancelled;
    call->watched = true;
    return op;
}

/* From here on the peer's going away is noticed at once. A call that is answered where its message
 * is handled needs no such notice: its end comes with its answer. Mutex held. */
static void watch(pith_call *call) {
    if (!call->watched && (!call->finishing || pith_call_is_dead(call))) {
        grpc_op op = close_op(call);
        start_batch(call, &op, 1, &call->close_tag);
    }
}

/* Sends what can be sent: one send batch at a time; headers, message and status ride together where
 * they can, and the call's end with them, so a unary answer is one batch. Mutex held. */
static void pump(pith_call *call) {
    pith_outgoing *first = call->outbox;
    bool last = call->finishing && (first == NULL || first->next == NULL);
    if (call->sending || call->status_sent || pith_call_is_dead(call) || (first == NULL && !last)) {
        return;
    }
    grpc_op ops[4];
    size_t n = 0;
    memset(ops, 0, sizeof ops);
    if (!call->headers_sent) {
        ops[n].op = GRPC_OP_SEND_INITIAL_METADATA;
        ops[n].data.send_initial_metadata.metadata = &call->header;
        ops[n++].data.send_initial_metadata.count = 1;
        call->headers_sent = true;
    }
    if (first != NULL) {
        call->outbox = first->next;
        call->outbox_tail = call->outbox == NULL ? &call->outbox : call->outbox_tail;
        call->n_outbox--;
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        /* Only when another message follows at once: the hint lets the core hold this one back. */
        ops[n].flags = call->outbox != NULL ? GRPC_WRITE_BUFFER_HINT : 0;
        ops[n++].data.send_message.send_message = first->buffer;
    }
    if (last) {
        ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[n].data.send_status_from_server.status = (grpc_status_code)call->code;
        ops[n].data.send_status_from_server.trailing_metadata = call->trailers;
        ops[n].data.send_status_from_server.trailing_metadata_count = call->n_trailers;
        if (GRPC_SLICE_LENGTH(call->text) > 0) {
            ops[n].data.send_status_from_server.status_details = &call->text;
        }
        n++;
        call->status_sent = true;
        if (!call->watched) {
            ops[n++] = close_op(call);
            call->ends_with_send = true;
        }
    }
    call->sending = true;
    call->sending_bytes = first != NULL ? first->bytes : 0;
    atomic_store_explicit(&call->sending_since_ns, pith_clock_now(&pith_clock_system),
                          memory_order_relaxed);
    start_batch(call, ops, n, &call->send_tag);
    if (first != NULL) { /* the core has taken the slices out */
        grpc_byte_buffer_destroy(first->buffer);
        free(first);
    }
}

static void kill_locked(pith_call *call) {
    atomic_store_explicit(&call->dead, true, memory_order_release);
    drop_outbox(call);
}

static void on_send(pith_tag *tag, bool ok) {
    pith_call *call = CALL_OF(tag, send_tag);
    if (call->ends_with_send) { /* `ok` says nothing then, and nothing more is to be sent */
        (void)pthread_mutex_lock(&call->mutex);
        call->sending = false;
        call->answered = call->was_cancelled == 0;
        atomic_store_explicit(&call->sending_since_ns, 0, memory_order_relaxed);
        (void)pthread_mutex_unlock(&call->mutex);
        end(call);
        return;
    }
    (void)pthread_mutex_lock(&call->mutex);
    call->sending = false;
    call->unsent_bytes -= call->sending_bytes;
    call->sending_bytes = 0;
    atomic_store_explicit(&call->sending_since_ns, 0, memory_order_relaxed);
    if (ok) {
        call->answered = call->status_sent;
        pump(call);
    } else {
        kill_locked(call);
    }
    bool room = !pith_call_is_dead(call) && !call->finishing;
    (void)pthread_mutex_unlock(&call->mutex);
    if (room && call->entry->method->on_room != NULL) {
        call->entry->method->on_room(call);
    }
    pith_call_unref(call);
}

/* --- sending ----------------------------------------------------------------------------- */

static pith_outgoing *outgoing_new(size_t len, uint8_t **bytes) {
    pith_outgoing *out = malloc(sizeof *out);
    if (out == NULL) {
        return NULL;
    }
    grpc_slice slice = grpc_slice_malloc(len);
    *out = (pith_outgoing){.buffer = grpc_raw_byte_buffer_create(&slice, 1), .bytes = len};
    *bytes = GRPC_SLICE_START_PTR(out->buffer->data.raw.slice_buffer.slices[0]);
    grpc_slice_unref(slice);
    return out;
}

static pith_outgoing *pack(const ProtobufCMessage *message) {
    uint8_t *bytes;
    pith_outgoing *out = outgoing_new(protobuf_c_message_get_packed_size(message), &bytes);
    if (out != NULL) {
        (void)protobuf_c_message_pack(message, bytes);
    }
    return out;
}

/* Queues `out`, NULL when there was no memory for it. */
static bool send_outgoing(pith_call *call, pith_outgoing *out, bool last) {
    (void)pthread_mutex_lock(&call->mutex);
    bool open = out != NULL && !pith_call_is_dead(call) && !call->finishing;
    if (open) {
        *call->outbox_tail = out;
        call->outbox_tail = &out->next;
        call->n_outbox++;
        call->unsent_bytes += out->bytes;
        call->finishing = last;
        pump(call);
    }
    (void)pthread_mutex_unlock(&call->mutex);
    if (out == NULL) {
        pith_fault fault;
        (void)pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory for an answer");
        pith_call_fail(call, &fault, NULL, 0);
    } else if (!open) {
        grpc_byte_buffer_destroy(out->buffer);
        free(out);
    }
    return open;
}

bool pith_call_send(pith_call *call, const ProtobufCMessage *message) {
    return !pith_call_is_dead(call) && send_outgoing(call, pack(message), false);
}

bool pith_call_reply(pith_call *call, const ProtobufCMessage *message) {
    return !pith_call_is_dead(call) && send_outgoing(call, pack(message), true);
}

bool pith_call_reply_parts(pith_call *call, const pith_part *parts, size_t n_parts) {
    if (pith_call_is_dead(call)) {
        return false;
    }
    size_t len = 0;
    for (size_t i = 0; i < n_parts; i++) {
        len += parts[i].len;
    }
    uint8_t *at;
    pith_outgoing *out = outgoing_new(len, &at);
    for (size_t i = 0; out != NULL && i < n_parts; i++) {
        memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    return send_outgoing(call, out, true);
}

void pith_call_abort(pith_call *call, const char *text) {
    (void)pthread_mutex_lock(&call->mutex);
    call->finishing = true;
    call->aborted = true;
    kill_locked(call);
    (void)pthread_mutex_unlock(&call->mutex);
    /* Not through a batch: those wait for what is on its way. on_close follows. */
    (void)grpc_call_cancel_with_status(call->core, GRPC_STATUS_RESOURCE_EXHAUSTED, text, NULL);
}

void pith_call_finish(pith_call *call) {
    (void)pthread_mutex_lock(&call->mutex);
    if (!call->finishing) {
        call->finishing = true;
        pump(call);
    }
    (void)pthread_mutex_unlock(&call->mutex);
}

/* Mutex held. */
static void add_trailer(pith_call *call, const char *key, const void *value, size_t len) {
    call->trailers[call->n_trailers++] =
        (grpc_metadata){.key = grpc_slice_from_static_string(key),
                        .value = grpc_slice_from_copied_buffer(value, len)};
}

/* Mutex held. */
static void add_details(pith_call *call, const pith_fault *fault, const uint8_t *id,
                        size_t id_len) {
    pith_arena arena;
    pith_arena_init(&arena, PITH_RPC_DETAILS_BYTES_MAX * 8);
    Google__Rpc__Status *status;
    if (id_len == 0) {
        id = (const uint8_t *)call->request_id;
        id_len = strlen(call->request_id);
    }
    if (pith_rpc_error_build(fault, id, id_len, &arena, &status) == PITH_OK) {
        call->text = grpc_slice_from_copied_string(status->message);
        size_t len = protobuf_c_message_get_packed_size(&status->base);
        uint8_t *bytes = pith_arena_alloc(&arena, 1, len);
        if (bytes != NULL && len <= PITH_RPC_DETAILS_BYTES_MAX) {
            (void)protobuf_c_message_pack(&status->base, bytes);
            add_trailer(call, "grpc-status-details-bin", bytes, len);
        }
    }
    pith_arena_reset(&arena);
    if (pith_rpc_code_of(fault->err.status) == PITH_RPC_RESOURCE_EXHAUSTED) {
        char text[24];
        int n = snprintf(text, sizeof text, "%" PRId64, pith_rpc_retry_ns(fault) / 1000000);
        add_trailer(call, "grpc-retry-pushback-ms", text, (size_t)n);
    }
}

void pith_call_add_trailer(pith_call *call, const char *key, const char *value) {
    (void)pthread_mutex_lock(&call->mutex);
    if (!call->finishing && call->n_trailers < PITH_CALL_TRAILERS_MAX) {
        add_trailer(call, key, value, strlen(value));
    }
    (void)pthread_mutex_unlock(&call->mutex);
}

void pith_call_fail(pith_call *call, const pith_fault *fault, const uint8_t *id, size_t id_len) {
    if (pith_rpc_is_private(fault->err.status)) {
        pith_log(PITH_LOG_ERROR, "grpc: %s: %s", pith_status_name(fault->err.status),
                 fault->err.text);
    }
    (void)pthread_mutex_lock(&call->mutex);
    if (!call->finishing) {
        call->finishing = true;
        call->code = (int)pith_rpc_code_of(fault->err.status);
        add_details(call, fault, id, id_len);
        pump(call);
    }
    (void)pthread_mutex_unlock(&call->mutex);
}

/* --- receiving --------------------------------------------------------------------------- */

void pith_call_pause(pith_call *call) {
    (void)pthread_mutex_lock(&call->mutex);
    call->paused = true;
    (void)pthread_mutex_unlock(&call->mutex);
}

void pith_call_resume(pith_call *call) {
    (void)pthread_mutex_lock(&call->mutex);
    call->paused = false;
    maybe_read(call);
    (void)pthread_mutex_unlock(&call->mutex);
}

static void fail_simple(pith_call *call, pith_status status, const char *text) {
    pith_fault fault;
    (void)pith_fault_set(&fault, status, NULL, "%s", text);
    pith_call_fail(call, &fault, NULL, 0);
}

/* Hands a received buffer to the service; a single slice is not copied. */
static void deliver(pith_call *call, grpc_byte_buffer *buffer) {
    grpc_byte_buffer_reader reader;
    call->delivered = true;
    if (buffer->type == GRPC_BB_RAW && buffer->data.raw.compression != GRPC_COMPRESS_NONE) {
        fail_simple(call, PITH_UNSUPPORTED, "compressed messages are not supported");
    } else if (grpc_byte_buffer_reader_init(&reader, buffer) == 0) {
        fail_simple(call, PITH_INTERNAL, "cannot read a message");
    } else {
        grpc_slice slice;
        if (buffer->type == GRPC_BB_RAW && buffer->data.raw.slice_buffer.count == 1) {
            slice = grpc_slice_ref(buffer->data.raw.slice_buffer.slices[0]);
        } else {
            slice = grpc_byte_buffer_reader_readall(&reader);
        }
        call->entry->method->on_message(call, GRPC_SLICE_START_PTR(slice),
                                        GRPC_SLICE_LENGTH(slice));
        grpc_slice_unref(slice);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    grpc_byte_buffer_destroy(buffer);
}

static void on_message(pith_tag *tag, bool ok) {
    pith_call *call = CALL_OF(tag, message_tag);
    grpc_byte_buffer *buffer = call->received;
    bool bidi = call->entry->method->kind == PITH_CALL_BIDI;
    call->received = NULL;
    if (!ok && buffer != NULL) {
        grpc_byte_buffer_destroy(buffer);
        buffer = NULL;
    }
    if (buffer != NULL) {
        deliver(call, buffer);
    } else if (!pith_call_is_dead(call) && bidi) {
        (void)pthread_mutex_lock(&call->mutex);
        call->half_closed = true;
        (void)pthread_mutex_unlock(&call->mutex);
        call->entry->method->on_half_close(call);
    } else if (!pith_call_is_dead(call)) {
        fail_simple(call, PITH_INVALID, "the request message is missing");
    }
    (void)pthread_mutex_lock(&call->mutex);
    call->reading = false;
    if (bidi) {
        maybe_read(call);
    }
    watch(call);
    (void)pthread_mutex_unlock(&call->mutex);
    pith_call_unref(call);
}

/* --- end and arrival ---------------------------------------------------------------------- */

/* Counts a cancelled call against its connection. Without a message it counts even when an answer
 * went out: a reset looks like a missing message first. */
static void note_abandoned(pith_call *call, bool answered) {
    int64_t now = pith_clock_now(&pith_clock_system);
    bool young = !answered && now - call->arrived_ns < ABANDON_AGE_NS;
    if (now < call->deadline_ns && (young || !call->delivered)) {
        char *peer = grpc_call_get_peer(call->core);
        pith_accept_abandoned(call->transport->accept, peer);
        gpr_free(peer);
    }
}

/* Whether a peer that reset its call now did so because time was up. Its clock began before ours,
 * by the way here, and its deadline came here rounded up: grpc-timeout of C core has three digits.
 */
static bool ran_out(const pith_call *call, int64_t now) {
    return now >= call->deadline_ns - (call->deadline_ns - call->arrived_ns) / 100 - WAY_NS;
}

/* The status that a call ended with, as its peer sees it. */
static int code_at_end(pith_call *call, int64_t now) {
    (void)pthread_mutex_lock(&call->mutex);
    int code = call->code;
    if (call->aborted) {
        code = PITH_RPC_RESOURCE_EXHAUSTED;
    } else if (call->was_cancelled != 0 && !call->answered) {
        code = ran_out(call, now) ? PITH_RPC_DEADLINE_EXCEEDED : PITH_RPC_CANCELLED;
    }
    (void)pthread_mutex_unlock(&call->mutex);
    return code;
}

static void tell_of_end(pith_call *call) {
    const pith_transport_opts *opts = &call->transport->opts;
    int64_t now = pith_clock_now(&pith_clock_system);
    if (opts->on_end != NULL) {
        opts->on_end(opts->watch_arg, call->entry->method, code_at_end(call, now),
                     now - call->arrived_ns);
    }
}

/* The only notice of a cancelled call; also the end of every other. Gives the batch's reference
 * back. */
static void end(pith_call *call) {
    tell_of_end(call);
    if (call->was_cancelled != 0) {
        (void)pthread_mutex_lock(&call->mutex);
        bool answered = call->answered;
        kill_locked(call);
        (void)pthread_mutex_unlock(&call->mutex);
        if (!answered) {
            (void)atomic_fetch_add(&call->transport->counters.cancelled, 1);
            if (call->entry->method->on_cancel != NULL) {
                call->entry->method->on_cancel(call);
            }
        }
        note_abandoned(call, answered);
    }
    if (call->counted) {
        /* Not when it is freed: dead calls of a flood must not lock others out. */
        (void)atomic_fetch_sub(&call->transport->counters.counted, 1);
    }
    pith_call_unref(call);
}

static void on_close(pith_tag *tag, bool ok) {
    (void)ok;
    end(CALL_OF(tag, close_tag));
}

static int64_t monotonic_deadline(gpr_timespec deadline) {
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
        return PITH_DEADLINE_NONE;
    }
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    int64_t ns;
    if (__builtin_mul_overflow(left.tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)left.tv_nsec, &ns) ||
        __builtin_add_overflow(ns, pith_clock_now(&pith_clock_system), &ns)) {
        return PITH_DEADLINE_NONE; /* over 292 years */
    }
    return ns;
}

static const pith_method unknown_method = {.path = "", .kind = PITH_CALL_UNARY};
static const pith_method_entry unknown_entry = {.method = &unknown_method};

static const pith_method_entry *find_method(const pith_transport *t, grpc_slice path) {
    size_t len = GRPC_SLICE_LENGTH(path);
    for (size_t i = 0; i < t->opts.n_methods; i++) {
        const char *known = t->methods[i].method->path;
        if (strlen(known) == len && memcmp(known, GRPC_SLICE_START_PTR(path), len) == 0) {
            return &t->methods[i];
        }
    }
    return &unknown_entry;
}

static void refuse(pith_call *call, const pith_fault *fault) {
    const pith_transport_opts *opts = &call->transport->opts;
    (void)atomic_fetch_add(&call->transport->counters.refused, 1);
    if (opts->on_refused != NULL) {
        opts->on_refused(opts->watch_arg, call, fault);
    }
    pith_call_fail(call, fault, NULL, 0);
}

/* Reads the first message, or refuses the call. */
static void admit(pith_call *call) {
    pith_transport *t = call->transport;
    call->delivered = true; /* a call that is refused here was not abandoned */
    pith_fault fault = {0};
    bool guarded = t->opts.admit != NULL && !call->entry->method->needs_no_key;
    if (guarded && t->opts.admit(t->opts.admit_arg, call, &fault) != PITH_OK) {
        refuse(call, &fault);
        return;
    }
    if (call->entry == &unknown_entry) {
        fail_simple(call, PITH_UNSUPPORTED, "unknown method");
        return;
    }
    if (!call->entry->method->always_served) {
        call->counted = true;
        int64_t n = atomic_fetch_add(&t->counters.counted, 1) + 1;
        bool draining = atomic_load(&t->draining);
        if (draining || n > (int64_t)t->opts.calls_max) {
            (void)pith_fault_set(&fault, draining ? PITH_UNAVAILABLE : PITH_EXHAUSTED, NULL, "%s",
                                 draining ? "the server is shutting down"
                                          : "too many calls are open");
            refuse(call, &fault);
            return;
        }
    }
    call->delivered = false;
    (void)pthread_mutex_lock(&call->mutex);
    start_read(call);
    (void)pthread_mutex_unlock(&call->mutex);
}

static void on_arrive(pith_tag *tag, bool ok) {
    pith_call *call = CALL_OF(tag, arrive_tag);
    pith_transport *t = call->transport;
    if (!ok) { /* the server has shut down: the request was never answered by a call */
        pith_call_discard(call);
        return;
    }
    /* First of all, so that there is always a request waiting for the next call. */
    if (pith_transport_arm(t, NULL) != PITH_OK) {
        pith_log(PITH_LOG_ERROR, "grpc: no memory to wait for another call");
    }
    atomic_store(&call->refs, 1);
    (void)atomic_fetch_add(&t->counters.calls, 1);
    call->arrived_ns = pith_clock_now(&pith_clock_system);
    call->deadline_ns = monotonic_deadline(call->details.deadline);
    call->entry = find_method(t, call->details.method);
    read_request_id(call);
    if (call->entry->method->on_open != NULL) {
        call->entry->method->on_open(call);
    }
    pith_transport_link(call);
    admit(call);
    (void)pthread_mutex_lock(&call->mutex);
    if (call->entry->method->kind != PITH_CALL_UNARY || pith_call_is_dead(call)) {
        watch(call);
    }
    (void)pthread_mutex_unlock(&call->mutex);
    pith_call_unref(call);
}
