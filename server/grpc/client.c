#include "server/grpc/client.h"

#include "grpc/health/v1/health.pb-c.h"
#include "server/grpc/core_log.h"
#include "server/grpc/rpc_error.h"
#include "server/grpc/wire.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <string.h>

/* One unary call. Operation arguments live here until the batch is done. */
typedef struct exchange {
    grpc_completion_queue *queue;
    grpc_channel *channel;
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *reply;
    grpc_metadata_array headers;
    grpc_metadata_array trailers;
    grpc_status_code code;
    grpc_slice text;
} exchange;

static grpc_channel *open_channel(const char *addr) {
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         .value.integer = -1},
        /* The address is the server's: a proxy of the environment is for the web. */
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_HTTP_PROXY,
         .value.integer = 0},
    };
    grpc_channel_args all = {.num_args = sizeof args / sizeof args[0], .args = args};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(addr, credentials, &all);
    grpc_channel_credentials_release(credentials);
    return channel;
}

static void exchange_open(exchange *x, const char *addr, const char *method,
                          const ProtobufCMessage *request, int64_t timeout_ns) {
    pith_core_log_install();
    grpc_init();
    *x = (exchange){.code = GRPC_STATUS_UNKNOWN};
    x->queue = grpc_completion_queue_create_for_next(NULL);
    x->channel = open_channel(addr);
    gpr_timespec deadline =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(timeout_ns, GPR_TIMESPAN));
    grpc_slice path = grpc_slice_from_static_string(method);
    x->call = grpc_channel_create_call(x->channel, NULL, GRPC_PROPAGATE_DEFAULTS, x->queue, path,
                                       NULL, deadline, NULL);
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(request));
    (void)protobuf_c_message_pack(request, GRPC_SLICE_START_PTR(slice));
    x->request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_metadata_array_init(&x->headers);
    grpc_metadata_array_init(&x->trailers);
    x->text = grpc_empty_slice();
}

static pith_status exchange_run(exchange *x, pith_err *err) {
    grpc_op ops[6];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = x->request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &x->headers;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &x->reply;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &x->trailers;
    ops[5].data.recv_status_on_client.status = &x->code;
    ops[5].data.recv_status_on_client.status_details = &x->text;
    grpc_call_error error = grpc_call_start_batch(x->call, ops, 6, x, NULL);
    if (error != GRPC_CALL_OK) {
        return pith_fail(err, PITH_INTERNAL, "cannot start the call: %s",
                         grpc_call_error_to_string(error));
    }
    /* The call's own deadline ends the wait. */
    (void)grpc_completion_queue_next(x->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    return PITH_OK;
}

static void exchange_close(exchange *x) {
    grpc_call_unref(x->call);
    grpc_channel_destroy(x->channel);
    grpc_completion_queue_shutdown(x->queue);
    while (grpc_completion_queue_next(x->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(x->queue);
    grpc_byte_buffer_destroy(x->request);
    if (x->reply != NULL) {
        grpc_byte_buffer_destroy(x->reply);
    }
    grpc_metadata_array_destroy(&x->headers);
    grpc_metadata_array_destroy(&x->trailers);
    grpc_slice_unref(x->text);
    grpc_shutdown_blocking();
}

/* "127.0.0.1:50051: INVALID_ARGUMENT: text: invalid UTF-8 at byte 3" */
static pith_status status_of(const exchange *x, const char *addr, pith_err *err) {
    if (x->code == GRPC_STATUS_OK && x->reply != NULL) {
        return PITH_OK;
    }
    if (x->code == GRPC_STATUS_OK) {
        return pith_fail(err, PITH_INTERNAL, "%s: the server sent no reply", addr);
    }
    return pith_fail(err, pith_rpc_code_to_status((int)x->code), "%s: %s: %.*s", addr,
                     pith_rpc_code_name((int)x->code), (int)GRPC_SLICE_LENGTH(x->text),
                     (const char *)GRPC_SLICE_START_PTR(x->text));
}

/* Checks and decodes the reply with the default allocator. */
static pith_status decode(const exchange *x, const ProtobufCMessageDescriptor *type, bool ours,
                          ProtobufCMessage **message, pith_err *err) {
    grpc_byte_buffer_reader reader;
    if (grpc_byte_buffer_reader_init(&reader, x->reply) == 0) {
        return pith_fail(err, PITH_INTERNAL, "the reply cannot be read");
    }
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    const pith_wire_opts opts = {.bytes_are_text = ours};
    size_t arena_bytes;
    pith_fault fault = {0};
    pith_status status = pith_wire_check(type, GRPC_SLICE_START_PTR(slice),
                                         GRPC_SLICE_LENGTH(slice), &opts, &arena_bytes, &fault);
    if (status == PITH_OK) {
        *message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(slice),
                                             GRPC_SLICE_START_PTR(slice));
        status = *message == NULL ? PITH_INTERNAL : PITH_OK;
    }
    grpc_slice_unref(slice);
    if (status != PITH_OK) {
        return pith_fail(err, PITH_INTERNAL, "the reply is malformed: %s", fault.err.text);
    }
    return PITH_OK;
}

static pith_status call_unary(const char *addr, const char *method, const ProtobufCMessage *request,
                              const ProtobufCMessageDescriptor *type, bool ours, int64_t timeout_ns,
                              ProtobufCMessage **message, pith_err *err) {
    exchange x;
    *message = NULL;
    exchange_open(&x, addr, method, request, timeout_ns);
    pith_status status = exchange_run(&x, err);
    if (status == PITH_OK) {
        status = status_of(&x, addr, err);
    }
    if (status == PITH_OK) {
        status = decode(&x, type, ours, message, err);
    }
    exchange_close(&x);
    return status;
}

pith_status pith_client_compress(const char *addr, const Pith__V1__CompressRequest *request,
                                 int64_t timeout_ns, Pith__V1__CompressResponse **response,
                                 pith_err *err) {
    ProtobufCMessage *message;
    pith_status status =
        call_unary(addr, "/pith.v1.CompressionService/Compress", &request->base,
                   &pith__v1__compress_response__descriptor, true, timeout_ns, &message, err);
    *response = (Pith__V1__CompressResponse *)message;
    return status;
}

pith_status pith_client_health(const char *addr, const char *service, int64_t timeout_ns,
                               bool *serving, pith_err *err) {
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)(uintptr_t)service;
    ProtobufCMessage *message;
    *serving = false;
    pith_status status = call_unary(addr, "/grpc.health.v1.Health/Check", &request.base,
                                    &grpc__health__v1__health_check_response__descriptor, false,
                                    timeout_ns, &message, err);
    if (status == PITH_OK) {
        const Grpc__Health__V1__HealthCheckResponse *reply =
            (const Grpc__Health__V1__HealthCheckResponse *)message;
        *serving =
            reply->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
        protobuf_c_message_free_unpacked(message, NULL);
    }
    return status;
}
