#include "server/grpc/reflection.h"

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "server/grpc/descriptor_index.h"
#include "server/grpc/rpc_error.h"
#include "server/grpc/wire.h"

#include <stdlib.h>

typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;

#define ASKS(name)    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define ANSWERS(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

/* Answers that a peer has not read yet; over it, reading stops. */
enum { UNSENT_MAX = 16 };

struct pith_reflection {
    pith_descriptor_index *index;
    const char *const *services;
    size_t n_services;
};

pith_status pith_reflection_open(pith_reflection **reflection, const uint8_t *set, size_t len,
                                 const char *const *services, size_t n, pith_err *err) {
    *reflection = NULL;
    if (n > PITH_REFLECTION_SERVICES_MAX) {
        return pith_fail(err, PITH_INTERNAL, "%zu services, at most %d", n,
                         PITH_REFLECTION_SERVICES_MAX);
    }
    pith_reflection *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for reflection");
    }
    made->services = services;
    made->n_services = n;
    pith_status status = pith_descriptor_index_open(&made->index, set, len, err);
    for (size_t i = 0; i < n && status == PITH_OK; i++) {
        if (pith_descriptor_find_symbol(made->index, services[i]) == PITH_DESCRIPTOR_NONE) {
            status = pith_fail(err, PITH_INTERNAL, "no descriptor of service %s", services[i]);
        }
    }
    if (status != PITH_OK) {
        pith_reflection_close(made);
        return status;
    }
    *reflection = made;
    return PITH_OK;
}

void pith_reflection_close(pith_reflection *reflection) {
    if (reflection != NULL) {
        pith_descriptor_index_close(reflection->index);
        free(reflection);
    }
}

/* --- answers: each sends one response ----------------------------------------------------- */

static response_message response_to(request_message *request) {
    response_message response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = request->host;
    response.original_request = request;
    return response;
}

/* Errors are in the answer; the stream goes on. */
static void answer_error(pith_call *call, request_message *request, int code, const char *text) {
    response_message response = response_to(request);
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = code;
    error.error_message = (char *)(uintptr_t)text;
    response.message_response_case = ANSWERS(ERROR_RESPONSE);
    response.error_response = &error;
    (void)pith_call_send(call, &response.base);
}

static void answer_file(pith_call *call, request_message *request, const pith_reflection *r,
                        size_t file) {
    if (file == PITH_DESCRIPTOR_NONE) {
        answer_error(call, request, PITH_RPC_NOT_FOUND, "not found");
        return;
    }
    pith_descriptor_file files[PITH_DESCRIPTOR_FILES_MAX];
    ProtobufCBinaryData bytes[PITH_DESCRIPTOR_FILES_MAX];
    size_t n = pith_descriptor_closure(r->index, file, files);
    for (size_t i = 0; i < n; i++) {
        bytes[i] =
            (ProtobufCBinaryData){.len = files[i].len, .data = (uint8_t *)(uintptr_t)files[i].data};
    }
    response_message response = response_to(request);
    Grpc__Reflection__V1__FileDescriptorResponse found =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    found.n_file_descriptor_proto = n;
    found.file_descriptor_proto = bytes;
    response.message_response_case = ANSWERS(FILE_DESCRIPTOR_RESPONSE);
    response.file_descriptor_response = &found;
    (void)pith_call_send(call, &response.base);
}

/* proto3 services have no extensions: a known type has none, an unknown type is an error. */
static void answer_extensions(pith_call *call, request_message *request, const pith_reflection *r) {
    char *type = request->all_extension_numbers_of_type;
    if (pith_descriptor_find_symbol(r->index, type) == PITH_DESCRIPTOR_NONE) {
        answer_error(call, request, PITH_RPC_NOT_FOUND, "not found");
        return;
    }
    response_message response = response_to(request);
    Grpc__Reflection__V1__ExtensionNumberResponse numbers =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    numbers.base_type_name = type;
    response.message_response_case = ANSWERS(ALL_EXTENSION_NUMBERS_RESPONSE);
    response.all_extension_numbers_response = &numbers;
    (void)pith_call_send(call, &response.base);
}

