#include "server/grpc/oip.h"

#include "runtime/base/utf8.h"
#include "server/common/version.h"
#include "server/grpc/item.h"
#include "server/grpc/oip_tensor.h"
#include "server/grpc/wire.h"

#include <stdlib.h>
#include <string.h>

enum { FIELD_INFER_ID = 3 };

/* --- probes and metadata ------------------------------------------------------------------ */

/* A server that loads its models is live and not ready. */
static bool is_loaded(const pith_compression *service) {
    return atomic_load_explicit(&service->loaded, memory_order_acquire);
}

static bool is_live(const pith_compression *service) {
    pith_engine_state state =
        is_loaded(service) ? pith_engine_check(service->engine) : PITH_ENGINE_SERVING;
    return state != PITH_ENGINE_STALLED && state != PITH_ENGINE_FAULTED;
}

static bool is_ready(const pith_compression *service) {
    return is_loaded(service) && !atomic_load(&service->leaving) &&
           pith_engine_check(service->engine) == PITH_ENGINE_SERVING;
}

/* The model of that name, the default for ""; NULL when there is none. */
static const pith_model_info *find_model(const pith_compression *service, const char *name,
                                         const char *version) {
    const pith_model_info *models;
    size_t n = pith_engine_models(service->engine, &models);
    for (size_t i = 0; i < n && pith_infer_version_is_known(version); i++) {
        if (name[0] == '\0' ? models[i].is_default : strcmp(models[i].name, name) == 0) {
            return &models[i];
        }
    }
    return NULL;
}

/* Decodes a small request into `arena`; ends the call when it is malformed. */
static ProtobufCMessage *decode(pith_call *call, const ProtobufCMessageDescriptor *type,
                                const uint8_t *data, size_t len, pith_arena *arena) {
    const pith_wire_opts opts = {.message_bytes_max = PITH_WIRE_SMALL_BYTES_MAX};
    ProtobufCMessage *message;
    pith_fault fault = {0};
    if (pith_wire_decode(type, data, len, &opts, arena, &message, &fault) != PITH_OK) {
        pith_call_fail(call, &fault, NULL, 0);
        return NULL;
    }
    return message;
}

