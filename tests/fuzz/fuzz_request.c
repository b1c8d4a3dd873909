/* The path of a request's bytes: wire check, decoding, validation; and what answers do with them.
 *
 * The first byte chooses the message type. What is accepted is packed again and must be accepted
 * again with the same text, so a crash here is a memory error, a broken bound or a lost byte. */
#include "server/grpc/request.h"
#include "server/grpc/rpc_error.h"
#include "server/grpc/wire.h"

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 1 << 16, ERROR_ARENA_BYTES = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const pith_fault *fault, const uint8_t *id, size_t id_len) {
    pith_arena arena;
    pith_arena_init(&arena, ERROR_ARENA_BYTES);
    Google__Rpc__Status *status;
    if (pith_rpc_error_build(fault, id, id_len, &arena, &status) != PITH_OK ||
        google__rpc__status__get_packed_size(status) > PITH_RPC_DETAILS_BYTES_MAX) {
        abort();
    }
    pith_arena_reset(&arena);
}

static void check_request(const Pith__V1__CompressRequest *request, pith_arena *arena) {
    pith_compress_request out;
    pith_submit_opts submit = {0};
    pith_fault fault = {0};
    pith_status status =
        pith_request_read(request, "", TEXT_BYTES_MAX, arena, &out, &submit, &fault);
    if (status != PITH_OK) {
        check_error(&fault, request->id.data, request->id.len);
        return;
    }
    bool fits = out.text_len == request->text.len && out.n_keep == request->n_keep &&
                strlen(submit.model) == request->model.len;
    for (size_t i = 0; i < out.n_keep; i++) {
        fits = fits && out.keep[i].start <= out.keep[i].end && out.keep[i].end <= out.text_len;
    }
    if (!fits) {
        abort();
    }
}

static void check_again(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message,
                        const pith_wire_opts *opts) {
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len + 1);
    if (bytes == NULL || protobuf_c_message_pack(message, bytes) != len) {
        abort();
    }
    pith_arena arena;
    pith_fault fault = {0};
    ProtobufCMessage *again;
    if (pith_wire_decode(type, bytes, len, opts, &arena, &again, &fault) != PITH_OK) {
        abort();
    }
    pith_arena_reset(&arena);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ProtobufCMessageDescriptor *const types[] = {
        &pith__v1__compress_request__descriptor,
        &pith__v1__stream_compress_request__descriptor,
        &grpc__health__v1__health_check_request__descriptor,
        &grpc__reflection__v1__server_reflection_request__descriptor,
        &pith__v1__compress_response__descriptor,
    };
    if (size == 0) {
        return 0;
    }
    size_t which = data[0] % (sizeof types / sizeof types[0]);
    const pith_wire_opts opts = {.bytes_are_text = which != 2 && which != 3,
                                 .text_bytes_max = TEXT_BYTES_MAX};
    pith_arena arena;
    pith_fault fault = {0};
    ProtobufCMessage *message;
    const uint8_t *id = NULL;
    size_t id_len = 0;
    (void)pith_wire_find(data + 1, size - 1, 1, &id, &id_len);
    if (pith_wire_decode(types[which], data + 1, size - 1, &opts, &arena, &message, &fault) !=
        PITH_OK) {
        check_error(&fault, id, id_len);
    } else {
        check_again(types[which], message, &opts);
        if (which == 0) {
            check_request((const Pith__V1__CompressRequest *)message, &arena);
        } else if (which == 1 && ((Pith__V1__StreamCompressRequest *)message)->request != NULL) {
            check_request(((Pith__V1__StreamCompressRequest *)message)->request, &arena);
        }
    }
    pith_arena_reset(&arena);
    return 0;
}