static void answer_services(pith_call *call, request_message *request, const pith_reflection *r) {
    Grpc__Reflection__V1__ServiceResponse services[PITH_REFLECTION_SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *pointers[PITH_REFLECTION_SERVICES_MAX];
    for (size_t i = 0; i < r->n_services; i++) {
        services[i] =
            (Grpc__Reflection__V1__ServiceResponse)GRPC__REFLECTION__V1__SERVICE_RESPONSE__INIT;
        services[i].name = (char *)(uintptr_t)r->services[i];
        pointers[i] = &services[i];
    }
    response_message response = response_to(request);
    Grpc__Reflection__V1__ListServiceResponse list =
        GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    list.n_service = r->n_services;
    list.service = pointers;
    response.message_response_case = ANSWERS(LIST_SERVICES_RESPONSE);
    response.list_services_response = &list;
    (void)pith_call_send(call, &response.base);
}

static void answer(pith_call *call, request_message *request, const pith_reflection *r) {
    switch (request->message_request_case) {
    case ASKS(FILE_BY_FILENAME):
        answer_file(call, request, r,
                    pith_descriptor_find_file(r->index, request->file_by_filename));
        break;
    case ASKS(FILE_CONTAINING_SYMBOL):
        answer_file(call, request, r,
                    pith_descriptor_find_symbol(r->index, request->file_containing_symbol));
        break;
    case ASKS(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_extensions(call, request, r);
        break;
    case ASKS(LIST_SERVICES):
        answer_services(call, request, r);
        break;
    case ASKS(FILE_CONTAINING_EXTENSION):
        answer_error(call, request, PITH_RPC_NOT_FOUND, "there are no extensions");
        break;
    default:
        answer_error(call, request, PITH_RPC_INVALID_ARGUMENT, "nothing was asked for");
        break;
    }
}

/* --- handlers ----------------------------------------------------------------------------- */

static void on_message(pith_call *call, const uint8_t *data, size_t len) {
    const pith_wire_opts opts = {.message_bytes_max = PITH_WIRE_SMALL_BYTES_MAX};
    ProtobufCMessage *message;
    pith_fault fault = {0};
    pith_arena arena;
    pith_status status =
        pith_wire_decode(&grpc__reflection__v1__server_reflection_request__descriptor, data, len,
                         &opts, &arena, &message, &fault);
    if (status == PITH_OK) {
        answer(call, (request_message *)message, pith_call_service(call));
    } else {
        pith_call_fail(call, &fault, NULL, 0);
    }
    pith_arena_reset(&arena);
    if (pith_call_unsent(call, NULL) >= UNSENT_MAX) {
        pith_call_pause(call);
    }
}

static void on_room(pith_call *call) {
    if (pith_call_unsent(call, NULL) < UNSENT_MAX) {
        pith_call_resume(call);
    }
}

static void on_half_close(pith_call *call) {
    pith_call_finish(call);
}

static void on_drain(pith_call *call) {
    pith_fault fault;
    (void)pith_fault_set(&fault, PITH_UNAVAILABLE, NULL, "the server is shutting down");
    pith_call_fail(call, &fault, NULL, 0);
}

const pith_method pith_method_reflection_v1 = {
    .path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    .kind = PITH_CALL_BIDI,
    .always_served = true,
    .on_message = on_message,
    .on_room = on_room,
    .on_half_close = on_half_close,
    .on_drain = on_drain,
};

const pith_method pith_method_reflection_v1alpha = {
    .path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    .kind = PITH_CALL_BIDI,
    .always_served = true,
    .on_message = on_message,
    .on_room = on_room,
    .on_half_close = on_half_close,
    .on_drain = on_drain,
};