static void server_live(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    if (decode(call, &inference__server_live_request__descriptor, data, len, &arena) != NULL) {
        Inference__ServerLiveResponse response = INFERENCE__SERVER_LIVE_RESPONSE__INIT;
        response.live = is_live(pith_call_service(call));
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void server_ready(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    if (decode(call, &inference__server_ready_request__descriptor, data, len, &arena) != NULL) {
        Inference__ServerReadyResponse response = INFERENCE__SERVER_READY_RESPONSE__INIT;
        response.ready = is_ready(pith_call_service(call));
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void model_ready(pith_call *call, const uint8_t *data, size_t len) {
    const pith_compression *service = pith_call_service(call);
    pith_arena arena;
    const Inference__ModelReadyRequest *asked = (const Inference__ModelReadyRequest *)decode(
        call, &inference__model_ready_request__descriptor, data, len, &arena);
    if (asked != NULL) {
        Inference__ModelReadyResponse response = INFERENCE__MODEL_READY_RESPONSE__INIT;
        response.ready =
            is_ready(service) && find_model(service, asked->name, asked->version) != NULL;
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void server_metadata(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    if (decode(call, &inference__server_metadata_request__descriptor, data, len, &arena) != NULL) {
        Inference__ServerMetadataResponse response = INFERENCE__SERVER_METADATA_RESPONSE__INIT;
        response.name = (char *)(uintptr_t) "pith";
        response.version = (char *)(uintptr_t)PITH_VERSION;
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&arena);
}

static void model_metadata(pith_call *call, const uint8_t *data, size_t len) {
    pith_arena arena;
    pith_fault fault = {0};
    const Inference__ModelMetadataRequest *asked = (const Inference__ModelMetadataRequest *)decode(
        call, &inference__model_metadata_request__descriptor, data, len, &arena);
    if (asked == NULL) {
        pith_arena_reset(&arena);
        return;
    }
    const pith_model_info *model = find_model(pith_call_service(call), asked->name, asked->version);
    Inference__ModelMetadataResponse response;
    pith_arena answer;
    pith_arena_init(&answer, PITH_INFER_ARENA_BYTES);
    if (model == NULL) {
        (void)pith_fault_set(&fault, PITH_NOT_FOUND, "name", "no model \"%.64s\" of this version",
                             asked->name);
        pith_call_fail(call, &fault, NULL, 0);
    } else if (pith_infer_describe(model, &answer, &response, &fault.err) != PITH_OK) {
        pith_call_fail(call, &fault, NULL, 0);
    } else {
        (void)pith_call_reply(call, &response.base);
    }
    pith_arena_reset(&answer);
    pith_arena_reset(&arena);
}

/* --- ModelInfer --------------------------------------------------------------------------- */

/* State of a call: the item and the form of its answer. */
typedef struct infer {
    pith_item *item; /* NULL until it is submitted */
    pith_infer_form form;
} infer;

static void infer_reply(void *user, const pith_reply *reply) {
    pith_item *it = user;
    pith_call *call = it->call;
    const infer *state = it->owner;
    pith_fault fault = {0};
    pith_arena arena;
    pith_item_observe(it, reply);
    pith_arena_init(&arena, PITH_INFER_ARENA_BYTES + PITH_ARENA_CHUNK_BYTES * PITH_INFER_OUTPUTS +
                                (reply->result == NULL ? 0 : reply->result->text_len));
    char *id = pith_arena_alloc(&arena, 1, it->id_len + 1);
    if (reply->status != PITH_OK) {
        pith_item_fault(it, reply, "", &fault);
    } else if (id == NULL) {
        (void)pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory for an answer");
    } else {
        pith_infer_response response;
        memcpy(id, it->id, it->id_len);
        id[it->id_len] = '\0';
        fault.err.status = pith_infer_write(reply, &state->form, id, &arena, &response, &fault.err);
        if (fault.err.status == PITH_OK) {
            pith_usage usage = {0};
            pith_usage_add(&usage, reply);
            pith_usage_send(&usage, call);
            (void)pith_call_reply(call, &response.base);
        }
    }
    if (fault.err.status != PITH_OK) {
        pith_call_fail(call, &fault, it->id, it->id_len);
    }
    pith_arena_reset(&arena);
    pith_item_unref(it);
    pith_call_unref(call);
}

static void infer_open(pith_call *call) {
    infer *state = calloc(1, sizeof *state);
    pith_call_set_state(call, state);
    if (state == NULL) {
        pith_fault fault;
        (void)pith_fault_set(&fault, PITH_NO_MEMORY, NULL, "no memory for a call");
        pith_call_fail(call, &fault, NULL, 0);
    }
}

static pith_status infer_begin(pith_call *call, infer *state, const uint8_t *data, size_t len,
                               pith_arena *arena, pith_fault *fault) {
    const pith_wire_opts wire = {0};
    ProtobufCMessage *message;
    Pith__V1__CompressRequest asked;
    pith_compress_request request;
    pith_submit_opts opts = {.reply = infer_reply};
    pith_item *it;
    pith_status status = pith_wire_decode(&inference__model_infer_request__descriptor, data, len,
                                          &wire, arena, &message, fault);
    if (status == PITH_OK) {
        status = pith_infer_read((const pith_infer_request *)message, &asked, &state->form, fault);
    }
    if (status == PITH_OK) {
        status = pith_item_read(call, PITH_ENTRY_MODEL_INFER, state, &asked, "", arena, &request,
                                &opts, &it, fault);
    }
    if (status != PITH_OK) {
        return status;
    }
    state->item = it; /* before submit: the reply may free the call's last holder */
    status = pith_item_submit(it, &request, &opts, "", fault);
    if (status != PITH_OK) {
        pith_item_unref(it); /* the engine's; on_free drops the other */
        pith_call_unref(call);
    }
    return status;
}

static void infer_message(pith_call *call, const uint8_t *data, size_t len) {
    infer *state = pith_call_state(call);
    if (state == NULL) {
        return; /* no memory for it; the call has been ended */
    }
    pith_arena arena;
    pith_fault fault = {0};
    int64_t begin_ns = pith_clock_now(&pith_clock_system);
    pith_status status = infer_begin(call, state, data, len, &arena, &fault);
    if (status != PITH_OK) {
        const uint8_t *id = NULL;
        size_t id_len = 0;
        (void)pith_wire_find(data, len, FIELD_INFER_ID, &id, &id_len);
        pith_refusal_observe(call, PITH_ENTRY_MODEL_INFER, &fault, id, id_len, begin_ns);
        pith_call_fail(call, &fault, id, pith_utf8_valid((const char *)id, id_len));
    }
    pith_arena_reset(&arena);
}

static void infer_cancel(pith_call *call) {
    const infer *state = pith_call_state(call);
    if (state != NULL && state->item != NULL && state->item->job != NULL) {
        pith_job_cancel(state->item->job);
    }
}

static void infer_free(pith_call *call) {
    infer *state = pith_call_state(call);
    if (state != NULL && state->item != NULL) {
        pith_item_unref(state->item);
    }
    free(state);
}

#define SERVICE "/inference.GRPCInferenceService/"
#define PROBE(method, handler)                                                                     \
    {                                                                                              \
        .path = SERVICE method, .kind = PITH_CALL_UNARY, .always_served = true,                    \
        .needs_no_key = true, .on_message = handler                                                \
    }

const pith_method pith_method_server_live = PROBE("ServerLive", server_live);
const pith_method pith_method_server_ready = PROBE("ServerReady", server_ready);
const pith_method pith_method_model_ready = PROBE("ModelReady", model_ready);
const pith_method pith_method_server_metadata = {
    .path = SERVICE "ServerMetadata",
    .kind = PITH_CALL_UNARY,
    .on_message = server_metadata,
};
const pith_method pith_method_model_metadata = {
    .path = SERVICE "ModelMetadata",
    .kind = PITH_CALL_UNARY,
    .on_message = model_metadata,
};
const pith_method pith_method_model_infer = {
    .path = SERVICE "ModelInfer",
    .kind = PITH_CALL_UNARY,
    .on_open = infer_open,
    .on_message = infer_message,
    .on_cancel = infer_cancel,
    .on_free = infer_free,
};
